"""Requests at an app's socket that no process may have taken yet.

While there are any, no line is left to a next request: its process is free for these. That covers
only one worker's requests, and only if processes become free. So a longer wait is reported to the
launcher, on the request's lease. It asks other workers for the lines that they keep, and has a
program that starts its own processes check once more. php-fpm's master checks only on a new
connection (its event is edge-triggered), starts one process for all that came together, and none if
one seemed idle. A request left over would wait until another one comes.

A request of which a process has read nothing looks as if it waited: a small body that a script is
slow to read costs the others' next requests their lines, and the launcher a few checks, no more.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from ownhost.request.programs import Line

SOON = 0.01  # seconds between checks, and until the launcher is told
SELDOM = 1.0  # seconds until it is told again about the same, at most


class Caller(Protocol):
    """A lease whose request waits."""

    def complain(self) -> None:
        """Tell the launcher."""


class Call:
    """A line; the start of its request is in the app's queue."""

    __slots__ = ("due", "line", "pause")

    def __init__(self, line: Line, now: float) -> None:
        self.line = line
        self.pause = SOON
        self.due = now + SOON


class Calls:
    """The calls of one app, in order. A lease has at most one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: dict[Caller, Call] = {}
        self.looking = False

    def add(self, lease: Caller, line: Line) -> None:
        """A request was sent on a new line."""
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
        """Report the first one that is due: with one per check, processes come as fast as they can be started."""
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
