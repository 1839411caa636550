"""The byte stream of a client."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A connected socket, or TLS on one: reads and writes never block (BlockingIOError)."""

    def recv(self, size: int, flags: int, /) -> bytes:
        """At most `size` bytes; b"" at the end. Raises OSError."""

    def send(self, data: bytes | bytearray | memoryview, flags: int, /) -> int:
        """Send some of it. Returns how much. The next send begins with the rest. Raises OSError."""

    def fileno(self) -> int:
        """The descriptor to watch."""

    def shutdown(self, how: int, /) -> None:
        """Tell the client that nothing more will be sent. Raises OSError."""

    def close(self) -> None:
        """Close it."""
