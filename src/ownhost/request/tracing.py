"""The lines of `LogLevel core:trace4` about a request: each step that decided. At trace6: every step."""

from __future__ import annotations

from ownhost.config.regex import PatternFailed
from ownhost.http.message import HTTPError, Response
from ownhost.request.request import Level, OtherIdentity, Request
from ownhost.request.road import Outcome, Step

LEVEL = Level.TRACE4


def trace(step: Step, request: Request, outcome: Outcome) -> None:
    """Log the result of a step (a `road.Listener`)."""
    level = Level.TRACE6 if outcome is None else LEVEL
    where = f"{step.phase.name.lower()} of {request.uri or request.head.path}"
    request.log(level, "core", f"{where}: {step.module} {_said(outcome)}")


def _said(outcome: Outcome) -> str:
    match outcome:
        case None:
            return "lets it go on"
        case Response(deferred=None):
            return f"answers with {outcome.status}"
        case Response():
            return "has a program answer"
        case HTTPError():
            return f"refuses with {outcome.status}"
        case OtherIdentity():
            return f"passes it on to {outcome.assignment}"
        case PatternFailed():
            return "gives up a regular expression"
    return f"fails with {type(outcome).__name__}"
