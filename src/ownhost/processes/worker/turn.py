"""A turn of a worker: what was seen of the file system holds for requests that were sent before it was seen.

All that became readable at once was sent before any of it is answered. What is taken out of the
mailbox later in the same turn may be a request for what has changed since the last answer.
"""

from __future__ import annotations

from collections.abc import Callable


class Turn:
    """What is done when a turn is over: at its end in the event loop (`call_soon`), or before."""

    __slots__ = ("calls", "soon")

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self.soon = call_soon
        self.calls: list[Callable[[], None]] = []

    def at_end(self, call: Callable[[], None]) -> None:
        """Call a function when the turn is over."""
        if not self.calls:
            self.soon(self.end)
        self.calls.append(call)

    def end(self) -> None:
        """End the turn now."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()
