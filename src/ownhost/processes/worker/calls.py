"""Requests that have called at an app's socket, and that no process may have taken yet.

While there are any, no line is left to a next request: its process is free for them. That is for one worker's requests
only, and only where processes come free. So what waits for longer is told to the launcher, on its lease: it wants back
the lines that other workers keep, and has a program that starts its own processes look once more. php-fpm's master
looks only where somebody connects (its event is edge-triggered), starts one process for all who came together, and none
where one seemed idle: who is left over then would wait for as long as nobody else comes.

What a process has read none of looks as if it waited: a small body that a script is slow to read costs the others' next
requests their lines, and the launcher a few looks, no more.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from ownhost.request.programs import Line

SOON = 0.01  # seconds between looks at what waits, and until the launcher hears of it
SELDOM = 1.0  # seconds until it hears of the same again, at most


class Caller(Protocol):
    """A lease whose request waits."""

    def complain(self) -> None:
        """Tell the launcher."""


class Call:
    """A line, the start of whose request stands in the app's queue."""

    __slots__ = ("due", "line", "pause")

    def __init__(self, line: Line, now: float) -> None:
        self.line = line
        self.pause = SOON
        self.due = now + SOON


class Calls:
    """One app's, in their order. A lease has one at most."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: dict[Caller, Call] = {}
        self.looking = False

    def add(self, lease: Caller, line: Line) -> None:
        """A request was sent on a line that is new."""
        self.waiting[lease] = Call(line, self.loop.time())
        if not self.looking:
            self.looking = True
            self.loop.call_later(SOON, self._look)

    def drop(self, lease: Caller) -> None:
        """A request is answered, or given up."""
        self.waiting.pop(lease, None)

    def any(self) -> bool:
        """Whether a request may wait for a process. They are taken in their order."""
        while self.waiting:
            lease, call = next(iter(self.waiting.items()))
            if not call.line.is_taken():
                return True
            del self.waiting[lease]
        return False

    def _look(self) -> None:
        """Complain of the first one that is due: at one a look, processes come as fast as they can be started."""
        self.waiting = {lease: call for lease, call in self.waiting.items() if not call.line.is_taken()}
        now = self.loop.time()
        for lease, call in self.waiting.items():
            if call.due <= now:
                call.pause = min(2 * call.pause, SELDOM)
                call.due = now + call.pause
                lease.complain()
                break
        self.looking = bool(self.waiting)
        if self.looking:
            self.loop.call_later(SOON, self._look)
