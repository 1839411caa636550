"""What a program says, as whoever makes a response of it reads it."""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """What a program says, as it says it."""

    ended: bool  # there is no more, without asking

    async def read(self, deadline: float) -> bytes:
        """Some more; b"" at the end. Raises OSError, SourceError, TimeoutError at the deadline (monotonic time)."""

    def close(self) -> None:
        """Nobody listens any more."""


class SourceError(Exception):
    """A program's answer ends before it is complete, or is none. One sentence for the error log."""
