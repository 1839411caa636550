"""How much may be written to a log in a time: a bucket that fills at a rate, and never beyond its size. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

PER_MESSAGE = 128  # bytes that a message costs at least: reading many small ones is work, too


@dataclass(slots=True)
class Budget:
    """Bytes. Times are monotonic seconds. A message may take more than there is left: the next one waits longer."""

    rate: float  # bytes a second; infinite where there is no limit
    burst: float
    left: float = field(init=False)
    at: float = field(init=False, default=0.0)  # when `left` was right

    def __post_init__(self) -> None:
        self.left = self.burst

    def spend(self, size: int, now: float) -> None:
        """A message of so many bytes was taken."""
        self._fill(now)
        self.left -= max(size, PER_MESSAGE)

    def wait(self, now: float) -> float:
        """Seconds until another message may be taken."""
        self._fill(now)
        return 0.0 if self.left > 0 else (PER_MESSAGE - self.left) / self.rate

    def _fill(self, now: float) -> None:
        if self.rate != inf:
            self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
