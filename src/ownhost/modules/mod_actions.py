"""mod_actions: programs that answer instead of files of a type, and for methods without a handler."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from ownhost.config.arguments import words
from ownhost.config.directive import ANYWHERE, SECTIONS, ArgumentError, Call, Directive, Override, Setting, declare
from ownhost.http.message import HTTPError, Response
from ownhost.request.module import Module, register
from ownhost.request.redirects import answer_as, redirected
from ownhost.request.request import Request

ACTION = "action-script"  # the handler for which a program answers
PROGRAM = "action-program"  # the note with that program's path
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Program:
    """A program's path on this server, and whether it also answers if there is no file."""

    path: str
    virtual: bool = False


Programs = Mapping[str, Program]


def _both(before: Programs | None, after: Programs) -> Programs:
    return {**(before or {}), **after}


def parse_action(call: Call) -> Programs:
    """A handler or media type, a path, and perhaps "virtual"."""
    name, path, *option = words(2, 3)(call)
    if option and option[0].lower() != "virtual":
        raise ArgumentError(f"expected virtual, not {option[0]!r}")
    return {name.lower(): Program(_path(path), bool(option))}


def parse_script(call: Call) -> Programs:
    """A method and a path."""
    method, path = words(2, 2)(call)
    if not _METHOD.fullmatch(method):
        raise ArgumentError(f"expected a method such as PUT, not {method!r}")
    return {method: Program(_path(path), virtual=True)}


def _path(word: str) -> str:
    if not word.startswith("/"):
        raise ArgumentError(f"expected a path of this server that begins with /, not {word!r}")
    return word


ACTIONS: Setting[Programs] = Setting("Action", {}, _both)  # by handler or media type
SCRIPTS: Setting[Programs] = Setting("Script", {}, _both)  # by method

declare(
    Directive(
        name="Action",
        module="mod_actions",
        syntax="handler|media-type path [virtual]",
        where=ANYWHERE,
        override=Override.FILE_INFO,
        help="A program answers instead of files; with virtual, also for files that do not exist.",
        parse=parse_action,
        setting=ACTIONS,
        fold=_both,
    )
)
declare(
    Directive(
        name="Script",
        module="mod_actions",
        syntax="method path",
        where=SECTIONS,
        help="A program answers a method for which there is no handler; GET only with a query.",
        parse=parse_script,
        setting=SCRIPTS,
        fold=_both,
    )
)


def fixup(request: Request) -> Response | None:
    """Leave the response to a program, if one is named and there is no handler. Raises HTTPError 404."""
    if request.is_proxied or request.handler in request.site.handlers:
        return None
    name = request.handler or request.content_type.partition(";")[0].strip().lower()
    action = request.settings[ACTIONS].get(name)
    program = action or _script(request)
    if program is None:
        return None
    if not program.virtual and request.stat is None:
        raise HTTPError(404, f"AH00652: File does not exist: {request.filename}", module="actions")
    if action is not None:
        request.env["HANDLER"] = name
    request.pure = False
    request.notes[PROGRAM] = program.path
    request.handler = ACTION
    return None


def _script(request: Request) -> Program | None:
    """The program for the method. It may be a file instead of a program: none if it would answer for itself again."""
    if request.method in ("GET", "HEAD") and request.query is None:
        return None
    method = "GET" if request.method == "HEAD" else request.method
    is_loop = request.previous is not None and request.previous.previous is not None
    return None if is_loop else request.settings[SCRIPTS].get(method)


def act(request: Request) -> Response:
    """The handler that asks a program, with the file's path appended to its own. Raises HTTPError."""
    path, mark, query = request.notes[PROGRAM].partition("?")
    queries = [text for text in (query if mark else None, request.query) if text is not None]
    target = request.site.clean(path + quote(request.uri, errors="surrogateescape"))
    return answer_as(request, redirected(request, target, "?".join(queries) if queries else None))


# Last: all other modules that may name a handler have done so.
register(
    Module(
        name="mod_actions",
        identifier="actions_module",
        order=99,
        uses=lambda server: server.says(ACTIONS, SCRIPTS),
        fixup=fixup,
        handlers={ACTION: act},
    )
)
