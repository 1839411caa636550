"""mod_proxy_fcgi: what FastCGI servers behind this one are told differently."""

from __future__ import annotations

from dataclasses import dataclass

from ownhost.config.arguments import keyword, words
from ownhost.config.directive import (
    ANYWHERE,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    append,
    declare,
    outer_then_inner,
)
from ownhost.config.expression import Condition, StringExpression
from ownhost.config.expression_parser import parse_condition, parse_string
from ownhost.request import expressions
from ownhost.request.request import Request


@dataclass(frozen=True, slots=True)
class Change:
    """One ProxyFCGISetEnvIf: if the condition is true, a variable is set, or removed (None)."""

    condition: Condition
    name: str
    value: StringExpression | None


def parse_change(call: Call) -> Change:
    """A condition, a name with or without a leading !, and the value's expression."""
    condition, name, *value = words(2, 3)(call)
    if name.startswith("!"):
        if value or len(name) == 1:
            raise ArgumentError("expected a name after !, and no value")
        return Change(parse_condition(condition, call.source), name[1:], None)
    return Change(parse_condition(condition, call.source), name, parse_string(value[0] if value else ""))


SET_ENV_IF: Setting[tuple[Change, ...]] = Setting("ProxyFCGISetEnvIf", (), outer_then_inner)
BACKEND_TYPE = Setting("ProxyFCGIBackendType", "FPM")  # or "GENERIC"

declare(
    Directive(
        name="ProxyFCGISetEnvIf",
        module="mod_proxy_fcgi",
        syntax="condition [!]variable [expression]",
        where=ANYWHERE,
        override=Override.FILE_INFO,
        help="Sets or removes a variable for a FastCGI server, if a condition is true.",
        parse=parse_change,
        setting=SET_ENV_IF,
        fold=append,
    )
)
declare(
    Directive(
        name="ProxyFCGIBackendType",
        module="mod_proxy_fcgi",
        syntax="FPM|GENERIC",
        where=ANYWHERE,
        override=Override.FILE_INFO,
        default="FPM",
        help="The kind of FastCGI server: php-fpm finds PATH_INFO itself, others get plain file names.",
        parse=keyword("FPM", "GENERIC"),
        setting=BACKEND_TYPE,
    )
)


def changed(request: Request, variables: dict[str, str]) -> dict[str, str]:
    """The variables, changed by ProxyFCGISetEnvIf. Conditions and values see them as the request's own.

    $1 in a value is a group of the condition's last regular expression.
    """
    found = dict(variables)
    before, request.env = request.env, found
    try:
        for change in request.settings[SET_ENV_IF]:
            groups = expressions.groups(change.condition, request)
            if groups is None:
                continue
            if change.value is None:
                found.pop(change.name, None)
            else:
                found[change.name] = expressions.value(change.value, request, found=groups)
    finally:
        request.env = before
    return found
