"""What a site remembers about requests that programs answer: the route that the phases found, never the response.

A route follows from the target (method, path, host, address, version) and the file system alone, as
a remembered response does (`memory`), and stays valid as long: while stat(2) returns the same for
its file. So one stat replaces the phases. Everything else is the request's own: the client, the
query, the fields, the body and its limit. A hook that looks at one of these says so
(`Request.pure`), and the route is not remembered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ownhost.http.message import Head
from ownhost.request.memory import FileStatus, Looked, is_settled
from ownhost.request.request import Endpoints, Handler, Level, Phase, Request

MOST = 1_024

T = TypeVar("T")
# Method, path, whether there is a query, version, the requested host, and the local address.
Asked = tuple[str, str, bool, int, int, str, "int | None", str, int, bool]


@dataclass(frozen=True, slots=True)
class Route:
    """The route of requests for one target to the program that answers them.

    `known` is for handlers: other values that follow from the route alone, by names of theirs.
    """

    path: bytes  # of the file, for stat(2)
    stat: os.stat_result
    handler: Handler
    found: Request
    levels: Looked
    known: dict[str, Any] = field(default_factory=dict)


def known(request: Request, name: str, make: Callable[[Request], T]) -> T:
    """Values that follow from a request's route alone: made once, if the route is remembered."""
    table = request.known
    if table is None:
        return make(request)
    if name not in table:
        table[name] = make(request)
    found: T = table[name]
    return found


class Routes:
    """The routes of one site. `looks` and `exceptions` are those of its memory."""

    __slots__ = ("exceptions", "looks", "routes")

    def __init__(self, looks: FileStatus, exceptions: Sequence[Callable[[Request], bool]] = ()) -> None:
        self.routes: dict[Asked, Route] = {}
        self.looks = looks
        self.exceptions = exceptions

    def recall(self, request: Request) -> Handler | None:
        """Bring a request to the end of its route, if that is remembered and still valid. Returns the handler."""
        key = _asked(request.head, request.endpoints)
        route = self.routes.get(key)
        if route is None or request.assignment != route.found.assignment:  # who serves is decided for every request
            return None
        if not self.looks.confirm(route.path, route.stat) or not self.looks.confirm_all(route.levels):
            del self.routes[key]
            return None
        for is_exception in self.exceptions:
            if is_exception(request):
                return None
        _bring(request, route)
        return route.handler

    def remember(self, request: Request, head: Head) -> None:
        """Remember the route of a request, if the next one like it takes the same.

        `head` is the request's as it was sent: if the phases replaced it, or the query, the next
        request may be treated differently. An equal query may be of their making, so it must be the
        very same string; Python has only one string for each single character.
        """
        stat, handler, query = request.stat, request.handled_by, head.query
        if handler is None or stat is None or request.head is not head:
            return
        if request.query is not query or (query is not None and len(query) < 2):
            return
        levels = self.looks.settled(request.levels, request.time)
        if levels is None or not is_settled(stat, request.time):
            return
        if len(self.routes) >= MOST:
            self.routes.clear()
        self.routes[_asked(head, request.endpoints)] = Route(
            os.fsencode(request.filename), stat, handler, _model(request), levels
        )


def _asked(head: Head, endpoints: Endpoints) -> Asked:
    return (
        head.method,
        head.path,
        head.query is None,
        head.major,
        head.minor,
        head.host,
        head.host_port,
        endpoints.local,
        endpoints.local_port,
        endpoints.secure,
    )


def _model(request: Request) -> Request:
    """The results of the phases, without the request, which goes on."""
    model = copy(request)
    model.log = _say_nothing
    _own_tables(model, request)
    return model


def _say_nothing(_level: Level, _module: str, _message: str) -> None:
    """A model is logged nowhere: it keeps no reference to a connection."""


def _bring(request: Request, route: Route) -> None:
    """Bring a request to the end of its route: every field that phases fill in (`Request`), and its own tables."""
    found = route.found
    request.phase = Phase.HANDLER
    request.uri = found.uri
    request.query = request.head.query
    request.filename = found.filename
    request.alias = found.alias
    request.document_root = found.document_root
    request.context_prefix = found.context_prefix
    request.context_document_root = found.context_document_root
    request.path_info = found.path_info
    request.stat = found.stat
    request.settings = found.settings
    request.permitted = found.permitted
    request.handler = found.handler
    request.content_type = found.content_type
    request.known = route.known
    _own_tables(request, found)


def _own_tables(request: Request, other: Request) -> None:
    request.encodings = other.encodings.copy()
    request.languages = other.languages.copy()
    request.env = other.env.copy()
    request.notes = other.notes.copy()
    request.vary = other.vary.copy()
    request.fields = other.fields.copy()
