"""How a request goes through its phases: step by step, from its current one.

The steps are set when a virtual host is made ready (`phases`). So this file knows none of them, and
a step may send a request of its own through the same phases (`redirects`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ownhost.http.message import Response
from ownhost.request.request import Hook, Phase, Request

Outcome = Response | Exception | None  # the result of a step; None: the request goes on


class Step(NamedTuple):
    """One step, and its module: a name, or "core"."""

    phase: Phase
    module: str
    hook: Hook


Listener = Callable[[Step, Request, Outcome], None]  # is told the result of a step, right after it


def advance(request: Request, to: Phase = Phase.HANDLER) -> Response | None:
    """Advance a request, from its current phase to the end of another.

    Returns the response of a step; then the request stays where it is. Raises HTTPError for a
    refusal, OtherIdentity for another identity's request, and any other exception of a step.
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
    """A step whose result a listener is told."""

    def hook(request: Request) -> Response | None:
        try:
            response = step.hook(request)
        except Exception as error:
            listener(step, request, error)
            raise
        listener(step, request, response)
        return response

    return step._replace(hook=hook)
