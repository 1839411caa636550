"""One Header or RequestHeader: a change of a table of fields.

If a name is in a table several times, Apache's tables use the first: it is looked at, and appended
to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ownhost.config.captures import substitute
from ownhost.config.expression import Condition, StringExpression
from ownhost.config.regex import Pattern
from ownhost.config.words import Word, Words
from ownhost.http.message import Head, Response
from ownhost.http.wire import unwire, wire
from ownhost.modules.headers.values import Value
from ownhost.request import expressions
from ownhost.request.request import Request

Fields = list[tuple[str, str]]

_UNFIT = re.compile(r"[\r\n\0]+")


@dataclass(frozen=True, slots=True)
class Change:
    """One Header or RequestHeader."""

    action: str  # its name in `ACTIONS`
    name: str
    value: Value | StringExpression | None = None
    regex: Pattern | None = None  # of edit and echo
    always: bool = False
    early: bool = False
    condition: str | Condition = ""  # NAME or !NAME of a variable, or an expression

    def applies(self, request: Request, response: Response | None) -> bool:
        """Whether its condition is true."""
        if not self.condition:
            return True
        if isinstance(self.condition, Condition):
            return expressions.holds(self.condition, request, _seen(request, response))
        request.pure = False
        return (self.condition.lstrip("!") in request.env) != self.condition.startswith("!")

    def apply(self, fields: Fields, request: Request, response: Response | None) -> None:
        """Change a table."""
        ACTIONS.known[self.action].means.change(fields, self, request, response)

    def apply_to_type(self, fields: Fields, request: Request, response: Response) -> None:
        """Change the Content-Type of a response, which is kept apart from its table of fields."""
        retype = ACTIONS.known[self.action].means.retype
        if retype is not None:
            retype(fields, self, request, response)

    def text(self, request: Request, response: Response | None) -> str:
        """The value, without characters that could end the field."""
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


# Tables of fields


def places(fields: Fields, name: str) -> list[int]:
    """The positions of fields with a name."""
    key = name.lower()
    return [place for place, (name, _) in enumerate(fields) if name.lower() == key]


def put(fields: Fields, name: str, value: str) -> None:
    """Replace all fields with a name by one."""
    found = places(fields, name)
    if not found:
        fields.append((name, value))
        return
    fields[found[0]] = (fields[found[0]][0], value)
    for place in reversed(found[1:]):
        del fields[place]


_MEMBER = re.compile(r'\s*((?:[^,"]|"[^"]*(?:"|\Z))*)')


def has_member(value: str, member: str) -> bool:
    """Whether a comma-separated list has a member already. Commas in quotes do not separate."""
    position = 0
    while position < len(value):
        found = _MEMBER.match(value, position)
        assert found is not None  # it matches anything
        if found[1] == member:
            return True
        position = found.end() + 1
    return False


def compressed(head: Head) -> Fields:
    """A request's fields, those of one name joined, as Apache's modules see them."""
    names: dict[str, str] = {}
    for name, _ in head.fields:
        names.setdefault(name.lower(), name)
    return [(names.get(key, key), value) for key, value in head.values.items()]


# Actions


def _set(fields: Fields, change: Change, request: Request, response: Response | None) -> None:
    put(fields, change.name, change.text(request, response))


def _set_if_empty(fields: Fields, change: Change, request: Request, response: Response | None) -> None:
    value = change.text(request, response)
    if not places(fields, change.name):
        fields.append((change.name, value))


def _add(fields: Fields, change: Change, request: Request, response: Response | None) -> None:
    fields.append((change.name, change.text(request, response)))


def _append(fields: Fields, change: Change, request: Request, response: Response | None) -> None:
    value = change.text(request, response)
    for place in places(fields, change.name)[:1]:
        fields[place] = (fields[place][0], f"{fields[place][1]}, {value}")
        return
    fields.append((change.name, value))


def _merge(fields: Fields, change: Change, request: Request, response: Response | None) -> None:
    value = change.text(request, response)
    for place in places(fields, change.name)[:1]:
        name, first = fields[place]
        if not has_member(first, value):
            fields[place] = (name, f"{first}, {value}")
        return
    fields.append((change.name, value))


def _unset(fields: Fields, change: Change, _request: Request, _response: Response | None) -> None:
    key = change.name.lower()
    fields[:] = [field for field in fields if field[0].lower() != key]


def _edit(fields: Fields, change: Change, request: Request, response: Response | None) -> None:
    for place in places(fields, change.name):
        name, value = fields[place]
        fields[place] = (name, _edited(value, change, request, response))


def _edited(value: str, change: Change, request: Request, response: Response | None) -> str:
    """The result of edit and edit* for a value. As in Apache, ^ matches again after each replacement of edit*."""
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


def _echo(fields: Fields, change: Change, request: Request, _response: Response | None) -> None:
    request.pure = False
    assert change.regex is not None
    fields += [field for field in compressed(request.head) if change.regex.search(field[0])]


def _note(fields: Fields, change: Change, request: Request, response: Response | None) -> None:
    request.pure = False
    for place in places(fields, change.name)[:1]:
        request.notes[change.text(request, response)] = fields[place][1]


# The same for a response's Content-Type


def _set_type(_fields: Fields, change: Change, request: Request, response: Response) -> None:
    request.content_type = change.text(request, response)


def _set_absent_type(fields: Fields, change: Change, request: Request, response: Response) -> None:
    if not request.content_type or not places(fields, "content-type"):
        request.content_type = change.text(request, response)


def _unset_type(_fields: Fields, _change: Change, request: Request, _response: Response) -> None:
    request.content_type = ""


def _edit_type(_fields: Fields, change: Change, request: Request, response: Response) -> None:
    if request.content_type:
        request.content_type = _edited(request.content_type, change, request, response)


@dataclass(frozen=True, slots=True)
class Action:
    """The effect of an action: on a table of fields, and for some on a response's Content-Type."""

    change: Callable[[Fields, Change, Request, Response | None], None]
    retype: Callable[[Fields, Change, Request, Response], None] | None = None


REQUEST_ACTIONS = Words(
    "Actions of RequestHeader",
    "action",
    Word("set", "field value", "Sets a field, and replaces all with its name.", Action(_set, _set_type)),
    Word(
        "setifempty",
        "field value",
        "Sets a field, if there is none with its name.",
        Action(_set_if_empty, _set_absent_type),
    ),
    Word("append", "field value", "Adds to the first field with the name, after a comma.", Action(_append)),
    Word(
        "merge", "field value", "Adds to the first field with the name, unless its list has the value.", Action(_merge)
    ),
    Word("add", "field value", "Adds one more field with the name.", Action(_add)),
    Word("unset", "field", "Removes all fields with the name.", Action(_unset, _unset_type)),
    Word(
        "edit",
        "field regex replacement",
        "Replaces the first match of a regular expression, in each field with the name.",
        Action(_edit, _edit_type),
    ),
    Word(
        "edit*",
        "field regex replacement",
        "Replaces all matches of a regular expression, in each field with the name.",
        Action(_edit, _edit_type),
    ),
    any_case=True,
)
ACTIONS = Words(
    "Actions of Header",
    "action",
    *REQUEST_ACTIONS,
    Word("echo", "regex", "Sends back the request's fields whose names match.", Action(_echo)),
    Word("note", "field name", "Copies a field's value into a note of that name, for logs.", Action(_note)),
    any_case=True,
)
