"""A request's body as it arrives on its HTTP/2 stream.

The client may send more as soon as its bytes were taken: by the reader of the body, or dropped
after the stream is over. Untaken bytes never exceed the stream's window.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from ownhost.apps.spool import Spool
from ownhost.http.message import HTTPError
from ownhost.processes.worker.h2_client import Http2Client
from ownhost.processes.worker.h2_stream import Stream


class StreamBody:
    """The body of one request (http.message.RequestBody)."""

    __slots__ = ("closed", "connection", "error", "limit", "spool", "stream", "waiting", "wanted")

    def __init__(self, connection: Http2Client, stream: Stream) -> None:
        self.connection = connection
        self.stream = stream
        self.closed = False  # it is not read any more
        self.limit = 0  # LimitRequestBody, if no length was announced; 0 is none
        self.spool: Spool | None = None
        self.waiting: list[tuple[bytes, int]] = []  # pieces not taken yet, and their size in the window
        self.wanted: asyncio.Future[None] | None = None  # the reader waits for this
        self.error: HTTPError | OSError | None = None  # why it cannot be read

    @property
    def ended(self) -> bool:
        """Whether all of it is here."""
        return self.stream.complete

    async def read(self) -> Spool:
        """Read all of it, once. Raises HTTPError, OSError."""
        if self.spool is None:
            self.spool = Spool()
            self.limit = self.stream.answering.body_limit
            if self.stream.expects and not self.waiting and not self.ended:
                self.go_ahead()
            waiting, self.waiting = self.waiting, []
            for data, size in waiting:
                self._store(data, size)
        while not self.ended and self.error is None:
            await self._more()
        if self.error is not None:
            raise self.error
        return self.spool

    def go_ahead(self) -> None:
        """Tell a client that waits with it to send it."""
        self.connection.talk.go_ahead(self.stream)
        self.connection.soon()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its pieces, as they come: the client may send more after each. Raises HTTPError, OSError."""
        while self.error is None and not self.closed:
            waiting, self.waiting = self.waiting, []
            for data, size in waiting:
                yield data
                self.connection.acknowledge(self.stream, size)
            if self.ended and not self.waiting:
                return
            if not self.waiting:
                await self._more()

    async def tell(self, _status: int, _fields: Sequence[tuple[str, str]]) -> None:
        """Drop interim responses, as Apache does unless H2EarlyHints is on."""

    def take(self, data: bytes, size: int) -> None:
        """A piece came, `size` bytes with its padding."""
        if self.closed:
            self.connection.acknowledge(self.stream, size)
        elif self.spool is None:
            self.waiting.append((data, size))
            self.wake()
        else:
            self._store(data, size)

    def wake(self) -> None:
        """There is more of it, or all."""
        if self.wanted is not None and not self.wanted.done():
            self.wanted.set_result(None)

    def close(self) -> None:
        """Drop what was received, and what still comes."""
        self.closed = True
        for _, size in self.waiting:
            self.connection.acknowledge(self.stream, size)
        self.waiting.clear()
        if self.spool is not None:
            self.spool.close()

    def too_large(self) -> HTTPError:
        """The error for a body larger than LimitRequestBody."""
        limit = self.stream.answering.body_limit
        why = f"Read content length of {self.stream.size} is larger than the configured limit of {limit}"
        return HTTPError(413, f"AH01591: {why}", module="http")

    async def _more(self) -> None:
        self.wanted = self.connection.worker.loop.create_future()
        await self.wanted

    def _store(self, data: bytes, size: int) -> None:
        self.connection.acknowledge(self.stream, size)
        if self.error is not None:
            return
        assert self.spool is not None
        try:
            if 0 < self.limit < self.stream.size:
                raise self.too_large()
            self.spool.write(data)
        except (OSError, HTTPError) as error:
            self.error = error
            self.wake()
