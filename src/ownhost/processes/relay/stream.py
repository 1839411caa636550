"""The front's end of a pair: one request after the other, each to be answered by the process at the other end.

How the pair was made is somebody else's business (`relay.pool`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque

from ownhost.processes.relay.records import MOST, Asked, Conversation, Kind, Record, RecordError, State, Whose, unfold

READ_SIZE = 65_536


class RelayLost(Exception):
    """The other end is gone, or says what makes no sense. The message is one sentence for the error log."""


class RelayStream:
    """A pair, from the front's side. All that waits can be cancelled, and the stream is to be closed then."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._loop = loop
        self._conversation = Conversation()
        self._records: deque[Record] = deque()
        self._ended = False

    def __repr__(self) -> str:
        return f"<{self._conversation!r}, descriptor {self.sock.fileno()}>"

    async def ask(self, asked: Asked) -> Whose | None:
        """Ask whether the other end takes a request: None, or whose it says that it is. Raises RelayLost."""
        await self._say(Kind.REQUEST, asked.to_bytes())
        record = await self.read()
        if record.kind is Kind.TAKEN:
            return None
        try:
            return Whose.from_bytes(record.data)
        except RecordError as error:
            raise RelayLost(str(error)) from None

    async def send(self, data: bytes | memoryview) -> None:
        """Send some of what follows the head. Raises RelayLost."""
        for start in range(0, len(data), MOST):
            await self._say(Kind.BODY, data[start : start + MOST])

    async def _say(self, kind: Kind, data: bytes | memoryview) -> None:
        try:
            await self._loop.sock_sendall(self.sock, self._conversation.says(kind, data))
        except (OSError, RecordError) as error:
            raise RelayLost(f"who was to answer is gone: {error}") from None

    async def read(self) -> Record:
        """The other end's next record. Raises RelayLost."""
        while not self._records:
            try:
                data = await self._loop.sock_recv(self.sock, READ_SIZE)
                if not data:
                    raise RelayLost("who was to answer has ended")
                for record in self._conversation.feed(data):
                    self._records.extend(unfold(record))
            except (OSError, RecordError) as error:
                raise RelayLost(f"who was to answer is gone: {error}") from None
        return self._records.popleft()

    def end_input(self) -> None:
        """The client says no more: have the other end know. Once."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)

    @property
    def is_idle(self) -> bool:
        """Whether another request may be asked."""
        return self._conversation.state is State.IDLE and not self._records and not self._ended

    @property
    def has_news(self) -> bool:
        """Of an idle one: whether anything came from the other end, be it its end."""
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """End it: the other end learns that nobody waits for an answer."""
        self.sock.close()
