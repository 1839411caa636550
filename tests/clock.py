"""Time that goes on when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Clock(asyncio.AbstractEventLoop):
    """A loop with timers alone, whose time goes on when it is told so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []
        self.most = 0  # timers at a time

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self.now + delay, callback, args, self, context)
        self.timers.append(handle)
        self.most = max(self.most, sum(not timer.cancelled() for timer in self.timers))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing is kept of one: it says itself that it is cancelled."""

    def go_on(self, until: float) -> None:
        """Have time go on, and all timers that are due."""
        while self.timers:
            timer = min(self.timers, key=lambda timer: timer.when())
            if timer.when() > until:
                break
            self.timers.remove(timer)
            if not timer.cancelled():
                self.now = max(self.now, timer.when())
                timer._run()
        self.now = until
