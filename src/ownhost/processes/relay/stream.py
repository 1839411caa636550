"""The front's end of a pair: one request after another, each answered by the process at the other end.

How the pair was made does not matter here (`relay.pool`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque

from ownhost.processes.relay.records import (
    MOST,
    Asked,
    Conversation,
    Kind,
    NamedIdentity,
    Record,
    RecordError,
    State,
    unfold,
)

READ_SIZE = 65_536


class RelayLost(Exception):
    """The other end is gone, or its records make no sense. The message is one sentence for the error log."""


class RelayStream:
    """A pair, from the front's side. Every wait can be cancelled; then the stream must be closed.

    It is watched from the first request on, also between requests: to start and stop watching costs
    more than a request.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._loop = loop
        self._conversation = Conversation()
        self._records: deque[Record] = deque()
        self._lost = ""  # why nothing more can come
        self._watched = False
        self._reader: asyncio.Future[None] | None = None  # the waiter for a record
        self._ended = False

    def __repr__(self) -> str:
        return f"<{self._conversation!r}, descriptor {self.sock.fileno()}>"

    async def ask(self, asked: Asked) -> NamedIdentity | None:
        """Ask whether the other end takes a request: None, or the identity that it names instead. Raises RelayLost."""
        await self._say(Kind.REQUEST, asked.to_bytes())
        record = await self.read()
        if record.kind is Kind.TAKEN:
            return None
        try:
            return NamedIdentity.from_bytes(record.data)
        except RecordError as error:
            raise RelayLost(str(error)) from None

    async def send(self, data: bytes | memoryview) -> None:
        """Send some of the bytes after the head. Raises RelayLost."""
        for start in range(0, len(data), MOST):
            await self._say(Kind.BODY, data[start : start + MOST])

    async def _say(self, kind: Kind, data: bytes | memoryview) -> None:
        try:
            said = self._conversation.says(kind, data)
            with contextlib.suppress(BlockingIOError):
                said = said[self.sock.send(said, socket.MSG_NOSIGNAL) :]
            if said:
                await self._loop.sock_sendall(self.sock, said)
        except (OSError, RecordError) as error:
            raise RelayLost(f"the answering process is gone: {error}") from None

    async def read(self) -> Record:
        """The other end's next record. Raises RelayLost."""
        while not self._records:
            if self._lost:
                raise RelayLost(self._lost)
            if not self._watched:
                self._watched = True
                self._loop.add_reader(self.sock.fileno(), self._readable)
            self._reader = self._loop.create_future()
            await self._reader
        return self._records.popleft()

    def _readable(self) -> None:
        """Handle new bytes, after earlier ones were read."""
        if self._records:
            self._unwatch()
            return
        try:
            data = self.sock.recv(READ_SIZE)
            for record in self._conversation.feed(data):
                self._records.extend(unfold(record))
            self._lost = "" if data else "the answering process has ended"
        except BlockingIOError:
            return
        except (OSError, RecordError) as error:
            self._lost = f"the answering process is gone: {error}"
        if self._lost:
            self._unwatch()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self.sock.fileno())

    def end_input(self) -> None:
        """The client sends no more: tell the other end. Once."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)

    @property
    def is_idle(self) -> bool:
        """Whether it can carry another request."""
        return self._conversation.state is State.IDLE and not (self._records or self._lost or self._ended)

    def close(self) -> None:
        """Close it: the other end learns that its answer is not wanted."""
        self._unwatch()
        self.sock.close()
