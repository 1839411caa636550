"""The phases of a request, as data: for each, in order, the server's own steps and the modules' hooks between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ownhost.config.model import Fault
from ownhost.http.message import HTTPError, Response
from ownhost.request.handlers import handle
from ownhost.request.module import Module
from ownhost.request.receive import limit_body, receive
from ownhost.request.request import Hook, Leg, Phase, Request, Road
from ownhost.request.road import Listener, Step, heard
from ownhost.request.translate import begin, locate
from ownhost.request.walk import walk

# A name stands for the hooks that modules have under it (`Module`).
PHASES: dict[Phase, tuple[Hook | str, ...]] = {
    Phase.RECEIVE: (receive,),
    Phase.TRANSLATE: (begin, "translate", locate),
    Phase.WALK: (walk,),
    Phase.ACCESS: ("prepare", limit_body, "access"),
    Phase.FIXUPS: ("fixup",),
    Phase.HANDLER: (handle,),
}


def lay_road(modules: Sequence[Module], fault: Fault | None = None, listeners: Sequence[Listener] = ()) -> Road:
    """The steps for a virtual host's requests. `modules` are those that it uses, in the order of their hooks.

    If its configuration has an error, every phase refuses.
    """
    legs = []
    for phase in PHASES:
        steps = [Step(phase, "core", _refuse(fault))] if fault is not None else list(_steps(phase, modules))
        for listener in listeners:
            steps = [heard(step, listener) for step in steps]
        hooks = tuple(step.hook for step in steps)
        legs.append(Leg(hooks, phase is Phase.TRANSLATE, Phase(phase + 1)))
    return tuple(legs)


def _steps(phase: Phase, modules: Sequence[Module]) -> Iterator[Step]:
    for what in PHASES[phase]:
        if not isinstance(what, str):
            yield Step(phase, "core", what)
            continue
        for module in modules:
            hook: Hook | None = getattr(module, what)
            if hook is not None:
                yield Step(phase, module.name, hook)


def _refuse(fault: Fault) -> Hook:
    def refuse(_: Request) -> Response | None:
        raise HTTPError(500, str(fault))

    return refuse
