"""A request's body as it comes in on its HTTP/2 stream.

The client may send more as soon as what it sent is taken: by whoever reads the body, or by nobody once its stream is
over. What nobody takes yet is no more than the stream's window.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from ownhost.apps.spool import Spool
from ownhost.http.h2_frames import HEAD_SIZE
from ownhost.http.limits import LIMIT_REQUEST_BODY
from ownhost.http.message import HTTPError

if TYPE_CHECKING:
    from ownhost.processes.worker.h2_stream import Stream

CONTINUE = [(b":status", b"100")]


class StreamBody:
    """The body of one request (http.message.RequestBody)."""

    __slots__ = (
        "begun",
        "dropped",
        "ended",
        "error",
        "last",
        "limit",
        "received",
        "size",
        "spool",
        "stream",
        "waiting",
        "wanted",
    )

    def __init__(self, stream: Stream, *, ended: bool) -> None:
        self.stream = stream
        self.begun = self.last = stream.connection.worker.loop.time()
        self.ended = ended  # all of it is here
        self.dropped = False  # nobody reads it any more
        self.size = 0  # bytes
        self.received = 0  # the same with padding and frames' heads
        self.limit = 0  # LimitRequestBody, where no length was announced; 0 is none
        self.spool: Spool | None = None
        self.waiting: list[tuple[bytes, int]] = []  # what nobody took yet, and its size in the window
        self.wanted: asyncio.Future[None] | None = None  # whoever reads waits for this
        self.error: HTTPError | OSError | None = None  # why nobody gets it

    async def read(self) -> Spool:
        """All of it, read once. Raises HTTPError, OSError."""
        request, connection = self.stream.request, self.stream.connection
        assert request is not None
        if self.spool is None:
            self.spool = Spool()
            self._limit()
            if request.head.expect_continue and not self.waiting and not self.ended:
                self.stream.go_ahead()
            waiting, self.waiting = self.waiting, []
            for data, size in waiting:
                self._store(data, size)
        while not self.ended and self.error is None:
            self.wanted = connection.worker.loop.create_future()
            await self.wanted
        if self.error is not None:
            raise self.error
        return self.spool

    async def pieces(self) -> AsyncIterator[bytes]:
        """It, as it comes: the client may send more once a piece is done with. Raises HTTPError, OSError."""
        connection = self.stream.connection
        while self.error is None and not self.dropped:
            waiting, self.waiting = self.waiting, []
            for data, size in waiting:
                yield data
                connection.acknowledge(self.stream.id, size)
            if self.ended and not self.waiting:
                return
            if not self.waiting:
                self.wanted = connection.worker.loop.create_future()
                await self.wanted

    async def tell(self, _status: int, _fields: Sequence[tuple[str, str]]) -> None:
        """Interim responses stay here, as in Apache where H2EarlyHints does not say otherwise."""

    def take(self, data: bytes, size: int) -> None:
        """Some of it came, `size` bytes with its padding."""
        self.size += len(data)
        self.received += HEAD_SIZE + size
        self.last = self.stream.connection.worker.loop.time()
        if self.dropped:
            self.stream.connection.acknowledge(self.stream.id, size)
            if self.limit and self.size > self.limit:
                self.stream.refuse_held(self._too_large())
        elif self.spool is None:
            self.waiting.append((data, size))
            self._wake()
        else:
            self._store(data, size)

    def keeps_length(self, more: int, *, last: bool) -> bool:
        """Whether it is as long as its head said, with `more` bytes that come next, or can still be."""
        request = self.stream.request
        if request is None or request.head.chunked:
            return True
        size = self.size + more
        return size == request.head.content_length or (not last and size < request.head.content_length)

    def drop(self) -> None:
        """Nobody will read it."""
        self._limit()
        self.close()

    def end(self) -> None:
        """All of it came."""
        self.ended = True
        self._wake()

    def deadline(self) -> float:
        """When the client has taken too long, in loop time."""
        service = self.stream.service
        return min(service.read_timeout.body_deadline(self.begun, self.received), self.last + self.stream.timeout)

    def close(self) -> None:
        """Let go of what was read, and of what comes yet."""
        self.dropped = True
        for _, size in self.waiting:
            self.stream.connection.acknowledge(self.stream.id, size)
        self.waiting.clear()
        if self.spool is not None:
            self.spool.close()

    def _limit(self) -> None:
        request = self.stream.request
        if request is not None and not request.head.content_length:  # which is checked already
            self.limit = (request.settings or request.site.settings)[LIMIT_REQUEST_BODY]

    def _too_large(self) -> HTTPError:
        why = f"Read content length of {self.size} is larger than the configured limit of {self.limit}"
        return HTTPError(413, f"AH01591: {why}", module="http")

    def _store(self, data: bytes, size: int) -> None:
        self.stream.connection.acknowledge(self.stream.id, size)
        if self.error is not None:
            return
        if self.limit and self.size > self.limit:
            self.error = self._too_large()
            self._wake()
            return
        assert self.spool is not None
        try:
            self.spool.write(data)
        except (OSError, HTTPError) as error:
            self.error = error
            self._wake()

    def _wake(self) -> None:
        if self.wanted is not None and not self.wanted.done():
            self.wanted.set_result(None)
