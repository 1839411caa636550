"""A token bucket: a limit on how much of something there may be in a time. Pure: the caller gives the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf


@dataclass(slots=True)
class Bucket:
    """`rate` tokens a second come back, up to `burst`. Times are seconds on any clock that runs evenly.

    It is full at first. An infinite rate is no limit.
    """

    rate: float
    burst: float
    left: float = field(init=False)
    at: float = field(init=False, default=0.0)  # when `left` was right

    def __post_init__(self) -> None:
        self.left = self.burst

    def take(self, now: float) -> bool:
        """Use one token. False if none is left."""
        self.refill(now)
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def charge(self, cost: float, now: float) -> float:
        """Use tokens, now or in advance. Returns the seconds until they are there."""
        self.refill(now)
        self.left -= cost
        return max(0.0, -self.left / self.rate)

    def refill(self, now: float) -> None:
        """Add the tokens that have come back."""
        if self.rate != inf:
            self.left = min(self.burst, self.left + (now - self.at) * self.rate)
            self.at = now
