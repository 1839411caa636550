"""Certificates as text: the values of mod_ssl's variables, in the forms that OpenSSL prints.

`cryptography` reads them, and is loaded with the first one. A certificate that it cannot read
raises CertificateError: it proves nothing.

Sources: mod_ssl's ssl_engine_vars.c; OpenSSL's X509_NAME_print_ex(3) with XN_FLAG_RFC2253; RFC
2253; RFC 4523.
"""

from __future__ import annotations

import functools
import re
import ssl
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

DAY = 86_400  # seconds
# The attributes of a name by mod_ssl's names for them.
COMPONENTS = {
    "C": "2.5.4.6",
    "ST": "2.5.4.8",
    "SP": "2.5.4.8",
    "L": "2.5.4.7",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "CN": "2.5.4.3",
    "T": "2.5.4.12",
    "I": "2.5.4.43",
    "G": "2.5.4.42",
    "S": "2.5.4.4",
    "D": "2.5.4.13",
    "UID": "0.9.2342.19200300.100.1.1",
    "Email": "1.2.840.113549.1.9.1",
    "SerialNumber": "2.5.4.5",
}
# The attributes that have a name in OpenSSL, by that name; all others are shown by number.
_SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.16": "postalAddress",
    "2.5.4.17": "postalCode",
    "2.5.4.18": "postOfficeBox",
    "2.5.4.20": "telephoneNumber",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.45": "x500UniqueIdentifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.72": "role",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.3": "mail",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}
_ALGORITHMS = {
    "1.2.840.113549.1.1.1": "rsaEncryption",
    "1.2.840.113549.1.1.4": "md5WithRSAEncryption",
    "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
    "1.2.840.113549.1.1.10": "rsassaPss",
    "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
    "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
    "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
    "1.2.840.113549.1.1.14": "sha224WithRSAEncryption",
    "1.2.840.10040.4.1": "dsaEncryption",
    "1.2.840.10040.4.3": "dsaWithSHA1",
    "2.16.840.1.101.3.4.3.1": "dsa_with_SHA224",
    "2.16.840.1.101.3.4.3.2": "dsa_with_SHA256",
    "1.2.840.10045.2.1": "id-ecPublicKey",
    "1.2.840.10045.4.1": "ecdsa-with-SHA1",
    "1.2.840.10045.4.3.1": "ecdsa-with-SHA224",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
    "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
    "1.3.101.112": "ED25519",
    "1.3.101.113": "ED448",
}
_OTHER_NAMES = {"msUPN": "1.3.6.1.4.1.311.20.2.3", "dnsSRV": "1.3.6.1.5.5.7.8.7"}
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905 - a table
_ALTERNATIVE = re.compile(r"(Email|DNS|OTHER_(?:msUPN|dnsSRV))_([0-9]{1,4})", re.IGNORECASE)
_COMPONENT = re.compile(r"([A-Za-z]+)(?:_([0-9]{1,4}))?(_RAW)?")
# The types of texts in ASN.1, by tag: UTF8String, PrintableString, TeletexString, IA5String,
# VisibleString, BMPString.
_TEXTS = {12: "utf-8", 19: "ascii", 20: "latin-1", 22: "ascii", 26: "ascii", 30: "utf-16-be"}


class CertificateError(ValueError):
    """A certificate cannot be read. One sentence."""


class Certificate:
    """One certificate. Texts have the form that mod_ssl gives them."""

    def __init__(self, der: bytes) -> None:
        """Read it. Raises CertificateError."""
        from cryptography import x509

        self.der = der
        try:
            self.parsed = parsed = x509.load_der_x509_certificate(der)
            self.subject, self.issuer = parsed.subject, parsed.issuer
            self.version = parsed.version.value + 1
            self.extensions = parsed.extensions
            self.alternatives = list(_alternatives(parsed))
        except (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension) as error:
            raise CertificateError(f"a certificate cannot be read: {error}") from None

    def value(self, name: str, *, legacy: bool = False) -> str:
        """The value of the variable SSL_CLIENT_`name` or SSL_SERVER_`name`; "" if there is none.

        `legacy` is LegacyDNStringFormat.
        """
        if name in _VALUES:
            return _VALUES[name](self)
        if name[1:] == "_DN":
            return (one_line if legacy else printed)(self.name(name[0]))
        if name[1:5] == "_DN_":
            return self.component(self.name(name[0]), name[5:])
        return self.alternative(name[4:]) if name.startswith("SAN_") else ""

    def name(self, which: str) -> x509.Name:
        """The subject (S) or the issuer (I)."""
        return self.subject if which == "S" else self.issuer

    def component(self, name: x509.Name, component: str) -> str:
        """One attribute of a name: CN, OU_1 (the second one)..."""
        match = _COMPONENT.fullmatch(component)
        if match is None or match[1] not in COMPONENTS:
            return ""
        found = [one for one in _entries(name) if one.oid.dotted_string == COMPONENTS[match[1]]]
        place = int(match[2] or 0)
        if place >= len(found):
            return ""
        text = _shown(_text(found[place]), "\\")
        return _raw(text) if match[3] else text

    def alternative(self, name: str) -> str:
        """One of the subject's alternative names: Email_0, DNS_1..."""
        match = _ALTERNATIVE.fullmatch(name)
        if match is None:
            return ""
        found = [value for kind, value in self.alternatives if kind.lower() == match[1].lower()]
        return found[int(match[2])] if int(match[2]) < len(found) else ""

    def days_left(self) -> str:
        """Whole days until it expires; "0" for none."""
        return str(max(0, int(self.parsed.not_valid_after_utc.timestamp() - int(time.time())) // DAY))

    def serial(self) -> str:
        """The serial number, hexadecimal, in whole bytes."""
        number = self.parsed.serial_number
        digits = f"{abs(number):X}"
        return "-" * (number < 0) + "0" * (len(digits) % 2) + digits

    def assertion(self) -> str:
        """CertificateExactAssertion (RFC 4523, A.1): serial number and issuer."""
        return f'{{ serialNumber {self.parsed.serial_number}, issuer rdnSequence:"{printed(self.issuer)}" }}'

    def components(self, which: str) -> Iterator[tuple[str, str]]:
        """All attributes of the subject (S) or the issuer (I) for which mod_ssl has names: CN, OU, OU_1..."""
        names = {oid: name for name, oid in COMPONENTS.items() if name != "SP"}
        seen: dict[str, int] = {}
        for entry in _entries(self.name(which)):
            name = names.get(entry.oid.dotted_string)
            if name is not None:
                count = seen.get(name, 0)
                seen[name] = count + 1
                yield (f"{name}_{count}" if count else name), _shown(_text(entry), "\\")

    def numbered_alternatives(self) -> Iterator[tuple[str, str]]:
        """All alternative names: Email_0, Email_1, DNS_0..."""
        seen: dict[str, int] = {}
        for kind, value in self.alternatives:
            count = seen.get(kind, 0)
            seen[kind] = count + 1
            yield f"{kind}_{count}", value

    def extension_texts(self, oid: str) -> list[str]:
        """The texts in extensions of a type. Extensions that are not texts are left out."""
        found = [one for one in self.extensions if one.oid.dotted_string == oid]
        return [text for one in found if (text := _text_of_der(one.value.public_bytes())) is not None]


def load() -> None:
    """Load the library that reads certificates, once for all processes that are forked from this one."""
    import cryptography.x509

    assert cryptography.x509 is not None


@functools.lru_cache(maxsize=512)
def read(der: bytes) -> Certificate:
    """A certificate, parsed once. Raises CertificateError."""
    return Certificate(der)


_VALUES = {
    "M_VERSION": lambda certificate: str(certificate.version),
    "M_SERIAL": Certificate.serial,
    "V_START": lambda certificate: _time(certificate.parsed.not_valid_before_utc),
    "V_END": lambda certificate: _time(certificate.parsed.not_valid_after_utc),
    "V_REMAIN": Certificate.days_left,
    "A_SIG": lambda certificate: _algorithm(certificate.parsed.signature_algorithm_oid.dotted_string),
    "A_KEY": lambda certificate: _algorithm(certificate.parsed.public_key_algorithm_oid.dotted_string),
    "CERT": lambda certificate: pem(certificate.der),
    "CERT_RFC4523_CEA": Certificate.assertion,
}


def covers(certified: str, host: str) -> bool:
    """Whether a name in a certificate matches a host: "*." stands for one label (RFC 9525, 6.3)."""
    certified, host = certified.lower(), host.lower()
    return certified == host or (certified.startswith("*.") and host.partition(".")[1:] == (".", certified[2:]))


def pem(der: bytes) -> str:
    """A certificate in PEM."""
    return ssl.DER_cert_to_PEM_cert(der)


def printed(name: x509.Name) -> str:
    """A distinguished name: the last attribute first, with commas between them (RFC 2253)."""
    return ",".join(
        "+".join(f"{_SHORT_NAMES.get(oid, oid)}={_attribute(entry)}" for oid, entry in _numbered(reversed(list(rdn))))
        for rdn in reversed(name.rdns)
    )


def one_line(name: x509.Name) -> str:
    """A distinguished name in the old form: /C=DE/CN=alice (X509_NAME_oneline)."""
    return "".join(
        f"/{_SHORT_NAMES.get(oid, oid)}={_UNPRINTABLE.sub(_hexadecimal, text.encode().decode('latin-1'))}"
        for oid, text in ((oid, _text(entry)) for oid, entry in _numbered(_entries(name)))
    )


_UNPRINTABLE = re.compile(r"[^ -~]")


def _hexadecimal(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02X}"


def _numbered(entries: Iterable[x509.NameAttribute]) -> Iterator[tuple[str, x509.NameAttribute]]:  # type: ignore[type-arg]
    return ((entry.oid.dotted_string, entry) for entry in entries)


def _entries(name: x509.Name) -> Iterator[x509.NameAttribute]:  # type: ignore[type-arg]
    return (entry for rdn in name.rdns for entry in rdn)


def _text(entry: x509.NameAttribute) -> str:  # type: ignore[type-arg]
    value = entry.value
    return value if isinstance(value, str) else value.hex().upper()


def _attribute(entry: x509.NameAttribute) -> str:  # type: ignore[type-arg]
    """The value of an attribute, escaped. If OpenSSL has no name for the attribute, the value is its bytes in DER."""
    if entry.oid.dotted_string in _SHORT_NAMES and isinstance(entry.value, str):
        text = _shown(entry.value, '\\,+"<>;')
        if text[:1] in (" ", "#"):
            text = f"\\{text}"
        return f"{text[:-1]}\\ " if text.endswith(" ") and len(text) > 2 else text
    tag = entry._type.value
    value = entry.value
    data = value.encode(_TEXTS.get(tag, "utf-8")) if isinstance(value, str) else b"\0" + value
    return f"#{bytes((tag,)).hex()}{_length(len(data)).hex()}{data.hex()}".upper()


def _length(size: int) -> bytes:
    """A length in DER (X.690, 8.1.3)."""
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def _shown(text: str, special: str) -> str:
    """A text with a backslash before special characters, and control characters as \\XX."""
    if text.isprintable() and not any(char in special for char in text):
        return text
    return "".join(
        f"\\{char}" if char in special else f"\\{ord(char):02X}" if char < " " or char == "\x7f" else char
        for char in text
    )


def _raw(text: str) -> str:
    """A text as its characters are, not in UTF-8 (_RAW): those beyond ISO 8859-1 by number."""
    shown = (f"\\W{ord(one):08X}" if one > "\uffff" else f"\\U{ord(one):04X}" if one > "\xff" else one for one in text)
    return "".join(shown).encode("latin-1").decode("utf-8", "surrogateescape")


def _algorithm(oid: str) -> str:
    return _ALGORITHMS.get(oid, "UNKNOWN")


def _time(at: datetime) -> str:
    """A time as OpenSSL prints it: Nov  5 19:21:54 2026 GMT."""
    return f"{_MONTHS[at.month - 1]} {at.day:2} {at:%H:%M:%S} {at.year} GMT"


def _alternatives(parsed: x509.Certificate) -> Iterator[tuple[str, str]]:
    """The subject's alternative names for which mod_ssl has names."""
    from cryptography import x509

    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in names:
        if isinstance(name, x509.RFC822Name):
            yield "Email", _shown(name.value, "\\")
        elif isinstance(name, x509.DNSName):
            yield "DNS", _shown(name.value, "\\")
        elif isinstance(name, x509.OtherName):
            for kind, oid in _OTHER_NAMES.items():
                if name.type_id.dotted_string == oid and (text := _text_of_der(name.value)) is not None:
                    yield f"OTHER_{kind}", _shown(text, "\\")


def _text_of_der(data: bytes) -> str | None:
    """The text in a DER value; None for other types."""
    if len(data) < 2 or data[0] not in _TEXTS:
        return None
    start, size = 2, data[1]
    if size >= 0x80:
        start = 2 + (size & 0x7F)
        size = int.from_bytes(data[2:start], "big")
    if size != len(data) - start:
        return None
    try:
        return data[start:].decode(_TEXTS[data[0]])
    except UnicodeDecodeError:
        return None
