"""mod_headers: fields of responses and requests, changed by the configuration.

Apache keeps two tables of response fields, and so do we. `Header always` works on `Request.fields`, which go out with
whatever the response comes to be; plain `Header` on the fields of a handler's response. A page of the server's own (an
error, a redirect) has neither of them to be changed: there `Header always` begins with nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ownhost.config.arguments import either
from ownhost.config.captures import substitute
from ownhost.config.directive import (
    ANYWHERE,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Source,
    append,
    declare,
    outer_then_inner,
)
from ownhost.config.expression import Condition, StringExpression
from ownhost.config.expression_parser import parse_condition, parse_string
from ownhost.config.regex import Pattern
from ownhost.http.message import Head, Response
from ownhost.http.wire import unwire, wire
from ownhost.request import expressions, variables
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
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# format = *( "%%" / "%{" name "}" code / "%" code / escape / any other character ), and a % at the end is one
_FORMAT = re.compile(r"%(?:\{([^}]*)\})?([tDlibes%])|%\Z|\\([\\rnt])|[^%]", re.DOTALL)
_ESCAPES = {"\\": "\\", "r": "\r", "n": "\n", "t": "\t"}
_UNFIT = re.compile(r"[\r\n\0]+")
# What is not the configuration's to say: framing and the connection are the server's, and its own two fields.
_SERVERS_OWN = frozenset(("content-length", "transfer-encoding", "keep-alive", "date", "server"))


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
    regex: Pattern | None = None  # of edit and echo
    always: bool = False
    early: bool = False
    condition: str | Condition = ""  # NAME or !NAME of a variable, or an expression

    def applies(self, request: Request, response: Response | None) -> bool:
        """Whether its condition holds."""
        if not self.condition:
            return True
        if isinstance(self.condition, Condition):
            return expressions.holds(self.condition, request, _seen(request, response))
        request.pure = False
        return (self.condition.lstrip("!") in request.env) != self.condition.startswith("!")

    def text(self, request: Request, response: Response | None) -> str:
        """The value, without what could end the field."""
        if self.value is None:
            return ""
        if isinstance(self.value, StringExpression):
            text = expressions.value(self.value, request, _seen(request, response))
        else:
            text = self.value.text(request)
        return wire(_UNFIT.sub(" ", text))


def _seen(request: Request, response: Response | None) -> Response | None:
    """A response as expressions see it: with both tables."""
    return response and Response(response.status, [*response.headers, *request.fields])


def _code(request: Request, code: str, argument: str) -> str:
    """What a format code comes to."""
    if code == "":
        return argument
    request.pure = False
    match code:
        case "e":
            return request.env.get(argument, "(null)")
        case "s":
            return variables.of_mod_ssl(request, argument) or "(null)"
        case "t":
            return f"t={int(request.time * 1_000_000)}"
        case "D":
            return f"D={max(0, int((time.time() - request.time) * 1_000_000))}"
        case "l":
            return "l={:.2f} {:.2f} {:.2f}".format(*os.getloadavg()).replace(" ", "/")
        case "i":
            return "i=100"  # how idle and how busy Apache's processes are; workers come and go as needed
        case _:
            return "b=0"


def parse_value(text: str) -> Value | StringExpression:
    """A value: expr= and an expression, or a text with format codes. Raises ArgumentError."""
    if text.startswith("expr="):
        return parse_string(text[5:])
    parts: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _FORMAT.match(text, position)
        if match is None or (match[2] in ("e", "s") and match[1] is None):
            wanted = "%t, %D, %l, %i, %b, %{NAME}e, %{NAME}s, or %% for a percent sign"
            raise ArgumentError(f"expected {wanted}, not {text[position:]!r}")
        if match[2] in (None, "%"):
            parts.append(("", _ESCAPES[match[3]] if match[3] else match[0][0]))
        else:
            parts.append((match[2], match[1] or ""))
        position = match.end()
    return Value(_joined(parts))


def _joined(parts: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Format codes, and the literal text between them in one piece."""
    joined: list[tuple[str, str]] = []
    for code, text in parts:
        if code == "" and joined and joined[-1][0] == "":
            joined[-1] = ("", joined[-1][1] + text)
        else:
            joined.append((code, text))
    return tuple(joined)


def parse_header(call: Call) -> Change:
    """Header's arguments. Raises ArgumentError."""
    found = list(call.args)
    always = bool(found) and found[0].lower() == "always"
    if found and found[0].lower() in ("always", "onsuccess"):
        del found[0]
    return replace(_parse_change(found, RESPONSE_ACTIONS, call.source), always=always)


def parse_request_header(call: Call) -> Change:
    """RequestHeader's arguments. Raises ArgumentError."""
    return _parse_change(list(call.args), ACTIONS, call.source)


def _parse_change(found: list[str], actions: dict[str, int], source: Source) -> Change:
    action = found[0].lower() if found else ""
    if action not in actions:
        raise ArgumentError(f"expected {either(list(actions))}, {f'not {found[0]!r}' if found else 'got none'}")
    wanted = actions[action]
    name, values, rest = found[1] if len(found) > 1 else "", found[2 : 2 + wanted], found[2 + wanted :]
    if action != "echo":
        name = name.partition(":")[0]
    if not name or len(values) < wanted or len(rest) > 1:
        what = ("no value", "a value", "a regex and a replacement")[wanted]
        raise ArgumentError(f"{action}: expected the name of a field and {what}")
    if action == "echo":
        return _conditional(Change(action, name, regex=Pattern(name, source=source)), rest, source)
    if not _FIELD_NAME.fullmatch(name):
        raise ArgumentError(f"expected the name of a field, not {name!r}")
    if action in ("edit", "edit*"):
        change = Change(action, name, parse_value(values[1]), Pattern(values[0], source=source))
    else:
        change = Change(action, name, parse_value(values[0]) if values else None)
    return _conditional(change, rest, source)


def _conditional(change: Change, rest: list[str], source: Source) -> Change:
    """What follows the value: early, env= or expr=."""
    if not rest:
        return change
    kind, equals, condition = rest[0].partition("=")
    if rest[0].lower() == "early":
        return replace(change, early=True)
    if kind.lower() == "env" and condition not in ("", "!"):
        return replace(change, condition=condition)
    if kind.lower() == "expr" and equals:
        return replace(change, condition=parse_condition(condition, source))
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


# Changing a table of fields. Where a name is there several times, Apache's tables know the first: it is looked at, and
# appended to.


def change_fields(fields: Fields, change: Change, request: Request, response: Response | None) -> None:
    """Apply one change to a table."""
    key = change.name.lower()
    match change.action:
        case "unset":
            fields[:] = [field for field in fields if field[0].lower() != key]
        case "edit" | "edit*":
            for place in _places(fields, key):
                name, value = fields[place]
                fields[place] = (name, edited(value, change, request, response))
        case "echo":
            request.pure = False
            assert change.regex is not None
            fields += [field for field in _compressed(request.head) if change.regex.search(field[0])]
        case "note":
            request.pure = False
            for place in _places(fields, key)[:1]:
                request.notes[change.text(request, response)] = fields[place][1]
        case _:
            _write(fields, change, change.text(request, response))


def _places(fields: Fields, key: str) -> list[int]:
    """Where a table has fields of a name, in lower case."""
    return [place for place, (name, _) in enumerate(fields) if name.lower() == key]


def _write(fields: Fields, change: Change, value: str) -> None:
    """set, setifempty, add, append and merge."""
    places = _places(fields, change.name.lower())
    if not places or change.action == "add":
        fields.append((change.name, value))
    elif change.action == "set":
        _put(fields, change.name, value)
    elif change.action != "setifempty":
        name, first = fields[places[0]]
        if change.action == "append" or not _has_member(first, value):
            fields[places[0]] = (name, f"{first}, {value}")


def _put(fields: Fields, name: str, value: str) -> None:
    """Set a field in the place of all that have its name."""
    places = _places(fields, name.lower())
    if not places:
        fields.append((name, value))
        return
    fields[places[0]] = (fields[places[0]][0], value)
    for place in reversed(places[1:]):
        del fields[place]


_MEMBER = re.compile(r'\s*((?:[^,"]|"[^"]*(?:"|\Z))*)')


def _has_member(value: str, member: str) -> bool:
    """Whether a comma-separated list has a member already. Commas in quotes separate nothing."""
    position = 0
    while position < len(value):
        found = _MEMBER.match(value, position)
        assert found is not None  # it matches anything
        if found[1] == member:
            return True
        position = found.end() + 1
    return False


def edited(value: str, change: Change, request: Request, response: Response | None) -> str:
    """What edit and edit* make of a value. As in Apache, ^ matches anew behind each replacement of edit*."""
    regex, template = change.regex, unwire(change.text(request, response))
    assert regex is not None
    done, rest = "", unwire(value)
    while (parts := regex.split(rest)) is not None:
        before, found, behind = parts
        done += before + substitute(template, found)
        rest, ended = behind, behind == rest
        if change.action == "edit" or ended:
            break
    return wire(done + rest)


def _compressed(head: Head) -> Fields:
    """A request's fields, those of one name as one: as Apache's modules see them."""
    names: dict[str, str] = {}
    for name, _ in head.fields:
        names.setdefault(name.lower(), name)
    return [(names.get(key, key), value) for key, value in head.values.items()]


# Responses


def finish(request: Request, response: Response) -> None:
    """Change the fields of a response."""
    changes = (request.settings or request.site.settings)[HEADERS]
    if not changes:
        return
    late = [change for change in changes if not change.early]
    always = [change for change in late if change.always]
    request.content_type = response.header("content-type") or request.content_type
    response.headers = [field for field in response.headers if field[0].lower() != "content-type"]
    if response.own_page:
        kept, request.fields = request.fields, []
        _change_response(request.fields, always, request, response)
        response.headers += request.fields
        request.fields = kept
    else:
        _put_below(response.headers, _early_fields(request, response))
        if request.method != "TRACE" and request.head.path != "*":
            _change_response(request.fields, always, request, response)
            _change_response(response.headers, [change for change in late if not change.always], request, response)
    _settle(request, response)


def _change_response(fields: Fields, changes: Iterable[Change], request: Request, response: Response) -> None:
    for change in changes:
        if change.applies(request, response):
            if change.name.lower() == "content-type":
                _change_type(fields, change, request, response)
            change_fields(fields, change, request, response)


def _change_type(fields: Fields, change: Change, request: Request, response: Response) -> None:
    """Content-Type is no field like others: it is known apart, and what is known wins."""
    absent = all(name.lower() != "content-type" for name, _ in fields)
    match change.action:
        case "setifempty" if absent or not request.content_type:
            request.content_type = change.text(request, response)
        case "set":
            request.content_type = change.text(request, response)
        case "unset":
            request.content_type = ""
        case "edit" | "edit*" if request.content_type:
            request.content_type = edited(request.content_type, change, request, response)


def _early_fields(request: Request, response: Response) -> Fields:
    """What plain `Header ... early` put there before any handler."""
    fields: Fields = []
    for change in request.site.settings[HEADERS]:
        if change.early and not change.always:
            change_fields(fields, change, request, response)
    return fields


def _put_below(fields: Fields, earlier: Fields) -> None:
    """Add fields that later ones of the same name replace."""
    names = {name.lower() for name, _ in fields}
    fields[:0] = [field for field in earlier if field[0].lower() not in names]


def _settle(request: Request, response: Response) -> None:
    """Put right what changes cannot touch: the type that is known, the file's encodings, the server's own fields."""
    headers, fields = response.headers, request.fields
    content_type = request.content_type
    if response.status == 304:
        content_type = ""  # nothing is sent that has one
    elif not response.own_page:
        _put_of_file(request, headers)
    for table in (headers, fields):
        table[:] = [
            field
            for field in table
            if field[0].lower() not in _SERVERS_OWN and not (content_type and field[0].lower() == "content-type")
        ]
    if content_type:
        headers.append(("Content-Type", content_type))
    _read_connection(response)


def _put_of_file(request: Request, headers: Fields) -> None:
    """The file's own encodings are what is sent, whatever was set; its languages stay among those that were."""
    if request.encodings:
        _put(headers, "Content-Encoding", ", ".join(request.encodings))
    if request.languages:
        others = [value for name, value in headers if name.lower() == "content-language"]
        missing = [language for language in request.languages if not any(_has_member(one, language) for one in others)]
        _put(headers, "Content-Language", ", ".join((*missing, *others)))


def _read_connection(response: Response) -> None:
    """Obey `Connection: close`. What the connection does apart from that is the server's to say."""
    found = response.header("connection")
    if found is None:
        return
    options = [option for option in re.split(r"[ \t]*,[ \t]*", found) if option]
    response.close = response.close or any(option.lower() == "close" for option in options)
    kept = [option for option in options if option.lower() not in ("close", "keep-alive")]
    response.headers = [field for field in response.headers if field[0].lower() != "connection"]
    if kept:
        response.headers.append(("Connection", ", ".join(kept)))


# Requests


def early(request: Request) -> None:
    """Change what is marked early, before anything asks."""
    settings = request.site.settings
    _change_request(request, [change for change in settings[REQUEST_HEADERS] if change.early])
    for change in settings[HEADERS]:
        if change.early and change.always:
            change_fields(request.fields, change, request, None)


def fixup(request: Request) -> Response | None:
    """Change the fields of a request, behind all that asked them."""
    _change_request(request, [change for change in request.settings[REQUEST_HEADERS] if not change.early])
    return None


def _change_request(request: Request, changes: list[Change]) -> None:
    """Apply changes one by one: each sees what those before it did."""
    for change in changes:
        if not change.applies(request, None):
            continue
        fields = _compressed(request.head)
        change_fields(fields, change, request, None)
        values: dict[str, str] = {}
        for name, value in fields:
            values.setdefault(name.lower(), value)
        # Heads share what was read of them with other requests: a changed one is a new one.
        request.head = replace(request.head, fields=fields, values=values)


# Behind every other fixup, as in Apache: types and variables are known, and an index has been found.
register(
    Module(
        name="mod_headers",
        identifier="headers_module",
        order=95,
        uses=lambda server: server.says(HEADERS, REQUEST_HEADERS),
        early=early,
        fixup=fixup,
        finish=finish,
    )
)
