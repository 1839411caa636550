"""mod_ssl's directives about TLS to servers behind this one: SSLProxyEngine and the others that begin with SSLProxy.

As in Apache, they may stand in the server, a virtual host or a <Proxy> section. With SSLProxyEngine
on, any issuer of a server's certificate is accepted, but its name and its dates must be right.

Source: mod_ssl's page in Apache's manual, and Apache 2.4's answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ownhost.config.arguments import choice, either, flag, integer, path, words
from ownhost.config.directive import (
    PROXY_SECTIONS,
    ArgumentError,
    Call,
    Directive,
    Problem,
    Setting,
    Settings,
    Source,
    declare,
)
from ownhost.config.model import SectionKind, VirtualHost
from ownhost.http.tls import VERSIONS
from ownhost.http.tls_client import DEFAULT_CIPHERS, ClientPolicy
from ownhost.modules.ssl.directives import Ciphers, fold_ciphers, merge_ciphers, parse_ciphers, parse_protocols

EVERY_VERSION = frozenset(VERSIONS)
# A server always shows a certificate, so an optional one is as good as a required one.
_VERIFY = {"none": "none", "off": "none", "optional": "require", "require": "require", "on": "require"}


def parse_proxy_verify(call: Call) -> str:
    """Who must have issued a server's certificate. Raises ArgumentError."""
    return choice({**_VERIFY, "optional_no_ca": "optional_no_ca"})(call)


@dataclass(frozen=True, slots=True)
class RevocationCheck:
    """The value of SSLProxyCARevocationCheck."""

    whose: str = "none"  # "none", "leaf" or "chain"
    needs_lists: bool = True


def parse_revocation_check(call: Call) -> RevocationCheck:
    """none, leaf or chain, and perhaps no_crl_for_cert_ok. Raises ArgumentError."""
    whose, *flags = words(1, 2)(call)
    if whose.lower() not in ("none", "leaf", "chain"):
        raise ArgumentError(f"expected {either(['none', 'leaf', 'chain'])}, not {whose!r}")
    if flags and flags[0].lower() != "no_crl_for_cert_ok":
        raise ArgumentError(f"expected no_crl_for_cert_ok or nothing, not {flags[0]!r}")
    return RevocationCheck(whose.lower(), needs_lists=not flags)


ENGINE = Setting("SSLProxyEngine", False)
PROTOCOL: Setting[frozenset[str]] = Setting("SSLProxyProtocol", EVERY_VERSION)
CIPHERS = Setting("SSLProxyCipherSuite", Ciphers(), merge_ciphers)
VERIFY = Setting("SSLProxyVerify", "none")
VERIFY_DEPTH = Setting("SSLProxyVerifyDepth", 1)
REVOCATION_CHECK = Setting("SSLProxyCARevocationCheck", RevocationCheck())
CHECK_NAME: Setting[bool | None] = Setting("SSLProxyCheckPeerName", None)
CHECK_COMMON_NAME: Setting[bool | None] = Setting("SSLProxyCheckPeerCN", None)
CHECK_EXPIRE = Setting("SSLProxyCheckPeerExpire", True)
AUTHORITY_FILE = Setting("SSLProxyCACertificateFile", "")
AUTHORITY_FOLDER = Setting("SSLProxyCACertificatePath", "")
REVOCATION_FILE = Setting("SSLProxyCARevocationFile", "")
REVOCATION_FOLDER = Setting("SSLProxyCARevocationPath", "")
CERTIFICATE_FILE = Setting("SSLProxyMachineCertificateFile", "")
CERTIFICATE_FOLDER = Setting("SSLProxyMachineCertificatePath", "")
CHAIN_FILE = Setting("SSLProxyMachineCertificateChainFile", "")

AUTHORITIES = (AUTHORITY_FILE, AUTHORITY_FOLDER, REVOCATION_FILE, REVOCATION_FOLDER)
CERTIFICATES = (CERTIFICATE_FILE, CERTIFICATE_FOLDER)
FILES = (*AUTHORITIES, *CERTIFICATES, CHAIN_FILE)
FOLDERS = frozenset((AUTHORITY_FOLDER.name, REVOCATION_FOLDER.name, CERTIFICATE_FOLDER.name))


@dataclass(frozen=True, slots=True)
class ProxyTLS:
    """How TLS is spoken with a server behind this one: the policy, and the names of files with its
    keys and authorities.
    """

    policy: ClientPolicy
    authorities: tuple[str, ...]
    certificates: tuple[str, ...]
    chain: tuple[str, ...]


def proxy_tls(settings: Settings) -> ProxyTLS:
    """The policy in these settings."""
    ciphers, revocation = settings[CIPHERS], settings[REVOCATION_CHECK]
    policy = ClientPolicy(
        versions=settings[PROTOCOL],
        ciphers=ciphers.older or DEFAULT_CIPHERS,
        suites=ciphers.tls13,
        verify=settings[VERIFY],
        depth=settings[VERIFY_DEPTH],
        revocation=revocation.whose,
        needs_lists=revocation.needs_lists,
        names=_checked_names(settings[CHECK_NAME], settings[CHECK_COMMON_NAME]),
        dated=settings[CHECK_EXPIRE],
    )
    return ProxyTLS(
        policy, _named(settings, *AUTHORITIES), _named(settings, *CERTIFICATES), _named(settings, CHAIN_FILE)
    )


def _checked_names(name: bool | None, common_name: bool | None) -> str:
    """Which names are checked. SSLProxyCheckPeerCN is the older directive: Off counts if the other is not set."""
    if name or (name is None and common_name is not False):
        return "all"
    return "common" if common_name else "none"


def _named(settings: Settings, *files: Setting[str]) -> tuple[str, ...]:
    return tuple(settings[file] for file in files if settings[file])


@dataclass(frozen=True, slots=True)
class Scope:
    """Settings that requests may have: a virtual host's, or these overridden by one of its <Proxy> sections."""

    settings: Settings
    origins: Mapping[str, Source]
    source: Source

    def problem(self, setting: str, message: str) -> Problem:
        """An error, at the place that causes it."""
        return Problem(self.origins.get(setting, self.source), message)


def scopes(server: VirtualHost) -> Iterator[Scope]:
    """Those of a virtual host, and of its <Proxy> sections."""
    yield Scope(server.settings, server.origins, server.source)
    for section in server.sections:
        if section.kind in (SectionKind.PROXY, SectionKind.PROXY_MATCH):
            origins = {**server.origins, **section.origins}
            yield Scope(server.settings.merged(section.settings), origins, section.source)


def named_files(settings: Settings) -> Iterator[tuple[Setting[str], str]]:
    """The files and folders that settings name, each with its setting."""
    return ((file, settings[file]) for file in FILES if settings[file])


for _directive in (
    Directive(
        "SSLProxyEngine",
        "mod_ssl",
        "On|Off",
        PROXY_SECTIONS,
        "Whether TLS to servers behind this one is allowed: https:// and wss://.",
        flag(),
        setting=ENGINE,
        default="Off",
    ),
    Directive(
        "SSLProxyProtocol",
        "mod_ssl",
        "[+|-]version...",
        PROXY_SECTIONS,
        "Which versions of TLS are spoken with servers behind this one; all is every version.",
        parse_protocols(EVERY_VERSION),
        setting=PROTOCOL,
        default="all",
    ),
    Directive(
        "SSLProxyCipherSuite",
        "mod_ssl",
        "[SSL|TLSv1.3] ciphers",
        PROXY_SECTIONS,
        ("The ciphers for servers behind this one, in OpenSSL's notation; TLSv1.3's have a line of their own."),
        parse_ciphers,
        setting=CIPHERS,
        fold=fold_ciphers,
        default="DEFAULT",
    ),
    Directive(
        "SSLProxyVerify",
        "mod_ssl",
        "none|optional|require|optional_no_ca",
        PROXY_SECTIONS,
        "Whether a server's certificate must come from one of SSLProxyCACertificateFile's authorities.",
        parse_proxy_verify,
        setting=VERIFY,
        default="none",
    ),
    Directive(
        "SSLProxyVerifyDepth",
        "mod_ssl",
        "number",
        PROXY_SECTIONS,
        "How many certificates may be above a server's own, including the authority's.",
        integer(0, 100),
        setting=VERIFY_DEPTH,
        default="1",
    ),
    Directive(
        "SSLProxyCARevocationCheck",
        "mod_ssl",
        "none|leaf|chain [no_crl_for_cert_ok]",
        PROXY_SECTIONS,
        "Which certificates are looked up in revocation lists.",
        parse_revocation_check,
        setting=REVOCATION_CHECK,
        default="none",
    ),
    Directive(
        "SSLProxyCheckPeerName",
        "mod_ssl",
        "On|Off",
        PROXY_SECTIONS,
        "Whether a server's certificate must be for the host in the URL, even without a check of its issuer.",
        flag(),
        setting=CHECK_NAME,
        default="On",
    ),
    Directive(
        "SSLProxyCheckPeerCN",
        "mod_ssl",
        "On|Off",
        PROXY_SECTIONS,
        "The same, by the certificate's common name alone, if SSLProxyCheckPeerName is off.",
        flag(),
        setting=CHECK_COMMON_NAME,
        default="On",
    ),
    Directive(
        "SSLProxyCheckPeerExpire",
        "mod_ssl",
        "On|Off",
        PROXY_SECTIONS,
        "Whether a server's certificate must not have expired, even without a check of its issuer.",
        flag(),
        setting=CHECK_EXPIRE,
        default="On",
    ),
):
    declare(_directive)

for _setting, _what in (
    (AUTHORITY_FILE, "The authorities from which servers' certificates may come, in PEM."),
    (AUTHORITY_FOLDER, "The same, as a folder of files."),
    (REVOCATION_FILE, "Revocation lists for servers' certificates, in PEM."),
    (REVOCATION_FOLDER, "The same, as a folder of files."),
    (CERTIFICATE_FILE, "Certificates with their keys, in PEM, for servers that ask for one."),
    (CERTIFICATE_FOLDER, "The same, as a folder of files."),
    (CHAIN_FILE, "The intermediate certificates between those and a root, in PEM."),
):
    _syntax = "folder" if _setting.name in FOLDERS else "file"
    declare(Directive(_setting.name, "mod_ssl", _syntax, PROXY_SECTIONS, _what, path(), setting=_setting))
