"""The values of mod_ssl's variables for a connection, and for the certificates on both sides of it.

Source: the table "Environment Variables" of mod_ssl's page in Apache's manual. A variable without a
value is "".
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ownhost import __version__
from ownhost.config.directive import Setting
from ownhost.config.ssl_names import OF_CERTIFICATE, canonical
from ownhost.http.certificates import Certificate, CertificateError, pem, read
from ownhost.http.tls import TLSFacts
from ownhost.request.request import Endpoints, Request


@dataclass(frozen=True, slots=True)
class SSLOptions:
    """The value of SSLOptions: a list (`listed`), or changes to that of the scope around it."""

    listed: frozenset[str] | None = None
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        """Whether an option is on, if there is no scope around this one."""
        return name in self.added or (self.listed is not None and name in self.listed and name not in self.removed)


def merge_options(outer: SSLOptions, inner: SSLOptions) -> SSLOptions:
    """Options with + and - change those around them; a list replaces them."""
    if inner.listed is not None:
        return inner
    return SSLOptions(
        outer.listed, (outer.added - inner.removed) | inner.added, (outer.removed - inner.added) | inner.removed
    )


SSL_OPTIONS: Setting[SSLOptions] = Setting("SSLOptions", SSLOptions(), merge_options)
LEGACY = "LegacyDNStringFormat"


def lookup(request: Request, name: str) -> str:
    """The value of SSL_... for a request."""
    request.pure = False
    settings = request.settings or request.site.settings
    return of_connection(request.endpoints, name, legacy=LEGACY in settings[SSL_OPTIONS])


def of_connection(endpoints: Endpoints, name: str, *, legacy: bool = False) -> str:
    """The value of SSL_... on a connection."""
    name = canonical(name)
    if name in _OF_SERVER:
        return _OF_SERVER[name]
    tls = endpoints.tls
    if tls is None:
        return ""
    if name in _OF_CONNECTION:
        return _OF_CONNECTION[name](tls)
    side, what = name[4:10], name[11:]
    if side == "CLIENT" and what.startswith("CERT_CHAIN_"):
        place = what.removeprefix("CERT_CHAIN_")
        return pem(tls.chain[int(place)]) if place.isdecimal() and int(place) < len(tls.chain) else ""
    certificate = client(tls) if side == "CLIENT" else server(tls) if side == "SERVER" else None
    return "" if certificate is None else certificate.value(what, legacy=legacy)


def extension_texts(request: Request, oid: str) -> list[str]:
    """The texts in extensions of the client's certificate."""
    request.pure = False
    certificate = client(request.endpoints.tls) if request.endpoints.tls else None
    return [] if certificate is None else certificate.extension_texts(oid)


def client(tls: TLSFacts) -> Certificate | None:
    """The client's certificate; None if it has none, or an unreadable one."""
    return _read(tls.certificate)


def server(tls: TLSFacts) -> Certificate | None:
    """The certificate that the client was shown."""
    return _read(tls.server_certificate)


def _read(der: bytes) -> Certificate | None:
    try:
        return read(der) if der else None
    except CertificateError:
        return None


def standard(tls: TLSFacts, *, legacy: bool) -> dict[str, str]:
    """The variables that StdEnvVars gives to programs: all that have a value, except certificates."""
    found = _standard(tls, legacy)
    certificate = client(tls)
    return found if certificate is None else {**found, "SSL_CLIENT_V_REMAIN": certificate.days_left()}


@functools.lru_cache(maxsize=512)
def _standard(tls: TLSFacts, legacy: bool) -> dict[str, str]:
    found = dict(_OF_SERVER)
    del found["SSL_VERSION_LIBRARY_INTERFACE"]
    found.update((name, get(tls)) for name, get in _OF_CONNECTION.items())
    for side, certificate in (("SERVER", server(tls)), ("CLIENT", client(tls))):
        if certificate is not None:
            found.update((f"SSL_{side}_{name}", value) for name, value in _told(certificate, side, legacy))
    return {name: value for name, value in found.items() if value}


def _told(certificate: Certificate, side: str, legacy: bool) -> Iterator[tuple[str, str]]:
    for name in OF_CERTIFICATE:
        if name != "CERT" and (side == "CLIENT" or name not in ("V_REMAIN", "CERT_RFC4523_CEA")):
            yield name, certificate.value(name, legacy=legacy)
    for which in "SI":
        yield from ((f"{which}_DN_{name}", value) for name, value in certificate.components(which))
    yield from (
        (f"SAN_{name}", value)
        for name, value in certificate.numbered_alternatives()
        if not name.startswith("OTHER_msUPN" if side == "SERVER" else "OTHER_dnsSRV")
    )


def exported(tls: TLSFacts) -> dict[str, str]:
    """The variables that ExportCertData gives to programs: the certificates in PEM, "" for a client without one."""
    found = {f"SSL_CLIENT_CERT_CHAIN_{place}": pem(der) for place, der in enumerate(tls.chain)}
    found["SSL_SERVER_CERT"] = pem(tls.server_certificate) if tls.server_certificate else ""
    found["SSL_CLIENT_CERT"] = pem(tls.certificate) if tls.certificate else ""
    return found


def _library() -> str:
    """OpenSSL's name and version, as in "OpenSSL/3.0.22"."""
    return "/".join(ssl.OPENSSL_VERSION.split()[:2])


_OF_SERVER = {
    "SSL_VERSION_INTERFACE": f"Ownhost/{__version__}",
    "SSL_VERSION_LIBRARY": _library(),
    "SSL_VERSION_LIBRARY_INTERFACE": _library(),
}
_OF_CONNECTION: dict[str, Callable[[TLSFacts], str]] = {
    "SSL_PROTOCOL": lambda tls: tls.protocol,
    "SSL_SESSION_ID": lambda tls: tls.session_id.hex(),
    "SSL_SESSION_RESUMED": lambda tls: "Resumed" if tls.resumed else "Initial",
    "SSL_SECURE_RENEG": lambda tls: "true" if tls.secure_renegotiation else "false",
    "SSL_COMPRESS_METHOD": lambda _: "NULL",
    "SSL_TLS_SNI": lambda tls: tls.server_name,
    "SSL_CIPHER": lambda tls: tls.cipher,
    "SSL_CIPHER_EXPORT": lambda tls: "true" if tls.bits < 56 else "false",
    "SSL_CIPHER_USEKEYSIZE": lambda tls: str(tls.bits),
    "SSL_CIPHER_ALGKEYSIZE": lambda tls: str(tls.algorithm_bits),
    # If a certificate cannot be verified, the handshake fails.
    "SSL_CLIENT_VERIFY": lambda tls: "SUCCESS" if tls.certificate else "NONE",
}
