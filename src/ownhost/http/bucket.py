"""A token bucket: how much of something there may be in a time. Pure: it is given the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf


@dataclass(slots=True)
class Bucket:
    """`rate` tokens a second come back, and at most `burst` are kept. Times are seconds on any clock that runs evenly.

    It is full at first. An infinite rate is no limit.
    """

    rate: float
    burst: float
    left: float = field(init=False)
    at: float = field(init=False, default=0.0)  # when `left` was right

    def __post_init__(self) -> None:
        self.left = self.burst

    def take(self, now: float) -> bool:
        """Use one up. False where none is left."""
        self.refill(now)
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def charge(self, cost: float, now: float) -> float:
        """Use tokens up, now or in advance: the seconds until they are there."""
        self.refill(now)
        self.left -= cost
        return max(0.0, -self.left / self.rate)

    def refill(self, now: float) -> None:
        """Have what has come back until now."""
        if self.rate != inf:
            self.left = min(self.burst, self.left + (now - self.at) * self.rate)
            self.at = now
