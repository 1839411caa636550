"""A request's body as it comes in on its HTTP/2 stream.

The client may send more as soon as what it sent is taken: by whoever reads the body, or by nobody once its stream is
over. What nobody takes yet is no more than the stream's window.
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
        self.closed = False  # nobody reads it any more
        self.limit = 0  # LimitRequestBody, where no length was announced; 0 is none
        self.spool: Spool | None = None
        self.waiting: list[tuple[bytes, int]] = []  # what nobody took yet, and its size in the window
        self.wanted: asyncio.Future[None] | None = None  # whoever reads waits for this
        self.error: HTTPError | OSError | None = None  # why nobody gets it

    @property
    def ended(self) -> bool:
        """Whether all of it is here."""
        return self.stream.complete

    async def read(self) -> Spool:
        """All of it, read once. Raises HTTPError, OSError."""
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
        """It, as it comes: the client may send more once a piece is done with. Raises HTTPError, OSError."""
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
        """Interim responses stay here, as in Apache where H2EarlyHints does not say otherwise."""

    def take(self, data: bytes, size: int) -> None:
        """Some of it came, `size` bytes with its padding."""
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
        """Let go of what was read, and of what comes yet."""
        self.closed = True
        for _, size in self.waiting:
            self.connection.acknowledge(self.stream, size)
        self.waiting.clear()
        if self.spool is not None:
            self.spool.close()

    def too_large(self) -> HTTPError:
        """The error for more of it than LimitRequestBody says."""
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
