"""Watching processes: one that stands still is ended, and replaced. `watchdog` decides, and is pure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ownhost.processes.supervisor.children import Child, Children
from ownhost.processes.supervisor.watchdog import DEATH, INTERVAL, Watchdog


class Watch:
    """Checks all processes' pages, at regular times.

    `forget` goes on without a process that was killed and does not die; `complain` writes to the
    log.
    """

    def __init__(
        self, children: Children, forget: Callable[[Child], None], complain: Callable[[str], None], now: float
    ) -> None:
        self.children = children
        self.forget = forget
        self.complain = complain
        self.dog = Watchdog(now)

    def look(self) -> None:
        """Check, and schedule the next check."""
        now = time.monotonic()
        loop = asyncio.get_running_loop()
        loop.call_later(INTERVAL, self.look)
        if not self.dog.look(now):
            return
        for child in self.children:
            busy_for = child.heartbeat.busy_for(now)
            if not child.doomed and self.dog.is_stalled(child.role, busy_for):
                self.complain(f"{child.role} (pid {child.pid}) has stood still for {busy_for:.0f} s: it is ended")
                self.children.kill(child)
                loop.call_later(DEATH, self._replace, child)

    def _replace(self, child: Child) -> None:
        """Go on without a process that was killed, though the kernel may still hold it."""
        if not child.gone:
            self.complain(f"{child.role} (pid {child.pid}) does not end, as the kernel holds it: it is replaced")
            self.forget(child)
