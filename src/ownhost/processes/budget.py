"""How much may be written to a log in a time: a bucket of bytes. Pure."""

from __future__ import annotations

from ownhost.http.bucket import Bucket

PER_LINE = 128  # bytes that a line costs at least: reading many small ones is work, too


class Budget(Bucket):
    """Bytes. What is written may be more than there is left: the next waits longer."""

    __slots__ = ()

    def spend(self, size: int, lines: int = 1) -> None:
        """So many bytes were taken, which are so many lines."""
        self.left -= max(size, PER_LINE * lines)

    def wait(self, now: float) -> float:
        """Seconds until more may be taken."""
        self.refill(now)
        return 0.0 if self.left > 0 else (PER_LINE - self.left) / self.rate
