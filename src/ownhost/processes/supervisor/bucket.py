"""A token bucket: how much of something one process may have done for it. Pure: it is given the time."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """`rate` tokens a second come, and at most `size` are kept. Times are monotonic seconds."""

    rate: float
    size: float
    tokens: float = field(init=False)
    last: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.size

    def take(self, cost: float, now: float) -> float:
        """Take tokens, now or in advance: the seconds until they are there."""
        self.tokens = min(self.size, self.tokens + (now - self.last) * self.rate) - cost
        self.last = now
        return max(0.0, -self.tokens / self.rate)
