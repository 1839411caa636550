"""What programs are told of a request: the core's directives about their environment."""

from __future__ import annotations

from ownhost.config.arguments import flag, words
from ownhost.config.directive import ArgumentError, Call, Directive, Override, Setting, Where, declare

ORIGINAL, CURRENT = "original-uri", "current-uri"

CGI_PASS_AUTH = Setting("CGIPassAuth", False)
CGI_VAR = Setting("CGIVar", ORIGINAL)  # of REQUEST_URI, the only variable that may be chosen


def parse_variable(call: Call) -> str:
    """REQUEST_URI and where it comes from."""
    variable, rule = words(2, 2)(call)
    if variable.upper() != "REQUEST_URI":
        raise ArgumentError(f"expected REQUEST_URI, not {variable!r}")
    if rule.lower() not in (ORIGINAL, CURRENT):
        raise ArgumentError(f"expected {ORIGINAL} or {CURRENT}, not {rule!r}")
    return rule.lower()


declare(
    Directive(
        name="CGIPassAuth",
        module="core",
        syntax="On|Off",
        where=Where.DIRECTORY | Where.HTACCESS,
        override=Override.AUTH_CONFIG,
        default="Off",
        help="Whether programs see Authorization and Proxy-Authorization, with the passwords in them.",
        parse=flag(),
        setting=CGI_PASS_AUTH,
    )
)
declare(
    Directive(
        name="CGIVar",
        module="core",
        syntax="REQUEST_URI original-uri|current-uri",
        where=Where.DIRECTORY | Where.HTACCESS,
        override=Override.FILE_INFO,
        default="REQUEST_URI original-uri",
        help="Whether REQUEST_URI is what the client sent, or what internal redirects made of it.",
        parse=parse_variable,
        setting=CGI_VAR,
    )
)
