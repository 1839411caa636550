"""A client's socket that another identity's worker has had before."""

from __future__ import annotations

from socket import SocketType

from ownhost.processes.messages import do_not_linger


class PassedSocket(SocketType):
    """The other worker may be hostile and hold it still: it could let whoever closes it wait (SO_LINGER) for hours.

    What both see of it (O_NONBLOCK) is not relied on, either: only calls that say themselves that they don't wait are
    made, so no sendfile(2).
    """

    def close(self) -> None:
        """Close, at once."""
        do_not_linger(self)
        super().close()
