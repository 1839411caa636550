"""mod_headers: fields of responses and requests, changed by the configuration.

As in Apache, there are two tables of response fields. `Header always` changes `Request.fields`,
which every response gets; plain `Header` changes the fields of a handler's response. A page of the
server's own (an error, a redirect) has no fields in either: there `Header always` begins with
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from ownhost.config.arguments import known_word
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
from ownhost.config.expression_parser import parse_condition
from ownhost.config.regex import Pattern
from ownhost.config.words import Words
from ownhost.http.message import Response
from ownhost.modules.headers.changes import (
    ACTIONS,
    REQUEST_ACTIONS,
    Action,
    Change,
    Fields,
    compressed,
    has_member,
    put,
)
from ownhost.modules.headers.values import CODES, parse_value
from ownhost.request.module import Module, register
from ownhost.request.request import Request

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Fields that the configuration cannot set: framing and the connection are the server's, and so are
# its own two fields.
_SERVERS_OWN = frozenset(("content-length", "transfer-encoding", "keep-alive", "date", "server"))


def parse_header(call: Call) -> Change:
    """Header's arguments. Raises ArgumentError."""
    found = list(call.args)
    always = bool(found) and found[0].lower() == "always"
    if found and found[0].lower() in ("always", "onsuccess"):
        del found[0]
    return replace(_parse_change(found, ACTIONS, call.source), always=always)


def parse_request_header(call: Call) -> Change:
    """RequestHeader's arguments. Raises ArgumentError."""
    return _parse_change(list(call.args), REQUEST_ACTIONS, call.source)


def _parse_change(found: list[str], actions: Words[Action], source: Source) -> Change:
    """An action, its arguments, and its options. Raises ArgumentError."""
    action = known_word(actions, found[0] if found else "")
    wanted = action.arguments.split()
    said = dict(zip(wanted, found[1:], strict=False))
    rest = found[1 + len(wanted) :]
    if len(said) < len(wanted) or len(rest) > 1:
        raise ArgumentError(f"expected {actions.written(action.name, action.arguments)}")
    name = said.get("field", "").partition(":")[0]
    if "field" in said and not _FIELD_NAME.fullmatch(name):
        raise ArgumentError(f"expected the name of a field, not {said['field']!r}")
    value = said.get("value", said.get("replacement", said.get("name")))
    change = Change(
        action.name,
        name,
        None if value is None else parse_value(value),
        Pattern(said["regex"], source=source) if "regex" in said else None,
    )
    return _conditional(change, rest, source)


def _conditional(change: Change, rest: list[str], source: Source) -> Change:
    """The options after the value: early, env= or expr=."""
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


def _declare(
    setting: Setting[tuple[Change, ...]], syntax: str, text: str, parse: Callable[[Call], Change], words: Words[Action]
) -> None:
    declare(
        Directive(
            name=setting.name,
            module="mod_headers",
            syntax=syntax,
            where=ANYWHERE,
            override=Override.FILE_INFO,
            help=text,
            parse=parse,
            setting=setting,
            fold=append,
            words=(words, CODES),
        )
    )


_declare(
    HEADERS,
    "[always|onsuccess] action field [value [replacement]] [early|env=[!]variable|expr=expression]",
    "Changes fields of responses.",
    parse_header,
    ACTIONS,
)
_declare(
    REQUEST_HEADERS,
    "action field [value [replacement]] [early|env=[!]variable|expr=expression]",
    "Changes fields of requests, for programs and for what looks at them later.",
    parse_request_header,
    REQUEST_ACTIONS,
)


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
                change.apply_to_type(fields, request, response)
            change.apply(fields, request, response)


def _early_fields(request: Request, response: Response) -> Fields:
    """The fields that `Header ... early` set before any handler."""
    fields: Fields = []
    for change in request.site.settings[HEADERS]:
        if change.early and not change.always:
            change.apply(fields, request, response)
    return fields


def _put_below(fields: Fields, earlier: Fields) -> None:
    """Add fields. Later ones of the same name replace earlier ones."""
    names = {name.lower() for name, _ in fields}
    fields[:0] = [field for field in earlier if field[0].lower() not in names]


def _settle(request: Request, response: Response) -> None:
    """Restore what changes cannot affect: a known type, the file's encodings, the server's own fields."""
    headers, fields = response.headers, request.fields
    content_type = request.content_type
    if response.status == 304:
        content_type = ""  # no response is sent with one
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
    """The file's own encodings are sent, whatever was set; its languages are kept among those that were."""
    if request.encodings:
        put(headers, "Content-Encoding", ", ".join(request.encodings))
    if request.languages:
        others = [value for name, value in headers if name.lower() == "content-language"]
        missing = [language for language in request.languages if not any(has_member(one, language) for one in others)]
        put(headers, "Content-Language", ", ".join((*missing, *others)))


def _read_connection(response: Response) -> None:
    """Obey `Connection: close`. The server decides everything else about the connection."""
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
    """Make the changes marked early, before any other hook."""
    settings = request.site.settings
    _change_request(request, [change for change in settings[REQUEST_HEADERS] if change.early])
    for change in settings[HEADERS]:
        if change.early and change.always:
            change.apply(request.fields, request, None)


def fixup(request: Request) -> Response | None:
    """Change the fields of a request, after all hooks that read them."""
    _change_request(request, [change for change in request.settings[REQUEST_HEADERS] if not change.early])
    return None


def _change_request(request: Request, changes: list[Change]) -> None:
    """Apply changes one by one: each sees what those before it did."""
    for change in changes:
        if not change.applies(request, None):
            continue
        fields = compressed(request.head)
        change.apply(fields, request, None)
        values: dict[str, str] = {}
        for name, value in fields:
            values.setdefault(name.lower(), value)
        # Requests share heads that were read: a changed head is a new one.
        request.head = replace(request.head, fields=fields, values=values)


# After every other fixup, as in Apache: types and variables are known, and an index has been found.
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
