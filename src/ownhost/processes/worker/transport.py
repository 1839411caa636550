"""What a client is spoken with over."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A connected socket, or TLS on one: what is read and written never waits (BlockingIOError)."""

    def recv(self, size: int, flags: int, /) -> bytes:
        """At most `size` bytes; b"" at the end. Raises OSError."""

    def send(self, data: bytes | bytearray | memoryview, flags: int, /) -> int:
        """Send some of it, and say how much. What is sent next begins with the rest. Raises OSError."""

    def fileno(self) -> int:
        """The descriptor that is watched."""

    def shutdown(self, how: int, /) -> None:
        """Say that nothing more will be sent. Raises OSError."""

    def close(self) -> None:
        """Close it."""
