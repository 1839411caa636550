"""mod_headers: fields of responses and requests, changed by the configuration.

Apache keeps two tables of response fields, and so do we: `Header always` works on one that also goes out with the
server's own pages (errors, redirects), plain `Header` on the fields of a handler's response alone.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ownhost.config.arguments import either
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
from ownhost.config.regex import compile_pcre
from ownhost.http.message import Response
from ownhost.http.wire import wire
from ownhost.request import expressions
from ownhost.request.module import Module, register
from ownhost.request.request import Request

Fields = list[tuple[str, str]]

ACTIONS = {  # how many arguments follow the name
    "set": 1,
    "setifempty": 1,
    "append": 1,
    "merge": 1,
    "add": 1,
    "unset": 0,
    "edit": 2,
    "edit*": 2,
}
RESPONSE_ACTIONS = {**ACTIONS, "echo": 0, "note": 1}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORMAT = re.compile(r"%(?:\{([^}]*)\})?([a-zA-Z%])")
_CODES = frozenset("tDlib%")
_REFERENCE = re.compile(r"\\(.)|\$([0-9])")


@dataclass(frozen=True, slots=True)
class Value:
    """What a field is to be: literal texts and format codes, each a pair of (code, argument); "" is a literal."""

    parts: tuple[tuple[str, str], ...]

    def text(self, request: Request) -> str:
        """The value for a request."""
        return "".join([_code(request, code, argument) for code, argument in self.parts])


@dataclass(frozen=True, slots=True)
class Change:
    """One Header or RequestHeader."""

    action: str
    name: str
    value: Value | StringExpression | None = None
    regex: re.Pattern[str] | None = None  # of edit and echo
    always: bool = False
    early: bool = False
    condition: str | Condition = ""  # NAME or !NAME of a variable, or an expression

    def applies(self, request: Request, response: Response | None) -> bool:
        """Whether its condition holds."""
        if isinstance(self.condition, Condition):
            return expressions.holds(self.condition, request, response)
        if not self.condition:
            return True
        request.pure = False
        return (self.condition.lstrip("!") in request.env) != self.condition.startswith("!")

    def text(self, request: Request, response: Response | None) -> str:
        """The value, without what could end the field."""
        if self.value is None:
            return ""
        if isinstance(self.value, StringExpression):
            text = expressions.value(self.value, request, response)
        else:
            text = self.value.text(request)
        return wire(re.sub(r"[\r\n\0]+", " ", text))


def _code(request: Request, code: str, argument: str) -> str:
    """What a format code comes to."""
    if code == "":
        return argument
    request.pure = False
    match code:
        case "e":
            return request.env.get(argument, "(null)")
        case "s":
            return "(null)"  # of mod_ssl; this is no connection with TLS
        case "t":
            return f"t={int(request.time * 1_000_000)}"
        case "D":
            return f"D={max(0, int((time.time() - request.time) * 1_000_000))}"
        case "l":
            return "l={:.2f} {:.2f} {:.2f}".format(*os.getloadavg()).replace(" ", "/")
        case "i":
            return "i=0"  # how idle Apache's own processes are: there is no such number here
        case _:
            return "b=0"


def parse_value(text: str) -> Value | StringExpression:
    """A value: expr= and an expression, or a text with format codes. Raises ArgumentError."""
    if text.startswith("expr="):
        return parse_string(text[5:])
    parts: list[tuple[str, str]] = []
    position = 0
    for match in _FORMAT.finditer(text):
        argument, code = match[1], match[2]
        if "%" in text[position : match.start()] or (argument is None) != (code in _CODES):
            break
        if argument is not None and code not in "es":
            break
        parts.append(("", text[position : match.start()]))
        parts.append(("", "%") if code == "%" else (code, argument or ""))
        position = match.end()
    rest = text[position:]
    if "%" in rest:
        wanted = "%t, %D, %l, %{NAME}e, %{NAME}s, or %% for a percent sign"
        raise ArgumentError(f"expected {wanted}, not {rest[rest.index('%') :]!r}")
    return Value(tuple(part for part in (*parts, ("", rest)) if part != ("", "")))


def parse_header(call: Call) -> Change:
    """Header's arguments. Raises ArgumentError."""
    found = list(call.args)
    always = bool(found) and found[0].lower() == "always"
    if found and found[0].lower() in ("always", "onsuccess"):
        del found[0]
    return replace(_parse_change(found, RESPONSE_ACTIONS), always=always)


def parse_request_header(call: Call) -> Change:
    """RequestHeader's arguments. Raises ArgumentError."""
    return _parse_change(list(call.args), ACTIONS)


def _parse_change(found: list[str], actions: dict[str, int]) -> Change:
    action = found[0].lower() if found else ""
    if action not in actions:
        raise ArgumentError(f"expected {either(list(actions))}, {f'not {found[0]!r}' if found else 'got none'}")
    wanted = actions[action]
    name, values, rest = found[1].rstrip(":") if len(found) > 1 else "", found[2 : 2 + wanted], found[2 + wanted :]
    if action == "unset" and len(found) == 4 and not found[3].startswith(("env=", "expr=")):
        raise ArgumentError("expected no value after unset")
    if not name or len(values) < wanted or len(rest) > 1:
        what = ("no value", "a value", "a regex and a replacement")[wanted]
        raise ArgumentError(f"{action}: expected the name of a field and {what}")
    if action == "echo":
        return _conditional(Change(action, name, regex=compile_pcre(name)), rest)
    if not _TOKEN.fullmatch(name):
        raise ArgumentError(f"expected the name of a field, not {name!r}")
    if action in ("edit", "edit*"):
        change = Change(action, name, parse_value(values[1]), compile_pcre(values[0]))
    elif action == "note":
        change = Change(action, name, Value((("", values[0]),)))
    else:
        change = Change(action, name, parse_value(values[0]) if values else None)
    return _conditional(change, rest)


def _conditional(change: Change, rest: list[str]) -> Change:
    """What follows the value: early, env= or expr=."""
    if not rest:
        return change
    kind, equals, condition = rest[0].partition("=")
    if rest[0].lower() == "early":
        return replace(change, early=True)
    if kind.lower() == "env" and condition not in ("", "!"):
        return replace(change, condition=condition)
    if kind.lower() == "expr" and equals:
        return replace(change, condition=parse_condition(condition))
    raise ArgumentError(f"expected early, env=NAME, env=!NAME or expr=expression, not {rest[0]!r}")


HEADERS: Setting[tuple[Change, ...]] = Setting("Header", (), outer_then_inner)
REQUEST_HEADERS: Setting[tuple[Change, ...]] = Setting("RequestHeader", (), outer_then_inner)

for _name, _syntax, _help, _parse, _setting in (
    (
        "Header",
        "[always|onsuccess] action field [value [replacement]] [early|env=[!]variable|expr=expression]",
        "Changes fields of responses: set, setifempty, append, merge, add, unset, edit, edit*, echo, note.",
        parse_header,
        HEADERS,
    ),
    (
        "RequestHeader",
        "action field [value [replacement]] [early|env=[!]variable|expr=expression]",
        "Changes fields of requests, for programs and for what looks at them later.",
        parse_request_header,
        REQUEST_HEADERS,
    ),
):
    declare(
        Directive(
            name=_name,
            module="mod_headers",
            syntax=_syntax,
            where=ANYWHERE,
            override=Override.FILE_INFO,
            help=_help,
            parse=_parse,
            setting=_setting,
            fold=append,
        )
    )


# Changing a list of fields


def change_fields(fields: Fields, change: Change, request: Request, response: Response | None) -> None:
    """Apply one change to a list of fields."""
    name, key = change.name, change.name.lower()
    present = [value for field, value in fields if field.lower() == key]
    match change.action:
        case "set":
            _put(fields, name, change.text(request, response))
        case "setifempty":
            if not any(present):
                _put(fields, name, change.text(request, response))
        case "add":
            fields.append((name, change.text(request, response)))
        case "append" | "merge":
            value = change.text(request, response)
            if change.action == "merge" and any(_has_member(one, value) for one in present):
                return
            _put(fields, name, ", ".join((*present, value)))
        case "unset":
            fields[:] = [(field, value) for field, value in fields if field.lower() != key]
        case "edit" | "edit*":
            edit = _editor(change, request, response)
            fields[:] = [(field, edit(value) if field.lower() == key else value) for field, value in fields]
        case "echo":
            request.pure = False
            assert change.regex is not None
            fields += [(field, value) for field, value in request.head.fields if change.regex.search(field)]
        case "note":
            if present:
                request.notes[change.text(request, response)] = ", ".join(present)


def _put(fields: Fields, name: str, value: str) -> None:
    """Set a field in the place of all that have its name."""
    key = name.lower()
    place = next((index for index, (field, _) in enumerate(fields) if field.lower() == key), len(fields))
    fields[:] = [(field, other) for field, other in fields if field.lower() != key]
    fields.insert(place, (name, value))


def _has_member(value: str, member: str) -> bool:
    """Whether a comma-separated list has a member already."""
    return member.strip() in (one.strip() for one in value.split(","))


def _editor(change: Change, request: Request, response: Response | None) -> Callable[[str], str]:
    """What edit and edit* do to one value."""
    regex, template = change.regex, change.text(request, response)
    assert regex is not None

    def put(match: re.Match[str]) -> str:
        def refer(reference: re.Match[str]) -> str:
            if reference[1] is not None:
                return reference[1]
            group = int(reference[2])
            return (match[group] or "") if group <= regex.groups else ""

        return _REFERENCE.sub(refer, template)

    count = 0 if change.action == "edit*" else 1
    return lambda value: regex.sub(put, value, count)


# Hooks


def finish(request: Request, response: Response) -> None:
    """Change the fields of a response."""
    changes = (request.settings or request.site.settings)[HEADERS]
    if not changes:
        return
    always: Fields = []
    for table, fields in ((True, always), (False, response.headers)):
        if not table and response.own_page:
            continue
        for change in changes:
            if change.always == table and not change.early and change.applies(request, response):
                change_fields(fields, change, request, response)
    if any(field.lower() == "content-type" for field, _ in always):
        response.headers[:] = [field for field in response.headers if field[0].lower() != "content-type"]
    response.headers[:0] = always


def fixup(request: Request) -> Response | None:
    """Change the fields of a request, behind all that asked them."""
    _change_request(request, request.settings[REQUEST_HEADERS], early=False)
    return None


def early(request: Request) -> None:
    """Change what is marked early, before anything asks."""
    _change_request(request, request.site.settings[REQUEST_HEADERS], early=True)


def _change_request(request: Request, changes: tuple[Change, ...], *, early: bool) -> None:
    chosen = [change for change in changes if change.early == early and change.applies(request, None)]
    if not chosen:
        return
    fields = list(request.head.fields)
    for change in chosen:
        change_fields(fields, change, request, None)
    values: dict[str, str] = {}
    for name, value in fields:
        key = name.lower()
        values[key] = f"{values[key]}, {value}" if key in values else value
    # Heads share what was read of them with other requests: a changed one is a new one.
    request.head = replace(request.head, fields=fields, values=values)


# Behind every other fixup, as in Apache: types and variables are known.
register(
    Module(
        name="mod_headers",
        identifier="headers_module",
        order=80,
        routing=(REQUEST_HEADERS,),
        early=early,
        fixup=fixup,
        finish=finish,
    )
)
