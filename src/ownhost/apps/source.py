"""A program's output, as the maker of a response reads it."""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """A program's output."""

    ended: bool  # there is no more: no read is needed

    async def read(self, deadline: float) -> bytes:
        """Some more; b"" at the end. Raises OSError, SourceError, TimeoutError at the deadline (monotonic time)."""

    def close(self) -> None:
        """Stop it: the output is not wanted any more."""


class SourceError(Exception):
    """A program's response ends too early, or is invalid. One sentence for the error log."""
