"""Which processes stand still. Pure: it is given the time, and what the pages say (`pulse`).

A process whose loop is at one thing for longer than its role may be is ended, and replaced though it may not die: one
that the kernel holds (state D) dies when that lets go. Its connections wait meanwhile, in listeners and mailboxes.
"""

from __future__ import annotations

from dataclasses import dataclass

INTERVAL = 1.0  # seconds between two looks
LATE = (
    2.0  # seconds that a look may come late by before it says nothing of others: then this process, or all, stood still
)
LONGEST = {"gate": 10.0, "logger": 10.0, "worker": 30.0, "launcher": 30.0, "resolver": 5.0}  # seconds, by role
DEATH = 2.0  # seconds that a killed process gets before it is taken for gone


@dataclass(slots=True)
class Watchdog:
    """Looks at regular times. Times are monotonic seconds."""

    last: float
    quiet_until: float = 0.0

    def look(self, now: float) -> bool:
        """Whether this look counts: not for a while after one that came late, as when a machine was stopped."""
        if now - self.last > INTERVAL + LATE:
            self.quiet_until = now + max(LONGEST.values())
        self.last = now
        return now >= self.quiet_until

    def stands_still(self, role: str, busy_for: float) -> bool:
        """Whether a process is at one thing for too long."""
        return busy_for > LONGEST.get(role, float("inf"))
