"""Deadlines of many connections with one timer: a timer of the event loop for each would cost a handle."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Protocol


class Timed(Protocol):
    """An object with a deadline."""

    def check_time(self) -> None:
        """The deadline has passed."""


class Deadlines:
    """Calls objects whose deadline has passed. Each has at most one deadline, in loop time.

    A check goes through all of them. If there are many, each call may be `coarse` seconds late, so
    that checks are few.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, coarse: float = 0.0) -> None:
        self._loop = loop
        self._coarse = coarse
        self._moments: dict[Timed, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = inf  # when the timer is due

    def set(self, whom: Timed, moment: float) -> None:
        """Set the deadline of an object; it replaces an earlier one. An infinite one never comes."""
        self._moments[whom] = moment
        if moment < self._next:
            self._look_at(moment)

    def drop(self, whom: Timed) -> None:
        """Remove the deadline of an object."""
        self._moments.pop(whom, None)

    def moment(self, whom: Timed) -> float:
        """The deadline of an object; infinite if there is none."""
        return self._moments.get(whom, inf)

    def _look_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = moment
        self._timer = self._loop.call_later(max(0.0, moment - self._loop.time()), self._look)

    def _look(self) -> None:
        self._timer, self._next = None, inf
        now = self._loop.time()
        for whom in [whom for whom, moment in self._moments.items() if moment <= now]:
            if self._moments.pop(whom, None) is not None:  # else one of the calls before has removed it
                whom.check_time()
        if self._moments:
            moment = max(min(self._moments.values()), now + self._coarse)
            if moment < self._next:
                self._look_at(moment)
