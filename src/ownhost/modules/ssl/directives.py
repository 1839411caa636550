"""mod_ssl's directives about connections: keys, protocols, ciphers, clients' certificates.

Source: mod_ssl's page in Apache's manual. docs/tls.md has the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ownhost.config.arguments import choice, either, flag, ignored, integer, path, single, words
from ownhost.config.directive import (
    ANYWHERE,
    SERVER_ONLY,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Where,
    append,
    declare,
)
from ownhost.config.model import Section, VirtualHost
from ownhost.http.tls import VERSIONS, TLSPolicy, cipher_names

T = TypeVar("T")
DEFAULT_VERSIONS = frozenset(("TLSv1.2", "TLSv1.3"))
VERIFY = {"none": "none", "off": "none", "optional": "optional", "require": "require", "on": "require"}


@dataclass(frozen=True, slots=True)
class Ciphers:
    """The value of SSLCipherSuite; "" is OpenSSL's choice."""

    older: str = ""  # for TLS 1.2 and older
    tls13: str = ""


def parse_protocols(every: frozenset[str]) -> Callable[[Call], frozenset[str]]:
    """Versions with + and -. `every` is the meaning of `all`."""
    return lambda call: _versions(words(1)(call), every)


def _versions(found: tuple[str, ...], every: frozenset[str]) -> frozenset[str]:
    known = {name.lower(): name for name in VERSIONS}
    enabled: set[str] = set()
    for word in found:
        sign, name = (word[0], word[1:]) if word[0] in "+-" else ("", word)
        if name.lower() == "all":
            named = set(every)
        elif name.lower() in ("sslv3", "sslv2"):
            if sign != "-":
                raise ArgumentError(f"{name} is broken, and not spoken; expected {either(list(VERSIONS))}")
            named = set()
        elif name.lower() in known:
            named = {known[name.lower()]}
        else:
            raise ArgumentError(f"expected all or {either(list(VERSIONS))}, with + or - before it, not {word!r}")
        enabled = enabled - named if sign == "-" else enabled | named if sign == "+" else named
    if not enabled:
        raise ArgumentError("expected at least one version to remain")
    return frozenset(enabled)


def parse_ciphers(call: Call) -> Ciphers:
    """[SSL|TLSv1.3] ciphers. Raises ArgumentError."""
    *kind, ciphers = words(1, 2)(call)
    if kind and kind[0].lower() == "tlsv1.3":
        return Ciphers(tls13=ciphers)
    if kind and kind[0].lower() != "ssl":
        raise ArgumentError(f"expected SSL or TLSv1.3 before the ciphers, not {kind[0]!r}")
    # As in Apache: never without encryption or certificates, whatever the list says.
    return Ciphers(older=f"{ciphers}:!aNULL:!eNULL")


def parse_own_ciphers(call: Call) -> Ciphers:
    """The same, for clients' connections: a section can only refuse them. Raises ArgumentError."""
    ciphers = parse_ciphers(call)
    if call.section_kind:
        if ciphers.tls13:
            raise ArgumentError("the ciphers of TLSv1.3 cannot be chosen in a section; expected those of TLS 1.2")
        known = cipher_names(ciphers.older)
        which = "with other ciphers" if known else f"(OpenSSL knows no cipher in {call.args[-1]!r})"
        call.notes.append(f"nothing is renegotiated: connections of TLS 1.2 {which} are refused here with 403")
    return ciphers


def fold_ciphers(before: Ciphers | None, after: Ciphers) -> Ciphers:
    """Both kinds of ciphers, each from its last line."""
    before = before or Ciphers()
    return Ciphers(after.older or before.older, after.tls13 or before.tls13)


def merge_ciphers(outer: Ciphers, inner: Ciphers) -> Ciphers:
    """The inner scope's, for each kind that it sets."""
    return fold_ciphers(outer, inner)


def parse_file(call: Call) -> str:
    """A file of PEM. Raises ArgumentError."""
    if single(call).lower().startswith("pkcs11:"):
        raise ArgumentError("keys in hardware tokens (pkcs11:) are not supported; expected a file")
    return path()(call)


def parse_command(call: Call) -> tuple[str, str]:
    """A command of SSL_CONF_cmd(3) and its value. Raises ArgumentError."""
    command, value = words(2, 2)(call)
    return command, value


def parse_verify(call: Call) -> str:
    """Whether clients need a certificate. Raises ArgumentError."""
    if single(call).lower() == "optional_no_ca":
        raise ArgumentError("optional_no_ca is not supported: expected none, optional or require")
    return choice(VERIFY)(call)


def parse_off(call: Call) -> None:
    """On or Off, of which only Off is possible. Raises ArgumentError."""
    if flag()(call):
        raise ArgumentError("expected Off: this is not done here, as it is known to be unsafe")


def parse_engine(call: Call) -> bool:
    """On or Off. Raises ArgumentError."""
    if call.args and call.args[0].lower() == "optional":
        raise ArgumentError("upgrading to TLS within HTTP (optional) is not supported: expected On or Off")
    return flag()(call)


def parse_cache(call: Call) -> bool:
    """Whether there is a cache, of any of Apache's kinds. Raises ArgumentError."""
    kind = single(call).partition(":")[0].lower()
    known = ("none", "nonenotnull", "dbm", "shmcb", "dc", "memcache", "redis")
    if kind not in known:
        raise ArgumentError(f"expected {either(list(known))}, and what it needs, not {call.args[0]!r}")
    return not kind.startswith("none")


def parse_ticket_timeout(call: Call) -> int:
    """Seconds."""
    return integer(1, 604_800)(call)


SSL_ENGINE = Setting("SSLEngine", False)
SSL_PROTOCOL: Setting[frozenset[str]] = Setting("SSLProtocol", DEFAULT_VERSIONS)
SSL_CIPHERS = Setting("SSLCipherSuite", Ciphers(), merge_ciphers)
SSL_HONOR_CIPHER_ORDER = Setting("SSLHonorCipherOrder", False)
SSL_COMMANDS: Setting[tuple[tuple[str, str], ...]] = Setting("SSLOpenSSLConfCmd", ())
SSL_CERTIFICATES: Setting[tuple[str, ...]] = Setting("SSLCertificateFile", ())
SSL_KEYS: Setting[tuple[str, ...]] = Setting("SSLCertificateKeyFile", ())
SSL_CHAIN = Setting("SSLCertificateChainFile", "")
SSL_SESSION_TICKETS = Setting("SSLSessionTickets", True)
SSL_SESSION_TIMEOUT = Setting("SSLSessionCacheTimeout", 300)
SSL_SESSION_CACHE = Setting("SSLSessionCache", False)
SSL_VERIFY_CLIENT = Setting("SSLVerifyClient", "none")
SSL_VERIFY_DEPTH = Setting("SSLVerifyDepth", 1)
SSL_AUTHORITY_FILE = Setting("SSLCACertificateFile", "")
SSL_AUTHORITY_FOLDER = Setting("SSLCACertificatePath", "")
SSL_NAMED_FILE = Setting("SSLCADNRequestFile", "")
SSL_NAMED_FOLDER = Setting("SSLCADNRequestPath", "")
SSL_REVOCATION_FILE = Setting("SSLCARevocationFile", "")
SSL_REVOCATION_FOLDER = Setting("SSLCARevocationPath", "")
SSL_REVOCATION_CHECK = Setting("SSLCARevocationCheck", "none")
SSL_STRICT_SNI = Setting("SSLStrictSNIVHostCheck", False)


def policy_of(server: VirtualHost) -> TLSPolicy:
    """How a virtual host speaks TLS. If a section wants a client's certificate, the handshake asks for it.

    Apache asks in the middle of a request; neither HTTP/2 nor today's browsers allow that.
    Certificates may then be as deep as any section allows, and `mod_ssl` checks each request's own
    limit. A resumed session does not tell the depth. So if it is checked, sessions are not resumed.
    """
    settings = server.settings
    ciphers = settings[SSL_CIPHERS]
    verify, depth = settings[SSL_VERIFY_CLIENT], settings[SSL_VERIFY_DEPTH]
    depths = tuple(_said(server.sections, SSL_VERIFY_DEPTH))
    if verify == "none" and any(section.says(SSL_VERIFY_CLIENT) for section in server.sections):
        verify = "optional"
        depth = max(depth, *depths) if depths else depth
    resumes = verify == "none" or (depth > 0 and not depths)
    return TLSPolicy(
        versions=settings[SSL_PROTOCOL],
        ciphers=ciphers.older,
        suites=ciphers.tls13,
        server_order=settings[SSL_HONOR_CIPHER_ORDER],
        commands=settings[SSL_COMMANDS],
        tickets=settings[SSL_SESSION_TICKETS] and resumes,
        remembers=settings[SSL_SESSION_CACHE] and resumes,
        session_timeout=settings[SSL_SESSION_TIMEOUT],
        verify=verify,
        verify_depth=depth,
        revocation=settings[SSL_REVOCATION_CHECK],
    )


def _said(sections: Iterable[Section], setting: Setting[T]) -> Iterator[T]:
    """The values of a setting in sections, and in those inside them."""
    for section in sections:
        if setting in section.settings:
            yield section.settings[setting]
        yield from _said(section.sections, setting)


for _directive in (
    Directive(
        "SSLEngine",
        "mod_ssl",
        "On|Off",
        SERVERS,
        "Whether connections to this virtual host are encrypted.",
        parse_engine,
        setting=SSL_ENGINE,
        default="Off",
    ),
    Directive(
        "SSLProtocol",
        "mod_ssl",
        "[+|-]version...",
        SERVERS,
        "Which versions of TLS are spoken; all means those that are not known to be weak.",
        parse_protocols(DEFAULT_VERSIONS),
        setting=SSL_PROTOCOL,
        default="TLSv1.2 TLSv1.3",
        differs="all is TLS 1.2 and 1.3; older versions must be named.",
    ),
    Directive(
        "SSLCipherSuite",
        "mod_ssl",
        "[SSL|TLSv1.3] ciphers",
        ANYWHERE,
        (
            "The ciphers, in OpenSSL's notation; TLSv1.3's have a line of their own. A section "
            "refuses TLS 1.2 with other ciphers."
        ),
        parse_own_ciphers,
        setting=SSL_CIPHERS,
        override=Override.AUTH_CONFIG,
        fold=fold_ciphers,
        default="those with forward secrecy and authenticated encryption",
        differs=(
            "By default, only ciphers with forward secrecy. In a section, another cipher gets 403: "
            "nothing is renegotiated."
        ),
    ),
    Directive(
        "SSLHonorCipherOrder",
        "mod_ssl",
        "On|Off",
        SERVERS,
        "Whether the server's order of ciphers counts, or the client's.",
        flag(),
        setting=SSL_HONOR_CIPHER_ORDER,
        default="Off",
    ),
    Directive(
        "SSLOpenSSLConfCmd",
        "mod_ssl",
        "command value",
        SERVERS,
        "A command of OpenSSL's SSL_CONF_cmd(3): Groups, Curves, Options, SignatureAlgorithms...",
        parse_command,
        setting=SSL_COMMANDS,
        fold=append,
    ),
    Directive(
        "SSLCertificateFile",
        "mod_ssl",
        "file",
        SERVERS,
        ("A certificate in PEM, followed by intermediate ones, and perhaps its key. A line for each kind of key."),
        parse_file,
        setting=SSL_CERTIFICATES,
        fold=append,
    ),
    Directive(
        "SSLCertificateKeyFile",
        "mod_ssl",
        "file",
        SERVERS,
        ("The key of a certificate in PEM. The first line belongs to the first SSLCertificateFile, and so on."),
        parse_file,
        setting=SSL_KEYS,
        fold=append,
    ),
    Directive(
        "SSLCertificateChainFile",
        "mod_ssl",
        "file",
        SERVERS,
        "The certificates between the first SSLCertificateFile's and the root.",
        parse_file,
        setting=SSL_CHAIN,
    ),
    Directive(
        "SSLSessionTickets",
        "mod_ssl",
        "On|Off",
        SERVERS,
        ("Whether clients may resume sessions by tickets. Only the virtual host's workers have the tickets' keys."),
        flag(),
        setting=SSL_SESSION_TICKETS,
        default="On",
    ),
    Directive(
        "SSLSessionCache",
        "mod_ssl",
        "none|type:argument",
        SERVER_ONLY,
        "Whether sessions without tickets may be resumed. Each worker remembers its own; nothing is shared.",
        parse_cache,
        setting=SSL_SESSION_CACHE,
        default="none",
    ),
    Directive(
        "SSLSessionCacheTimeout",
        "mod_ssl",
        "seconds",
        SERVERS,
        "How long a session may be resumed.",
        parse_ticket_timeout,
        setting=SSL_SESSION_TIMEOUT,
        default="300",
    ),
    Directive(
        "SSLVerifyClient",
        "mod_ssl",
        "none|off|optional|require|on",
        ANYWHERE,
        ("Whether clients need a certificate. If a section requires one, the whole virtual host asks for it."),
        parse_verify,
        setting=SSL_VERIFY_CLIENT,
        override=Override.AUTH_CONFIG,
        default="none",
        differs=(
            "If a section requires a certificate, the whole virtual host asks for it. optional_no_ca is an error."
        ),
    ),
    Directive(
        "SSLVerifyDepth",
        "mod_ssl",
        "number",
        ANYWHERE,
        (
            "How many certificates may be above a client's, including the trusted one. With 0, only "
            "self-signed ones count."
        ),
        integer(0, 100),
        setting=SSL_VERIFY_DEPTH,
        override=Override.AUTH_CONFIG,
        default="1",
        differs="A section refuses deeper certificates with 403; nothing is renegotiated.",
    ),
    Directive(
        "SSLCARevocationCheck",
        "mod_ssl",
        "none|leaf|chain",
        SERVERS,
        "Which certificates are looked up in revocation lists.",
        choice({"none": "none", "leaf": "leaf", "chain": "chain"}),
        setting=SSL_REVOCATION_CHECK,
        default="none",
    ),
    Directive(
        "SSLStrictSNIVHostCheck",
        "mod_ssl",
        "On|Off",
        SERVERS,
        "Whether clients that name no host in their handshake are refused.",
        flag(),
        setting=SSL_STRICT_SNI,
        default="Off",
    ),
):
    declare(_directive)

for _name, _setting, _what in (
    ("SSLCACertificateFile", SSL_AUTHORITY_FILE, "The authorities from which clients' certificates may come, in PEM."),
    ("SSLCACertificatePath", SSL_AUTHORITY_FOLDER, "The same, as a folder of files."),
    (
        "SSLCADNRequestFile",
        SSL_NAMED_FILE,
        ("The authorities that clients are told in the request for a certificate, if not the trusted ones."),
    ),
    ("SSLCADNRequestPath", SSL_NAMED_FOLDER, "The same, as a folder of files."),
    ("SSLCARevocationFile", SSL_REVOCATION_FILE, "Revocation lists for clients' certificates, in PEM."),
    ("SSLCARevocationPath", SSL_REVOCATION_FOLDER, "The same, as a folder of files."),
):
    declare(Directive(_name, "mod_ssl", "file", SERVERS, _what, path(), setting=_setting))

for _name, _where, _what in (
    ("SSLCompression", SERVERS, "Whether TLS compresses. It never does (CRIME)."),
    (
        "SSLInsecureRenegotiation",
        SERVERS,
        "Whether clients may renegotiate in an unsafe way. They may not renegotiate at all.",
    ),
    ("SSLFIPS", SERVER_ONLY, "Whether OpenSSL runs in FIPS mode. The system configures that."),
):
    declare(Directive(_name, "mod_ssl", "Off", _where, _what, parse_off, default="Off"))

_NO_STAPLING = "certificates are served without a stapled OCSP response"
for _name, _where, _what, _note in (
    ("SSLSessionTicketKeyFile", SERVERS, "The key of session tickets. Each owner has one, new at each start.", ""),
    ("SSLUseStapling", SERVERS, "Whether an OCSP response comes with the certificate.", _NO_STAPLING),
    ("SSLStaplingCache", SERVER_ONLY, "Where OCSP responses are kept.", ""),
    ("SSLStaplingErrorCacheTimeout", SERVERS, "How long failed OCSP queries are remembered.", ""),
    ("SSLStaplingFakeTryLater", SERVERS, 'Whether clients get a "try later" for failed OCSP queries.', ""),
    ("SSLStaplingForceURL", SERVERS, "The server that is asked for OCSP responses.", ""),
    ("SSLStaplingResponderTimeout", SERVERS, "How long OCSP queries may take.", ""),
    ("SSLStaplingResponseMaxAge", SERVERS, "How old OCSP responses may be.", ""),
    ("SSLStaplingResponseTimeSkew", SERVERS, "How far OCSP responders' clocks may be off.", ""),
    ("SSLStaplingReturnResponderErrors", SERVERS, "Whether clients see OCSP errors.", ""),
    ("SSLStaplingStandardCacheTimeout", SERVERS, "How long OCSP responses are remembered.", ""),
    ("SSLCryptoDevice", SERVER_ONLY, "Which hardware helps OpenSSL. The system configures that.", ""),
    (
        "SSLRenegBufferSize",
        Where.DIRECTORY | Where.HTACCESS,
        "How much of a body is kept for a renegotiation. There are no renegotiations.",
        "",
    ),
):
    declare(
        Directive(
            _name,
            "mod_ssl",
            "value...",
            _where,
            _what,
            ignored(),
            override=Override.AUTH_CONFIG if Where.HTACCESS in _where else Override.NONE,
            answer=Answer.NO_EFFECT,
            note=_note and f"has no effect: {_note}",
        )
    )
