"""Closing in two steps (RFC 9112, 9.6): if a client still sends, a close would reset the
connection, and so lose the last response.

The response was sent. What still comes is read and dropped, until the client has closed, too. Most
do at once, so there is no wait for each: all are checked in one go, now and then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from socket import MSG_DONTWAIT, SHUT_WR

from ownhost.http.tls import TLSSocket
from ownhost.processes.worker.transport import Transport

INTERVAL = 0.1  # seconds between looks
SILENCE = 2.0  # seconds without a byte after which a client is closed
IN_ALL = 30.0  # seconds
MOST = 512  # clients at the same time; beyond that, the oldest is closed
SIZE = 65_536
READS = 16  # reads of so many bytes from one client in one check, so that the others have their turn
_RECEIVE = int(MSG_DONTWAIT)


class _Leaving:
    """A client that was told that the connection is over."""

    __slots__ = ("ends", "heard", "sock")

    def __init__(self, sock: Transport, now: float, longest: float) -> None:
        self.sock = sock
        self.heard = now
        self.ends = now + longest

    def has_ended(self, now: float) -> bool:
        """Drop what is here. Returns whether no further check is needed."""
        try:
            for _ in range(READS):
                if not self.sock.recv(SIZE, _RECEIVE):
                    return True
                self.heard = now
        except BlockingIOError:
            pass
        except OSError:
            return True
        return now - self.heard > SILENCE or now > self.ends


class Lingering:
    """The clients of a worker that may still be sending. `when_empty` is called when the last one is gone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, when_empty: Callable[[], None]) -> None:
        self._loop = loop
        self._when_empty = when_empty
        self._leaving: deque[_Leaving] = deque()  # oldest first
        self._looking = False

    def __len__(self) -> int:
        return len(self._leaving)

    def close(self, sock: Transport, longest: float = IN_ALL) -> None:
        """Close a client's socket, now for writing, and completely when the client has closed, too.

        It waits for at most `longest` seconds. With 0.0 there is one more check, and the bytes here
        by then are dropped.
        """
        raw: Transport = sock.detach() if isinstance(sock, TLSSocket) else sock
        try:
            sock.shutdown(SHUT_WR)
        except OSError:
            raw.close()
            return
        self._leaving.append(_Leaving(raw, self._loop.time(), longest))
        if len(self._leaving) > MOST:
            oldest = self._leaving.popleft()
            oldest.has_ended(self._loop.time())
            oldest.sock.close()
        if not self._looking:
            self._looking = True
            self._loop.call_later(INTERVAL, self._look)

    def end(self) -> None:
        """Stop waiting for all."""
        while self._leaving:
            self._leaving.popleft().sock.close()

    def _look(self) -> None:
        now = self._loop.time()
        for _ in range(len(self._leaving)):
            leaving = self._leaving.popleft()
            if leaving.has_ended(now):
                leaving.sock.close()
            else:
                self._leaving.append(leaving)
        self._looking = bool(self._leaving)
        if self._looking:
            self._loop.call_later(INTERVAL, self._look)
        else:
            self._when_empty()
