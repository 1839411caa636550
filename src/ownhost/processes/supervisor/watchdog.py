"""Which processes stand still. Pure: it gets the time, and the entries on the pages (`heartbeat`).

A process whose loop is busy with one thing for too long, by its role, is ended and replaced, even
if it does not die: if the kernel holds it (state D), it dies later. Meanwhile its connections wait,
in listeners and mailboxes.
"""

from __future__ import annotations

from dataclasses import dataclass

INTERVAL = 1.0  # seconds between two checks
LATE = (
    2.0  # seconds that a look may come late by before it says nothing of others: then this process, or all, stood still
)
LONGEST = {"gate": 10.0, "logger": 10.0, "worker": 30.0, "launcher": 30.0, "resolver": 5.0}  # seconds, by role
DEATH = 2.0  # seconds after which a killed process counts as gone


@dataclass(slots=True)
class Watchdog:
    """Checks at regular times. Times are monotonic seconds."""

    last: float
    quiet_until: float = 0.0

    def look(self, now: float) -> bool:
        """Whether this check counts: not for a while after a late one, as when a machine was paused."""
        if now - self.last > INTERVAL + LATE:
            self.quiet_until = now + max(LONGEST.values())
        self.last = now
        return now >= self.quiet_until

    def is_stalled(self, role: str, busy_for: float) -> bool:
        """Whether a process is busy with one thing for too long."""
        return busy_for > LONGEST.get(role, float("inf"))
