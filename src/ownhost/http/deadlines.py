"""Deadlines of many who wait, with one timer: a timer of the event loop for each would cost a handle."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Protocol


class Timed(Protocol):
    """Somebody with deadlines."""

    def check_time(self) -> None:
        """The moment that was set is here."""


class Deadlines:
    """When somebody has waited for long enough. At most one moment for each, in loop time.

    A look goes through all of them. Where there are many, each may be `coarse` seconds late, so that looks are few.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, coarse: float = 0.0) -> None:
        self._loop = loop
        self._coarse = coarse
        self._moments: dict[Timed, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = inf  # when the timer is due

    def set(self, whom: Timed, moment: float) -> None:
        """Have the time checked at this moment, and at no other. An infinite one never comes."""
        self._moments[whom] = moment
        if moment < self._next:
            self._look_at(moment)

    def drop(self, whom: Timed) -> None:
        """Forget it."""
        self._moments.pop(whom, None)

    def moment(self, whom: Timed) -> float:
        """What is set; infinite for nothing."""
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
            if self._moments.pop(whom, None) is not None:  # else somebody before has dropped it
                whom.check_time()
        if self._moments:
            moment = max(min(self._moments.values()), now + self._coarse)
            if moment < self._next:
                self._look_at(moment)
