"""How many words a process may say: a bucket for each channel. Pure: it is given the time.

Each word is work for the supervisor, which everybody depends on. Who says more than his bucket has is not read for a
while: what he says waits in his own channel, and costs him alone.
"""

from __future__ import annotations

from dataclasses import dataclass

# Words per second, and how many at once, by role. A gate asks for a mailbox for each name that is asked for first.
RATES: dict[str, tuple[float, float]] = {
    "gate": (2_000.0, 10_000.0),
    "worker": (200.0, 400.0),
    "launcher": (10.0, 20.0),
    "program": (10.0, 20.0),
    "logger": (10.0, 20.0),
}


@dataclass(slots=True)
class Bucket:
    """A token bucket: `rate` tokens come each second, up to `most`. Times are monotonic seconds."""

    rate: float
    most: float
    tokens: float
    since: float

    @classmethod
    def of(cls, role: str, now: float) -> Bucket:
        """A full one for a process of this role."""
        rate, most = RATES[role]
        return cls(rate, most, most, now)

    def take(self, now: float) -> float:
        """Take one token: seconds until there is another to take, 0 where there is one already."""
        self.tokens = min(self.most, self.tokens + (now - self.since) * self.rate) - 1.0
        self.since = now
        return max(0.0, (1.0 - self.tokens) / self.rate) if self.tokens < 1.0 else 0.0
