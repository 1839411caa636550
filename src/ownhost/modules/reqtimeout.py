"""mod_reqtimeout: how long a client may take to send a request."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import inf

from ownhost.config.directive import SERVERS, ArgumentError, Call, Directive, Setting, declare
from ownhost.request.module import Module, register

_STAGE = re.compile(r"(handshake|header|body)=([0-9]{1,9})(?:-([0-9]{1,9}))?(?:,minrate=([0-9]{1,9}))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stage:
    """The time for one part of a request: `first` seconds, one more for each `rate` bytes received, `last` at most.

    `first` 0 is no limit; `rate` 0 extends nothing.
    """

    first: int = 0
    last: int = 0
    rate: int = 0

    def deadline(self, begun: float, received: int) -> float:
        """When the time ends, on the clock of `begun` (seconds)."""
        if not self.first:
            return inf
        if not self.rate:
            return begun + self.first
        time = self.first + received / self.rate
        return begun + (min(time, self.last) if self.last else time)


@dataclass(frozen=True, slots=True)
class ReadTimeout:
    """The value of RequestReadTimeout."""

    header: Stage = Stage(20, 40, 500)
    body: Stage = Stage(20, 0, 500)
    handshake: Stage = Stage()

    def head_deadline(self, begun: float, received: int) -> float:
        """When a head that began at `begun` must be complete, after `received` bytes of it."""
        return self.header.deadline(begun, received)

    def body_deadline(self, begun: float, received: int) -> float:
        """The same for a body."""
        return self.body.deadline(begun, received)


TOO_LONG = "AH01382: Request {} read timeout"  # the line in the log, in Apache's words

REQUEST_READ_TIMEOUT = Setting("RequestReadTimeout", ReadTimeout())


def parse_read_timeout(call: Call) -> dict[str, Stage]:
    """Stages by name, as in header=20-40,MinRate=500."""
    if not call.args:
        raise ArgumentError("expected header=, body= or handshake=, got none")
    stages = {}
    for word in call.args:
        match = _STAGE.fullmatch(word)
        if match is None:
            raise ArgumentError(
                f"expected header=, body= or handshake= and seconds, as in header=20-40,MinRate=500, not {word!r}"
            )
        first, last, rate = (int(part or 0) for part in match.groups()[1:])
        if match[3] and last <= first:
            raise ArgumentError(f"expected a maximum above {first} seconds, not {last}")
        if match[3] and not rate:
            raise ArgumentError(f"expected ,MinRate= after a range of seconds in {word!r}")
        stages[match[1].lower()] = Stage(first, last, rate)
    return stages


def _fold(before: ReadTimeout | None, stages: dict[str, Stage]) -> ReadTimeout:
    return replace(before or ReadTimeout(), **stages)


declare(
    Directive(
        name="RequestReadTimeout",
        module="mod_reqtimeout",
        syntax="[handshake=SECONDS] [header=SECONDS[-MAX],MinRate=BYTES] [body=SECONDS[-MAX],MinRate=BYTES]",
        where=SERVERS,
        default="handshake=0 header=20-40,MinRate=500 body=20,MinRate=500",
        help="How long a client may take to send a request's head and body; 0 is no limit.",
        parse=parse_read_timeout,
        setting=REQUEST_READ_TIMEOUT,
        fold=_fold,
    )
)

# Gates wait for heads, too.
register(Module(name="mod_reqtimeout", identifier="reqtimeout_module"))
