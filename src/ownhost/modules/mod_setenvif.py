"""mod_setenvif: variables by properties of a request: its fields, addresses, method, path.

A server's rules run before anything else, and so see the path as it was sent. Those of sections run
when the file is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ownhost.config.captures import substitute
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
from ownhost.config.expression import Condition
from ownhost.config.expression_parser import parse_condition
from ownhost.config.model import VirtualHost
from ownhost.config.regex import Pattern
from ownhost.http.wire import unwire
from ownhost.modules.mod_headers import REQUEST_HEADERS
from ownhost.request import expressions
from ownhost.request.module import IsException, Module, register
from ownhost.request.request import Request

MOST_KNOWN = 4_096  # combinations of the properties that rules look at
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NO_REGEX = re.compile(r"(?:[^][^.$()|*+?{}\\]|\\[^0-9A-Za-z])*")

Assignments = tuple[tuple[str, str | None], ...]  # None removes a variable


@dataclass(frozen=True, slots=True)
class Rule:
    """One SetEnvIf or similar directive: an attribute and its pattern, or a condition; and the variables to set.

    Attributes that Apache knows are in lower case; fields are by their name, or by a regular
    expression for it.
    """

    assignments: Assignments
    attribute: str = ""
    names: Pattern | None = None
    regex: Pattern | None = None
    condition: Condition | None = None
    refers: bool = False  # whether $0 to $9 in values are replaced: not for a plain text, as in Apache

    def find(self, request: Request) -> Sequence[str] | None:
        """The match and its groups; None if the rule does not match."""
        if self.condition is not None:
            return expressions.groups(self.condition, request)
        assert self.regex is not None
        return self.regex.search(self.looked_at(request)) or None

    def looked_at(self, request: Request) -> str:
        """The value of the attribute; "" if there is none."""
        known = _ATTRIBUTES.get(self.attribute)
        if known is not None:
            return known(request)
        if self.names is not None:
            found = [value for name, value in request.head.fields if self.names.search(name)]
            return unwire(found[-1]) if found else ""
        value = request.head.values.get(self.attribute.lower())
        return request.env.get(self.attribute, "") if value is None else unwire(value)

    @property
    def singles_out(self) -> bool:
        """Whether it distinguishes GET requests for one path. Conditions handle that themselves."""
        return self.condition is None and self.attribute not in ("request_uri", "request_method")


_ATTRIBUTES: dict[str, Callable[[Request], str]] = {
    "remote_host": lambda request: request.endpoints.client,  # names are never looked up
    "remote_addr": lambda request: request.endpoints.client,
    "server_addr": lambda request: request.endpoints.local,
    "request_method": lambda request: request.method,
    "request_protocol": lambda request: request.head.protocol,
    "request_uri": lambda request: request.uri,
}


def _parse(*, ignore_case: bool, browser: bool) -> Callable[[Call], Rule]:
    def parse(call: Call) -> Rule:
        found = ["User-Agent", *call.args] if browser else list(call.args)
        if len(found) < 3:
            raise ArgumentError(f"expected {'' if browser else 'an attribute, '}a regular expression and variables")
        attribute, pattern, *variables = found
        if attribute.lower() in _ATTRIBUTES:
            attribute = attribute.lower()
        elif attribute.upper().startswith("OID("):
            raise ArgumentError(
                "OID(...), a part of the client's certificate, is not supported; use SetEnvIfExpr and PeerExtList"
            )
        return Rule(
            _assignments(variables),
            attribute,
            None if _PLAIN_NAME.fullmatch(attribute) else Pattern(attribute, True, call.source),
            Pattern(pattern, ignore_case, call.source),
            refers=_NO_REGEX.fullmatch(pattern) is None,
        )

    return parse


def parse_expression(call: Call) -> Rule:
    """A condition, and the variables that are set if it is true."""
    if len(call.args) < 2:
        raise ArgumentError("expected an expression and variables")
    return Rule(_assignments(call.args[1:]), condition=parse_condition(call.args[0], call.source), refers=True)


def _assignments(words: Sequence[str]) -> Assignments:
    """NAME, NAME=value and !NAME. Raises ArgumentError."""
    found: dict[str, str | None] = {}
    for word in words:
        name, _, value = word.partition("=")
        removes = value.startswith("!") or (name.startswith("!") and not value)
        name = name if value else name.removeprefix("!")
        if not name:
            raise ArgumentError(f"expected NAME, NAME=value or !NAME, not {word!r}")
        found[name] = None if removes else value if value else "1"
    return tuple(found.items())


SET_ENV_IF: Setting[tuple[Rule, ...]] = Setting("SetEnvIf", (), outer_then_inner)

_ATTRIBUTE = "attribute regex [!]variable[=value]..."
_BROWSER = "regex [!]variable[=value]..."
for _name, _syntax, _parser, _help in (
    (
        "SetEnvIf",
        _ATTRIBUTE,
        _parse(ignore_case=False, browser=False),
        "Sets variables if an attribute or field of the request matches.",
    ),
    (
        "SetEnvIfNoCase",
        _ATTRIBUTE,
        _parse(ignore_case=True, browser=False),
        "Sets variables if an attribute or field of the request matches, in any case.",
    ),
    (
        "SetEnvIfExpr",
        "expression [!]variable[=value]...",
        parse_expression,
        "Sets variables if an expression is true.",
    ),
    (
        "BrowserMatch",
        _BROWSER,
        _parse(ignore_case=False, browser=True),
        "Sets variables if User-Agent matches.",
    ),
    (
        "BrowserMatchNoCase",
        _BROWSER,
        _parse(ignore_case=True, browser=True),
        "Sets variables if User-Agent matches, in any case.",
    ),
):
    declare(
        Directive(
            name=_name,
            module="mod_setenvif",
            syntax=_syntax,
            where=ANYWHERE,
            override=Override.FILE_INFO,
            help=_help,
            parse=_parser,
            setting=SET_ENV_IF,
            fold=append,
        )
    )


def early(request: Request) -> None:
    """Obey the rules of the server. A request that one singles out is not remembered for others."""
    for rule in request.site.settings[SET_ENV_IF]:
        if _obey(rule, request) and rule.singles_out:
            request.pure = False


def prepare(request: Request) -> None:
    """Obey the rules of sections. Those of the server have run."""
    if request.is_subrequest:
        return
    of_server = request.site.settings[SET_ENV_IF]
    for rule in request.settings[SET_ENV_IF][len(of_server) :]:
        _obey(rule, request)
        request.pure = request.pure and not rule.singles_out


def exceptions(server: VirtualHost) -> IsException:
    """A test whether a rule of the server singles out a request. Most configurations do that only to old browsers."""
    rules = tuple(rule for rule in server.settings[SET_ENV_IF] if rule.singles_out)
    if _depend_on_more(server, rules):
        return lambda _: True
    known: dict[tuple[str, ...], bool] = {}
    looks = {(rule.attribute, rule.names): rule.looked_at for rule in rules}.values()

    def is_exception(request: Request) -> bool:
        seen = tuple([look(request) for look in looks])
        answer = known.get(seen)
        if answer is None:
            if len(known) >= MOST_KNOWN:
                known.clear()
            answer = known[seen] = any(rule.find(request) is not None for rule in rules)
        return answer

    return is_exception


def _depend_on_more(server: VirtualHost, rules: Sequence[Rule]) -> bool:
    """Whether rules may look at what other rules, or RequestHeader, made, not only at the request as it was sent."""
    made = {name.lower() for rule in server.settings[SET_ENV_IF] for name, _ in rule.assignments}
    made |= {change.name.lower() for change in server.settings[REQUEST_HEADERS] if change.early}
    return any(any(map(rule.names.search, made)) if rule.names else rule.attribute.lower() in made for rule in rules)


def _obey(rule: Rule, request: Request) -> bool:
    """Set a rule's variables, if its attribute matches. Returns whether it did."""
    found = rule.find(request)
    if found is None:
        return False
    for name, value in rule.assignments:
        if value is None:
            request.env.pop(name, None)
        else:
            request.env[name] = substitute(value, found) if rule.refers else value
    return True


# After mod_headers, whose early changes it sees.
register(
    Module(
        name="mod_setenvif",
        identifier="setenvif_module",
        order=96,
        uses=lambda server: server.says(SET_ENV_IF),
        early=early,
        exceptions=exceptions,
        prepare=prepare,
    )
)
