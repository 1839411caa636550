"""What programs are told about a request: the core's directives about their environment."""

from __future__ import annotations

from ownhost.config.arguments import flag, number, words
from ownhost.config.directive import (
    ANYWHERE,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Settings,
    Where,
    declare,
)
from ownhost.request.programs import Limits

ORIGINAL, CURRENT = "original-uri", "current-uri"

CGI_PASS_AUTH = Setting("CGIPassAuth", False)
CGI_VAR = Setting("CGIVar", ORIGINAL)  # of REQUEST_URI, the only variable that may be chosen


def parse_variable(call: Call) -> str:
    """The variable REQUEST_URI and its source."""
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
        help="Whether programs see Authorization and Proxy-Authorization, including the passwords.",
        parse=flag(),
        setting=CGI_PASS_AUTH,
    )
)
declare(
    Directive(
        name="CGIVar",
        module="core",
        syntax="REQUEST_URI original-uri|current-uri",
        where=ANYWHERE,
        override=Override.FILE_INFO,
        default="REQUEST_URI original-uri",
        help="Whether REQUEST_URI is what the client sent, or the result of internal redirects.",
        parse=parse_variable,
        setting=CGI_VAR,
    )
)


Limit = tuple[int, int] | None  # soft and hard, in the form of setrlimit(2); None: the server's own
NO_LIMIT = -1  # RLIM_INFINITY

RLIMIT_CPU: Setting[Limit] = Setting("RLimitCPU", None)
RLIMIT_MEM: Setting[Limit] = Setting("RLimitMEM", None)
RLIMIT_NPROC: Setting[Limit] = Setting("RLimitNPROC", None)


def parse_limit(call: Call) -> Limit:
    """A soft limit, and a hard one, which is the same by default; "max" is none."""
    found = [NO_LIMIT if word.lower() == "max" else number(word, 0) for word in words(1, 2)(call)]
    soft, hard = found[0], found[-1]
    if hard != NO_LIMIT and (soft == NO_LIMIT or soft > hard):
        raise ArgumentError(f"expected a soft limit that is not above the hard one, not {call.raw!r}")
    return soft, hard


def limits_of(settings: Settings) -> Limits:
    """What a program may use."""
    return Limits(settings[RLIMIT_CPU], settings[RLIMIT_MEM], settings[RLIMIT_NPROC])


for _name, _setting, _unit in (
    ("RLimitCPU", RLIMIT_CPU, "seconds of processor time a program may use"),
    ("RLimitMEM", RLIMIT_MEM, "bytes of memory a program may use"),
    ("RLimitNPROC", RLIMIT_NPROC, "processes the owner may have when a program starts another"),
):
    declare(
        Directive(
            name=_name,
            module="core",
            syntax="number|max [number|max]",
            where=ANYWHERE,
            override=Override.ALL,
            help=f"How many {_unit}: a soft and a hard limit.",
            parse=parse_limit,
            setting=_setting,
        )
    )
