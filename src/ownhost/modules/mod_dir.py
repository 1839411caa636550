"""mod_dir: the response for a folder, and the slash at its end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from ownhost.config.arguments import flag, words
from ownhost.config.directive import ANYWHERE, Call, Directive, Override, Setting, declare
from ownhost.http.message import HTTPError, Response, let_go
from ownhost.modules.mod_rewrite import REDIRECT
from ownhost.request import errors
from ownhost.request.module import Module, register
from ownhost.request.proxied import PROXY_HANDLER
from ownhost.request.redirects import answer, subrequest
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance

DIRECTORY = "httpd/unix-directory"  # the handler of a folder without an index: mod_autoindex has it
REDIRECT_CAREFULLY = "redirect-carefully"  # the variable of clients that can follow a redirect only of GET
_NEEDS_CLEANING = re.compile(r"%|//|(?:^|/)\.")


def parse_index(call: Call) -> tuple[str, ...]:
    """File names, tried in order; a single "disabled" is none at all."""
    found = words(1)(call)
    return () if [word.lower() for word in found] == ["disabled"] else found


def parse_fallback(call: Call) -> str:
    """A path of this server, or "disabled"."""
    (word,) = words(1, 1)(call)
    return "" if word.lower() == "disabled" else word


def _fold(before: tuple[str, ...] | None, names: tuple[str, ...]) -> tuple[str, ...]:
    return (*(before or ()), *names) if names else ()


DIRECTORY_INDEX: Setting[tuple[str, ...]] = Setting("DirectoryIndex", ("index.html",))
DIRECTORY_SLASH = Setting("DirectorySlash", True)
CHECK_HANDLER = Setting("DirectoryCheckHandler", False)
FALLBACK_RESOURCE = Setting("FallbackResource", "")

for _directive in (
    Directive(
        "DirectoryIndex",
        "mod_dir",
        "name...|disabled",
        ANYWHERE,
        "The files to look for, in this order, if a folder is requested.",
        parse_index,
        setting=DIRECTORY_INDEX,
        fold=_fold,
        default="index.html",
        override=Override.INDEXES,
    ),
    Directive(
        "DirectorySlash",
        "mod_dir",
        "On|Off",
        ANYWHERE,
        ("Whether a request for a folder without a slash at its end is redirected to the name with one."),
        flag(),
        setting=DIRECTORY_SLASH,
        default="On",
        override=Override.INDEXES,
    ),
    Directive(
        "DirectoryCheckHandler",
        "mod_dir",
        "On|Off",
        ANYWHERE,
        "Whether none of this applies if SetHandler names a handler.",
        flag(),
        setting=CHECK_HANDLER,
        default="Off",
        override=Override.INDEXES,
    ),
    Directive(
        "FallbackResource",
        "mod_dir",
        "path|disabled",
        ANYWHERE,
        "The page that is sent for every path that does not exist.",
        parse_fallback,
        setting=FALLBACK_RESOURCE,
        override=Override.INDEXES,
    ),
):
    declare(_directive)


def fixup(request: Request) -> Response | None:
    """Find the index of a folder, or the fallback for a missing file. Raises HTTPError."""
    if request.is_folder:
        return _folder(request)
    fallback = request.settings[FALLBACK_RESOURCE]
    if request.stat is None and fallback and not request.handler:
        request.pure = False  # the file may come to be
        return _first(request, (fallback,))
    return None


def _leads_elsewhere(request: Request) -> bool:
    """Whether rules have chosen another URI of this server, or another server."""
    return request.handler == REDIRECT or request.is_proxied


def _folder(request: Request) -> Response | None:
    settings = request.settings
    if not request.uri.endswith("/"):
        careful = request.method not in ("GET", "HEAD") and REDIRECT_CAREFULLY in request.env
        if settings[DIRECTORY_SLASH] and not careful:
            return _with_slash(request)
        return _leave(request)
    if _leads_elsewhere(request) or (settings[CHECK_HANDLER] and request.handler):
        return None
    names: tuple[str, ...] = settings[DIRECTORY_INDEX]
    if not _is_listed(request):
        return _first(request, names) or _leave(request)
    found = _found(request, names)
    if found is not None and found[1] is not None:
        let_go(found[1].body)
    return None


def _leave(request: Request) -> Response | None:
    """Leave a folder to the handler for folders, unless it has another."""
    request.handler = request.handler or DIRECTORY
    request.pure = False  # an index may appear
    return None


def _is_listed(request: Request) -> bool:
    """Whether a listing of the folder above asks if this one may be seen. A folder with a forbidden index may not."""
    return request.is_subrequest and request.previous is not None and request.previous.handler == DIRECTORY


def _with_slash(request: Request) -> Response:
    location = quote(request.uri, errors="surrogateescape") + "/"
    return errors.redirect(request, 301, location + (f"?{request.query}" if request.query is not None else ""))


def _first(request: Request, names: Iterable[str]) -> Response | None:
    """Go on as the first of some files that exists; None if there is none. Raises HTTPError."""
    found = _found(request, names)
    if found is None:
        return None
    inner, response, first = found
    if response is not None and response.own_page:
        return response  # a redirect has no file, but is a response
    request.become(inner)
    request.pure = request.pure and first  # a file of an earlier name may appear
    return answer(request) if response is None else response


def _found(request: Request, names: Iterable[str]) -> tuple[Request, Response | None, bool] | None:
    """The first of some files that exists, its response if there is one yet, and whether its name is the first.

    A file that the client may not see is skipped if another is found. Raises HTTPError.
    """
    refused: HTTPError | None = None
    for place, name in enumerate(names):
        uri, query = absolute(request, name)
        inner = subrequest(request, uri, query)
        try:
            response = advance(inner, Phase.FIXUPS)
        except HTTPError as error:
            refused = refused if error.status == 404 else error
            continue
        if response is not None or _is_file(inner):
            return inner, response, place == 0
    if refused is not None:
        raise refused
    return None


def _is_file(request: Request) -> bool:
    """Whether there is a response: a file, or another server for this path.

    A file with a handler "proxy:URL" must exist like any other: the other server is not asked for a
    missing one.
    """
    return request.handler == PROXY_HANDLER or (request.stat is not None and not request.is_folder)


def absolute(request: Request, name: str) -> tuple[str, str | None]:
    """The path and the query of a name, relative to the request's. Raises HTTPError."""
    path, mark, query = name.partition("?")
    queries = [text for text in (query if mark else None, request.query) if text is not None]
    if _NEEDS_CLEANING.search(path):
        folder = quote(request.uri.rpartition("/")[0], errors="surrogateescape")
        path = request.site.clean(path if path.startswith("/") else f"{folder}/{path}")
    elif not path.startswith("/"):
        path = request.uri.rpartition("/")[0] + "/" + path
    return path, "?".join(queries) if queries else None


# Late: an index runs all its own fixups, and the folder's are of no use.
register(Module(name="mod_dir", identifier="dir_module", order=90, fixup=fixup))
