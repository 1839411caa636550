"""A client's socket that another identity's worker has had before."""

from __future__ import annotations

from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET, SocketType
from struct import pack

_NO_LINGER = pack("ii", 0, 0)  # struct linger


class PassedSocket(SocketType):
    """The other worker may be hostile and hold it still: it could let whoever closes it wait (SO_LINGER) for hours.

    What both see of it (O_NONBLOCK) is not relied on, either: only calls that say themselves that they don't wait are
    made, so no sendfile(2).
    """

    def close(self) -> None:
        """Close, at once."""
        with suppress(OSError):
            self.setsockopt(SOL_SOCKET, SO_LINGER, _NO_LINGER)
        super().close()
