"""Authorities, certificates and keys for tests, made as they are needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
NOW = datetime.now(UTC)


def new_key(kind: str = "ec") -> PrivateKey:
    """A key: "ec" or "rsa"."""
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey, passphrase: bytes = b"") -> str:
    """A key in PEM (PKCS #8)."""
    secrecy = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secrecy).decode()


def certificate_pem(*certificates: x509.Certificate) -> str:
    """Certificates in PEM."""
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


@dataclass
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def chain(self) -> str:
        return certificate_pem(self.certificate)

    @property
    def secret(self) -> str:
        return key_pem(self.key)

    def files(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Written to NAME.crt and NAME.key, for root alone."""
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_text(self.chain)
        key.write_text(self.secret)
        key.chmod(0o600)
        return certificate, key


@dataclass
class Authority:
    """Whoever issues certificates."""

    name: str = "Test Authority"
    issuer: Authority | None = None
    key: PrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        above = self.issuer or self
        builder = _builder(self.name, above.name, self.key, NOW - timedelta(days=10), NOW + timedelta(days=3650))
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = builder.add_extension(constraints, critical=True).sign(above.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return certificate_pem(self.certificate)

    def issue(
        self,
        *names: str,
        kind: str = "ec",
        since: datetime = NOW - timedelta(days=1),
        until: datetime = NOW + timedelta(days=90),
    ) -> Identity:
        """A certificate for these names, and its key."""
        key = new_key(kind)
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = _builder(names[0], self.name, key, since, until).add_extension(alternatives, critical=False)
        return Identity(builder.sign(self.key, hashes.SHA256()), key)

    def revoke(self, *identities: Identity) -> str:
        """A revocation list, in PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(_name(self.name))
        builder = builder.last_update(NOW - timedelta(days=1)).next_update(NOW + timedelta(days=30))
        for one in identities:
            entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(NOW - timedelta(hours=1)).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _builder(subject: str, issuer: str, key: PrivateKey, since: datetime, until: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )
