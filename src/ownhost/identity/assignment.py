"""The directives that say who serves a request: mpm-itk's."""

from __future__ import annotations

from ownhost.config.arguments import flag, integer, number, rest, single, words
from ownhost.config.directive import (
    SECTIONS,
    SERVER_ONLY,
    ArgumentError,
    Call,
    Directive,
    Setting,
    Where,
    declare,
)
from ownhost.config.expression import StringExpression
from ownhost.config.expression_parser import parse_string
from ownhost.identity.identity import Assignment

HIGHEST_ID = 2**32 - 2  # uid_t's last; 2**32 - 1 means "leave as it is" to setresuid(2)
ALL_BUT_ROOT = (1, HIGHEST_ID)

LOWEST_NICE, HIGHEST_NICE = -20, 19  # nice(2)

ASSIGN_USER_ID: Setting[Assignment | None] = Setting("AssignUserID", None)
ASSIGN_USER_ID_EXPR: Setting[StringExpression | None] = Setting("AssignUserIDExpr", None)
ASSIGN_GROUP_ID_EXPR: Setting[StringExpression | None] = Setting("AssignGroupIDExpr", None)
NICE_VALUE = Setting("NiceValue", 0)
MAX_CLIENTS_VHOST = Setting("MaxClientsVHost", 0)  # 0: as many as come
ENABLE_CAPABILITIES = Setting("EnableCapabilities", True)
LIMIT_UID_RANGE: Setting[tuple[int, int]] = Setting("LimitUIDRange", ALL_BUT_ROOT)
LIMIT_GID_RANGE: Setting[tuple[int, int]] = Setting("LimitGIDRange", ALL_BUT_ROOT)


def parse_assignment(call: Call) -> Assignment:
    """A user and a group, each a name or "#number"."""
    user, group = words(2, 2)(call)
    return Assignment(_name(user, "user"), _name(group, "group"))


def preferred(before: Assignment | None, after: Assignment) -> Assignment:
    """In one scope, mpm-itk's own directive counts, wherever it stands; else the last one."""
    return before if before is not None and after.translated and not before.translated else after


def _name(word: str, what: str) -> str:
    if not word:
        raise ArgumentError(f"expected a {what} name, or # and a number, not an empty word")
    if word.startswith("#") and not (word[1:].isascii() and word[1:].isdigit() and int(word[1:]) <= HIGHEST_ID):
        raise ArgumentError(f"expected # and a number up to {HIGHEST_ID} as the {what}, not {word!r}")
    return word


def parse_expression(call: Call) -> StringExpression:
    """An expression whose value is a name: the rest of the line, with or without quotes around all of it."""
    return parse_string(call.args[0] if len(call.args) == 1 else rest()(call))


def parse_nice(call: Call) -> int:
    """A scheduling priority. A number outside of the range becomes the nearest one."""
    value = number(single(call))
    clamped = max(LOWEST_NICE, min(value, HIGHEST_NICE))
    if clamped != value:
        call.notes.append(f"NiceValue {value} is outside {LOWEST_NICE} to {HIGHEST_NICE}: {clamped} is used")
    return clamped


def parse_range(call: Call) -> tuple[int, int]:
    """The lowest and the highest id, inclusive."""
    found = words(2, 2)(call)
    for word in found:
        if not (word.isascii() and word.isdigit() and int(word) <= HIGHEST_ID):
            raise ArgumentError(f"expected two numbers from 0 to {HIGHEST_ID}, not {word!r}")
    low, high = map(int, found)
    if low > high:
        raise ArgumentError(f"expected the lower number first: {low} is more than {high}")
    return low, high


declare(
    Directive(
        name="AssignUserID",
        module="mpm_itk",
        syntax="user group",
        where=SECTIONS,
        default="the values of User and Group",
        help="The user and group that serve requests; #number for an id without an account.",
        parse=parse_assignment,
        setting=ASSIGN_USER_ID,
        fold=preferred,
    )
)
declare(
    Directive(
        name="LimitUIDRange",
        module="mpm_itk",
        syntax="min max",
        where=SERVER_ONLY,
        default=f"{ALL_BUT_ROOT[0]} {ALL_BUT_ROOT[1]}",
        help="The uids that may serve requests, inclusive. 0 is refused even inside the range.",
        parse=parse_range,
        setting=LIMIT_UID_RANGE,
        differs="The supervisor checks it. mpm-itk sets a seccomp filter, which owners' programs inherit.",
    )
)
declare(
    Directive(
        name="LimitGIDRange",
        module="mpm_itk",
        syntax="min max",
        where=SERVER_ONLY,
        default=f"{ALL_BUT_ROOT[0]} {ALL_BUT_ROOT[1]}",
        help="The gids that may serve requests, supplementary ones included. 0 is never possible.",
        parse=parse_range,
        setting=LIMIT_GID_RANGE,
        differs="It applies to supplementary groups, too. Gid 0 is never possible.",
    )
)


for _directive, _what, _setting in (
    ("AssignUserIDExpr", "user", ASSIGN_USER_ID_EXPR),
    ("AssignGroupIDExpr", "group", ASSIGN_GROUP_ID_EXPR),
):
    declare(
        Directive(
            name=_directive,
            module="mpm_itk",
            syntax="expression",
            where=SECTIONS,
            help=f"The {_what} that serves a request, by name, computed for each request.",
            parse=parse_expression,
            setting=_setting,
        )
    )
declare(
    Directive(
        name="NiceValue",
        module="mpm_itk",
        syntax="-20..19",
        where=SECTIONS,
        default="0",
        help=("The scheduling priority of the processes that serve. Higher numbers leave more time to others."),
        parse=parse_nice,
        setting=NICE_VALUE,
    )
)
declare(
    Directive(
        name="MaxClientsVHost",
        module="mpm_itk",
        syntax="number",
        where=Where.VIRTUAL_HOST,
        default="0 (as many as come)",
        help="How many clients may be connected to a virtual host at the same time; one more is answered 503.",
        parse=integer(0, 1_000_000),
        setting=MAX_CLIENTS_VHOST,
        differs="Always counts; mpm-itk needs ExtendedStatus.",
    )
)
declare(
    Directive(
        name="EnableCapabilities",
        module="mpm_itk",
        syntax="On|Off",
        where=SERVER_ONLY,
        default="On",
        help="Whether the supervisor gives up all capabilities that it does not use.",
        parse=flag(),
        setting=ENABLE_CAPABILITIES,
        differs=(
            "The supervisor keeps root's uid, with two capabilities. In mpm-itk, the privileged process runs as User."
        ),
    )
)
