"""mod_ssl's directives about requests: what programs are told about TLS, and what clients must have.

Source: mod_ssl's page in Apache's manual. docs/tls.md has the differences.
"""

from __future__ import annotations

from ownhost.config import known
from ownhost.config.arguments import choice, either, ignored, one_word, single, words
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
    outer_then_inner,
)
from ownhost.config.expression import Condition
from ownhost.config.expression_parser import parse_ssl_requirement
from ownhost.config.ssl_names import PLAIN, is_variable
from ownhost.request.ssl_variables import LEGACY, SSL_OPTIONS, SSLOptions, merge_options

OPTIONS = ("StdEnvVars", "ExportCertData", "FakeBasicAuth", "StrictRequire", "OptRenegotiate", LEGACY)
IN_SECTIONS = Where.DIRECTORY | Where.HTACCESS
SNI_POLICIES = ("strict", "secure", "authonly", "insecure")


def parse_options(call: Call) -> SSLOptions:
    """Options, perhaps with + or - before them.

    As in Apache, one without replaces all before it. Raises ArgumentError.
    """
    names = {name.lower(): name for name in OPTIONS}
    found = SSLOptions()
    for word in words(1)(call):
        sign, name = (word[0], word[1:]) if word[0] in "+-" else ("", word)
        if name.lower() not in names:
            expected = f"expected {either(list(OPTIONS))}, perhaps with + or -, not {word!r}"
            raise ArgumentError(f"{expected}{known.suggestion(name, OPTIONS)}")
        option = frozenset((names[name.lower()],))
        change = {"+": SSLOptions(added=option), "-": SSLOptions(removed=option)}.get(sign, SSLOptions(option))
        if not sign and len(call.args) > 1 and word != call.args[0]:
            others = " and all before it on the line"
            call.notes.append(f"{word} without a + replaces all options that are in force{others}, as in Apache")
        found = merge_options(found, change)
    return found


def parse_nothing(call: Call) -> bool:
    """No argument. Raises ArgumentError."""
    words(0, 0)(call)
    return True


def parse_requirement(call: Call) -> Condition:
    """A boolean expression. Raises ArgumentError."""
    if not call.raw:
        raise ArgumentError("expected an expression, got none")
    return parse_ssl_requirement(call.args[0] if len(call.args) == 1 else call.raw, call.source)


def parse_user_name(call: Call) -> str:
    """The name of a variable. Raises ArgumentError."""
    name = single(call)
    if not is_variable(name):
        raise ArgumentError(f"there is no variable {name}{known.suggestion(name, (*PLAIN, 'SSL_CLIENT_S_DN_CN'))}")
    return name


def parse_sni_policy(call: Call) -> str:
    """strict or secure; a laxer value counts as secure, with a note. Raises ArgumentError."""
    policy = choice({name: name for name in SNI_POLICIES})(call)
    if policy in ("authonly", "insecure"):
        call.notes.append(f"{policy} has the effect of secure: requests go to no virtual host with other TLS settings")
        return "secure"
    return policy


def parse_ocsp(call: Call) -> None:
    """Only Off: an administrator who wants revocation checked must not get less. Raises ArgumentError."""
    if single(call).lower() != "off":
        raise ArgumentError("clients' certificates are not checked by OCSP; expected Off; use SSLCARevocationFile")


SSL_REQUIRE_SSL = Setting("SSLRequireSSL", False)
SSL_REQUIRE: Setting[tuple[Condition, ...]] = Setting("SSLRequire", (), outer_then_inner)
SSL_USER_NAME = Setting("SSLUserName", "")
SSL_VHOST_SNI_POLICY = Setting("SSLVHostSNIPolicy", "secure")

for _directive in (
    Directive(
        "SSLOptions",
        "mod_ssl",
        "[+|-]option...",
        ANYWHERE,
        f"What programs are told about TLS, and more: {', '.join(OPTIONS)}.",
        parse_options,
        setting=SSL_OPTIONS,
        fold=lambda before, options: options if before is None else merge_options(before, options),
        override=Override.OPTIONS,
    ),
    Directive(
        "SSLRequireSSL",
        "mod_ssl",
        "",
        IN_SECTIONS,
        "Refuses requests that are not encrypted.",
        parse_nothing,
        setting=SSL_REQUIRE_SSL,
        override=Override.AUTH_CONFIG,
    ),
    Directive(
        "SSLRequire",
        "mod_ssl",
        "expression",
        IN_SECTIONS,
        ("Refuses encrypted requests for which an expression is false. It compares texts, shorter ones first."),
        parse_requirement,
        setting=SSL_REQUIRE,
        fold=append,
        override=Override.AUTH_CONFIG,
    ),
    Directive(
        "SSLUserName",
        "mod_ssl",
        "variable",
        ANYWHERE,
        "The variable that gives the user's name (REMOTE_USER).",
        parse_user_name,
        setting=SSL_USER_NAME,
        override=Override.AUTH_CONFIG,
    ),
    Directive(
        "SSLVHostSNIPolicy",
        "mod_ssl",
        "strict|secure|authonly|insecure",
        SERVER_ONLY,
        (
            "Which virtual hosts answer on a connection that was made for another one: none, or "
            "those with the same settings."
        ),
        parse_sni_policy,
        setting=SSL_VHOST_SNI_POLICY,
        default="secure",
    ),
    Directive(
        "SSLOCSPEnable",
        "mod_ssl",
        "Off",
        SERVERS,
        "Whether clients' certificates are checked by OCSP.",
        parse_ocsp,
        default="Off",
    ),
):
    declare(_directive)

for _name in (
    *("DefaultResponder", "NoVerify", "OverrideResponder", "ProxyURL", "ResponderCertificateFile", "ResponderTimeout"),
    *("ResponseMaxAge", "ResponseTimeSkew", "UseRequestNonce"),
):
    declare(
        Directive(
            f"SSLOCSP{_name}",
            "mod_ssl",
            "value",
            SERVERS,
            "How OCSP checks clients' certificates, if SSLOCSPEnable is on. It cannot be on.",
            ignored(),
            answer=Answer.NO_EFFECT,
        )
    )

for _name, _what, _note in (
    ("SSLSRPVerifierFile", "Passwords for TLS-SRP.", "TLS 1.3 has no passwords (SRP)."),
    ("SSLSRPUnknownUserSeed", "What unknown users of TLS-SRP are told.", "TLS 1.3 has no passwords (SRP)."),
    ("SSLLog", "Where mod_ssl logs.", "Apache does not support it either: use ErrorLog."),
    ("SSLLogLevel", "What mod_ssl logs.", "Apache does not support it either: use LogLevel ssl:..."),
):
    declare(Directive(_name, "mod_ssl", "value", SERVERS, _what, one_word(), answer=Answer.UNSUPPORTED, note=_note))
