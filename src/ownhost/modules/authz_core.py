"""mod_authz_core: who may see what. So far all or nobody."""

from __future__ import annotations

from ownhost.config.arguments import words
from ownhost.config.directive import ANYWHERE, ArgumentError, Call, Directive, Override, Setting, declare
from ownhost.http.message import HTTPError, Response
from ownhost.request.module import Module, register
from ownhost.request.request import Request


def parse_require(call: Call) -> bool:
    """Whether everybody is let in. What is not understood is refused: a wrong guess would open a door."""
    found = [word.lower() for word in words(1)(call)]
    if found[0] == "not" and len(found) > 1:
        raise ArgumentError("Require not is not supported yet; expected all granted or all denied")
    if found[0] != "all":
        raise ArgumentError(f"Require {found[0]} is not supported yet; expected all granted or all denied")
    if found[1:] not in (["granted"], ["denied"]):
        raise ArgumentError(f"expected all granted or all denied, not {call.raw!r}")
    return found[1] == "granted"


# Several Require lines in one place let in whoever one of them lets in. The inner place's replace the outer's.
REQUIRE: Setting[bool | None] = Setting("Require", None)

declare(
    Directive(
        name="Require",
        module="mod_authz_core",
        syntax="all granted|denied",
        where=ANYWHERE,
        override=Override.AUTH_CONFIG,
        help="Who may see what is here: everybody, or nobody.",
        parse=parse_require,
        setting=REQUIRE,
        fold=lambda before, granted: bool(before) or granted,
    )
)


def access(request: Request) -> Response | None:
    """Refuse what nobody may see. Where no Require speaks, everybody may (as in Apache)."""
    if request.settings[REQUIRE] is False:
        raise HTTPError(403, f"client denied by server configuration: {request.filename}", module="authz_core")
    return None


register(Module(name="mod_authz_core", identifier="authz_core_module", access=access))
