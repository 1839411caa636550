"""mod_dir: what is sent for a folder, and the slash at its end."""

from __future__ import annotations

from urllib.parse import quote

from ownhost.config.arguments import flag, words
from ownhost.config.directive import ANYWHERE, Call, Directive, Override, Setting, declare
from ownhost.http.message import HTTPError, Response
from ownhost.modules.mod_rewrite import REDIRECT
from ownhost.request import errors, serve
from ownhost.request.module import Module, register
from ownhost.request.request import Request


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
        "The files that are looked for, in this order, when a folder is asked for.",
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
        "Whether a folder asked for without a slash at its end is redirected to the name with one.",
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
        "Whether all this is left alone where SetHandler names a handler.",
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
        "The page that is sent for whatever is not there.",
        parse_fallback,
        setting=FALLBACK_RESOURCE,
        override=Override.INDEXES,
    ),
):
    declare(_directive)


def fixup(request: Request) -> Response | None:
    """Find the index of a folder, or the fallback for what is missing."""
    if request.is_folder:
        if request.settings[CHECK_HANDLER] and request.handler:
            return None
        return _folder(request)
    if request.stat is None and request.settings[FALLBACK_RESOURCE] and not _leads_elsewhere(request):
        return _fallback(request)
    return None


def _leads_elsewhere(request: Request) -> bool:
    """Whether rules have found what answers: another URI of this server, or another server."""
    return request.handler == REDIRECT or request.handler.startswith("proxy:")


def _folder(request: Request) -> Response | None:
    if not request.uri.endswith("/"):
        if request.settings[DIRECTORY_SLASH]:
            location = quote(request.uri, errors="surrogateescape") + "/"
            return errors.redirect(request, 301, location + (f"?{request.query}" if request.query else ""))
        return None
    if request.method not in ("GET", "HEAD", "POST") or _leads_elsewhere(request):
        return None
    names = request.settings[DIRECTORY_INDEX]
    for place, name in enumerate(names):
        uri = name if name.startswith("/") else request.uri + name
        response = _try(request, uri, first=place == 0)
        if response is not None:
            return response
    fallback = request.settings[FALLBACK_RESOURCE]
    if names and fallback:
        return _fallback(request)
    why = f"{request.filename} has none of the DirectoryIndex files, and no listing is made"
    raise HTTPError(403, why, module="dir")


def _try(request: Request, uri: str, first: bool) -> Response | None:
    """Serve a file in the folder's stead, if it is there. Raises HTTPError where it is, and may not be seen."""
    inner = serve.redirected(request, uri, request.query, subrequest=True)
    try:
        response = serve.find(inner)
    except HTTPError as error:
        if error.status == 404:
            return None
        raise
    if response is None:
        if inner.stat is None or inner.is_folder:
            return None
        response = serve.fixup(inner)
    request.become(inner)
    if not first:
        request.pure = False  # a file of an earlier name may come to be
    return serve.handle(request) if response is None else response


def _fallback(request: Request) -> Response | None:
    target = request.settings[FALLBACK_RESOURCE]
    uri = target if target.startswith("/") else request.uri.rpartition("/")[0] + "/" + target
    if uri == request.uri:
        return None  # the fallback itself is missing
    inner = serve.redirected(request, uri, request.query)
    response = serve.find(inner)
    if response is None:
        response = serve.fixup(inner)
    request.become(inner)
    request.pure = False
    return serve.handle(request) if response is None else response


# Late: an index is served with all its own fixups, and the folder's are of no use.
register(Module(name="mod_dir", identifier="dir_module", order=90, fixup=fixup))
