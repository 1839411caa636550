"""How a request goes through its phases: step by step, from the one that it stands at.

What the steps are is laid down when a virtual host is made ready (`phases`). So this file knows none of them, and
each of them may send a request of its own along the same road (`redirects`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ownhost.http.message import Response
from ownhost.request.request import Hook, Phase, Request

Outcome = Response | Exception | None  # what a step came to; None: the request goes on


class Step(NamedTuple):
    """One step of the road, and whose it is: a module's name, or "core"."""

    phase: Phase
    module: str
    hook: Hook


Listener = Callable[[Step, Request, Outcome], None]  # is told what a step came to, right after it


def advance(request: Request, to: Phase = Phase.HANDLER) -> Response | None:
    """Take a request on, from the phase that it stands at to the end of another.

    Returns the answer that a step gave; then the request stays where it is. Raises HTTPError for a refusal, Elsewhere
    for another identity's request, and whatever else a step raises.
    """
    if request.outcome is not None:
        if isinstance(request.outcome, Exception):
            raise request.outcome
        return request.outcome
    for leg in request.site.road[request.phase : to + 1]:
        for hook in leg.hooks:
            response = hook(request)
            if response is not None:
                return response
            if leg.until_found and request.filename:
                break
        request.phase = leg.next
    return None


def heard(step: Step, listener: Listener) -> Step:
    """A step that a listener hears of."""

    def hook(request: Request) -> Response | None:
        try:
            response = step.hook(request)
        except Exception as error:
            listener(step, request, error)
            raise
        listener(step, request, response)
        return response

    return step._replace(hook=hook)
