"""How much may be written to a log in a time: a bucket that fills at a rate, and never beyond its size. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

PER_LINE = 128  # bytes that a line costs at least: reading many small ones is work, too


@dataclass(slots=True)
class Budget:
    """Bytes. Times are monotonic seconds. What is written may be more than there is left: the next waits longer."""

    rate: float  # bytes a second; infinite where there is no limit
    burst: float
    left: float = field(init=False)
    at: float = field(init=False, default=0.0)  # when `left` was right

    def __post_init__(self) -> None:
        self.left = self.burst

    def spend(self, size: int, lines: int = 1) -> None:
        """So many bytes were taken, which are so many lines."""
        self.left -= max(size, PER_LINE * lines)

    def wait(self, now: float) -> float:
        """Seconds until more may be taken."""
        if self.rate != inf:
            self.left = min(self.burst, self.left + (now - self.at) * self.rate)
            self.at = now
        return 0.0 if self.left > 0 else (PER_LINE - self.left) / self.rate
