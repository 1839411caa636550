"""mod_allowmethods: the methods that a folder accepts."""

from __future__ import annotations

from ownhost.config.arguments import words
from ownhost.config.directive import ArgumentError, Call, Directive, Setting, Where, declare
from ownhost.config.methods import KNOWN
from ownhost.http.level import Level
from ownhost.http.message import HTTPError, Response
from ownhost.request.module import Module, register
from ownhost.request.request import Request

RESET = "reset"
Allowed = tuple[str, ...]  # methods; HEAD goes with GET. None at all: every one is accepted


def parse_methods(call: Call) -> Allowed:
    """Methods in capitals, or reset."""
    found = words(1)(call)
    if RESET in [word.lower() for word in found[1:]]:
        raise ArgumentError("reset stands alone")
    if found[0].lower() == RESET:
        if len(found) > 1:
            raise ArgumentError("reset stands alone")
        return ()
    unknown = next((word for word in found if word not in KNOWN), None)
    if unknown is not None:
        raise ArgumentError(f"there is no method {unknown}; methods are in capitals")
    return found


def _fold(before: Allowed | None, methods: Allowed) -> Allowed:
    return (*(before or ()), *methods) if methods else ()


METHODS: Setting[Allowed] = Setting("AllowMethods", ())

declare(
    Directive(
        name="AllowMethods",
        module="mod_allowmethods",
        syntax="method...|reset",
        where=Where.DIRECTORY,
        default="reset",
        help="The methods that are accepted: GET is HEAD, too. TRACE always is: see TraceEnable.",
        parse=parse_methods,
        setting=METHODS,
        fold=_fold,
    )
)


def access(request: Request) -> Response | None:
    """Refuse other methods than those. Raises HTTPError 405."""
    allowed: Allowed = request.settings[METHODS]
    method = "GET" if request.method == "HEAD" else request.method
    if not allowed or method in allowed or (method == "GET" and "HEAD" in allowed):
        return None
    known = {"GET": ("GET", "HEAD"), "HEAD": ("GET", "HEAD")}
    fields = dict.fromkeys(name for each in allowed for name in known.get(each, (each,)))
    why = f"AH01623: client method denied by server configuration: '{request.method}' to {request.filename}"
    raise HTTPError(405, why, (("Allow", ", ".join(fields)),), module="allowmethods", level=Level.ERROR)


# First: a method that is not accepted needs no other decision.
register(
    Module(
        name="mod_allowmethods",
        identifier="allowmethods_module",
        order=0,
        uses=lambda server: server.says(METHODS),
        access=access,
    )
)
