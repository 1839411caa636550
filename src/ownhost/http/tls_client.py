"""TLS as a client, to a server behind this one: what it must prove, and what it is shown.

OpenSSL does it, through Python's ssl module and the additions in `openssl`. The rules for a
certificate are here, as in mod_ssl: name and dates are checked even if any issuer is accepted.

Sources: mod_ssl's page in Apache's manual (SSLProxy...), RFC 9525 (names in certificates),
X509_verify_cert(3).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ownhost.http import openssl
from ownhost.http.certificates import Certificate, CertificateError, read
from ownhost.http.openssl import OpenSSLError
from ownhost.http.tls import REVOKED, Pair, about, as_file, load_pair, set_versions

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_ENCRYPTED = re.compile(rb"BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED")

# Errors of OpenSSL's (X509_V_ERR_...) that only say that no known authority has issued the
# certificate.
_UNKNOWN_ISSUER = frozenset((2, 18, 19, 20, 21, 27))
_NO_REVOCATION_LIST = 3
_CHAIN_TOO_LONG = 22


DEFAULT_CIPHERS = "DEFAULT:!aNULL:!eNULL"


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """How TLS is spoken with a server behind this one: everything except keys and authorities."""

    versions: frozenset[str]
    ciphers: str = DEFAULT_CIPHERS  # for TLS 1.2 and older
    suites: str = ""  # for TLS 1.3; "" is OpenSSL's choice
    verify: str = "none"  # who must have issued its certificate: "none" (anyone), "require" or "optional_no_ca"
    depth: int = 1  # certificates that may be above it
    revocation: str = "none"  # "none", "leaf" or "chain"
    needs_lists: bool = True  # whether an authority without a revocation list is an error
    names: str = "all"  # which of its names must match: "all" (any of them), "common" or "none"
    dated: bool = True  # whether it must be valid now


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The certificates by which a server is checked, and those that it is shown. In PEM."""

    authorities: bytes = b""  # certificates and revocation lists
    certificates: bytes = b""  # certificates and keys, one after the other
    chain: bytes = b""  # intermediate certificates


def make_client_context(policy: ClientPolicy, credentials: ClientCredentials) -> ssl.SSLContext:
    """A context for connections to a server behind this one. Raises OpenSSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # `objection` does, for which OpenSSL is too strict or not strict enough
    context.verify_mode = ssl.CERT_NONE
    set_versions(context, policy.versions)
    context.options |= ssl.OP_NO_COMPRESSION
    try:
        context.set_ciphers(policy.ciphers)
    except ssl.SSLError:
        raise OpenSSLError(f"OpenSSL knows no cipher in {policy.ciphers!r}", "SSLProxyCipherSuite") from None
    if policy.suites:
        with about("SSLProxyCipherSuite"):
            openssl.set_ciphersuites(context, policy.suites)
    if policy.verify != "none":
        _verify(context, policy, credentials.authorities)
    elif credentials.authorities:
        _load_authorities(context, credentials.authorities)
    offers = [_offer(pair, credentials.chain) for pair in pairs_in(credentials.certificates)]
    if offers:
        openssl.offer_certificates(context, offers)
    return context


def _verify(context: ssl.SSLContext, policy: ClientPolicy, authorities: bytes) -> None:
    if policy.revocation != "none" and b"-----BEGIN X509 CRL-----" not in authorities:
        reason = "CRL checking is enabled, and no SSLProxyCARevocationFile or SSLProxyCARevocationPath has a list"
        raise OpenSSLError(reason, "SSLProxyCARevocationCheck")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags(REVOKED[policy.revocation])
    _load_authorities(context, authorities)
    openssl.judge_chains(context, lambda error, depth: judged(policy, error, depth))


def _load_authorities(context: ssl.SSLContext, authorities: bytes) -> None:
    if not authorities:
        return  # then no certificate is valid
    try:
        with as_file(authorities) as file:
            context.load_verify_locations(file)
    except ssl.SSLError as error:
        why = f"the authorities for servers' certificates cannot be used: {error.reason or error}"
        raise OpenSSLError(why, "SSLProxyCACertificateFile") from None


def judged(policy: ClientPolicy, error: int, depth: int) -> int:
    """The error of a certificate in a chain, as OpenSSL's number; 0 for none. `error` is OpenSSL's own result.

    `depth` counts from the server's own certificate, which is 0.
    """
    if error in _UNKNOWN_ISSUER and policy.verify == "optional_no_ca":
        error = 0
    if error == _NO_REVOCATION_LIST and not policy.needs_lists:
        error = 0
    return error or (_CHAIN_TOO_LONG if depth > policy.depth else 0)


def objection(policy: ClientPolicy, der: bytes | None, name: str) -> str:
    """The error of a server's certificate apart from its issuer; "" for none. One sentence."""
    if not policy.dated and policy.names == "none":
        return ""
    try:
        certificate = read(der or b"")
    except CertificateError as error:
        return str(error)
    now = datetime.now(UTC)
    if policy.dated and not certificate.parsed.not_valid_before_utc < now < certificate.parsed.not_valid_after_utc:
        return "SSL Proxy: Peer certificate is expired"
    if policy.names == "all" and not any(is_named(found, name) for found in _names(certificate)):
        return f"SSL Proxy: Peer certificate does not match for hostname {name}"
    common = certificate.value("S_DN_CN")
    if policy.names == "common" and not is_named(common, name):
        return f"SSL Proxy: Peer certificate CN mismatch: Certificate CN: {common} Requested hostname: {name}"
    return ""


def _names(certificate: Certificate) -> Iterator[str]:
    """All names of a server in its certificate."""
    yield from (value for kind, value in certificate.alternatives if kind == "DNS")
    yield from (value for component, value in certificate.components("S") if re.fullmatch(r"CN(_\d+)?", component))


def is_named(found: str, name: str) -> bool:
    """Whether a name in a certificate, or its pattern `*.domain`, matches this one."""
    found, name = found.lower(), name.lower()
    _, dot, domain = name.partition(".")
    return found == name or (dot == "." and found == f"*.{domain}")


def pairs_in(pem: bytes) -> list[Pair]:
    """The certificates with keys in a file that has both, one after the other; others are left out.

    Raises OpenSSLError.

    As OpenSSL reads them (PEM_X509_INFO_read_bio): a second certificate, or a second key, begins
    the next pair.
    """
    found: list[tuple[bytes, bytes]] = []
    certificate = key = b""
    for block in _BLOCK.finditer(pem):
        kind = block[1]
        if not kind.endswith((b"CERTIFICATE", b"PRIVATE KEY")):
            continue
        is_key = kind.endswith(b"KEY")
        if key if is_key else certificate:
            found.append((certificate, key))
            certificate = key = b""
        if is_key:
            key = block[0]
        else:
            certificate = block[0]
    pairs = [Pair(one, its_key) for one, its_key in (*found, (certificate, key)) if one and its_key]
    if any(_ENCRYPTED.search(pair.key) for pair in pairs):
        raise OpenSSLError("the key has a passphrase, and the server cannot ask for it", _CERTIFICATES)
    return pairs


_CERTIFICATES = "SSLProxyMachineCertificateFile"


def _offer(pair: Pair, chain: bytes) -> ssl.SSLContext:
    """A context that holds only a certificate with its key, and those of the chain that are above it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with about(_CERTIFICATES):
        load_pair(context, Pair(b"\n".join((pair.certificate, *_above(pair.certificate, chain))), pair.key))
    return context


def _above(certificate: bytes, chain: bytes) -> Iterator[bytes]:
    """The issuer of a certificate, its issuer, and so on, as far as the chain has them."""
    try:
        known = [(block[0], _parsed(block[0])) for block in _BLOCK.finditer(chain) if block[1] == b"CERTIFICATE"]
        below = _parsed(certificate)
    except (CertificateError, ValueError):
        raise OpenSSLError("a certificate in it cannot be read", "SSLProxyMachineCertificateChainFile") from None
    while below.issuer != below.subject:
        above = next((one for one in known if one[1].subject == below.issuer), None)
        if above is None:
            return
        known.remove(above)
        yield above[0]
        below = above[1]


def _parsed(pem: bytes) -> Certificate:
    return read(ssl.PEM_cert_to_DER_cert(pem.decode("latin-1")))
