"""A limit on what may be written to a log in a time: a bucket of bytes. Pure."""

from __future__ import annotations

from ownhost.http.bucket import Bucket

PER_LINE = 128  # the least cost of a line in bytes: reading many small ones is work, too


class Budget(Bucket):
    """A budget in bytes. A write may exceed what is left; then the next one waits longer."""

    __slots__ = ()

    def spend(self, size: int, lines: int = 1) -> None:
        """Spend so many bytes for so many lines."""
        self.left -= max(size, PER_LINE * lines)

    def wait(self, now: float) -> float:
        """Seconds until more may be taken."""
        self.refill(now)
        return 0.0 if self.left > 0 else (PER_LINE - self.left) / self.rate
