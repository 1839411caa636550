"""A request's body as it arrives on its connection: read by its user, or read and dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import MSG_NOSIGNAL

from ownhost.apps.spool import Spool
from ownhost.http.body import BodyReader
from ownhost.http.framing import CONTINUE, interim
from ownhost.http.limits import LIMIT_REQUEST_BODY
from ownhost.http.message import ClientGone, HTTPError
from ownhost.modules.reqtimeout import TOO_LONG
from ownhost.processes.worker.driven import Driven
from ownhost.processes.worker.sending import Ended, Sender, TooSlow, receive
from ownhost.processes.worker.service import Service
from ownhost.request.request import Request


class Incoming:
    """The body of one request (http.message.RequestBody)."""

    def __init__(self, connection: Driven, service: Service, request: Request) -> None:
        self.connection = connection
        self.service = service
        self.head = request.head
        # A length is checked already. A body whose response came before the settings were merged
        # has the server's limit.
        limit = (request.settings or service.site.settings)[LIMIT_REQUEST_BODY]
        self.reader = BodyReader(request.head, service.limits, 0 if request.head.content_length else limit)
        self.received = 0  # bytes of it, framing included
        self.spool: Spool | None = None

    async def read(self) -> Spool:
        """Read all of it, once. Raises HTTPError, Gone, OSError."""
        if self.spool is None:
            self.spool = Spool()
            if self.head.expect_continue and not self.connection.talk.buffer:
                self.connection.sock.send(CONTINUE, MSG_NOSIGNAL)
            await self._take(self.spool.write)
        return self.spool

    async def tell(self, status: int, fields: Sequence[tuple[str, str]]) -> None:
        """Send an interim response, which HTTP/1.0 does not know. Raises Gone."""
        if not self.head.knows_chunks:
            return
        connection = self.connection
        try:
            await Sender(connection.worker.loop, connection.sock, self.service.timeout).send(interim(status, fields))
        except OSError:
            raise ClientGone from None

    async def discard(self) -> None:
        """Read and drop an unwanted body, to get to the request after it. Raises HTTPError, Gone, OSError."""
        await self._take(lambda _: None)

    async def _take(self, take: Callable[[bytes], None]) -> None:
        if self.reader.complete:
            return
        connection, talk, reader = self.connection, self.connection.talk, self.reader
        loop = connection.worker.loop
        begun = loop.time()
        data, talk.buffer = talk.buffer, b""
        while True:
            if data:
                take(reader.feed(data))
                self.received += len(data)
            if reader.complete:
                talk.buffer = reader.leftover
                self.received -= len(reader.leftover)
                return
            left = self.service.read_timeout.body_deadline(begun, self.received) - loop.time()
            try:
                data = await receive(loop, connection.sock, min(left, self.service.timeout))
            except Ended:
                raise HTTPError(400, "the client ended its stream within a request's body") from None
            except TooSlow:
                raise HTTPError(408, TOO_LONG.format("body"), module="reqtimeout") from None
            except OSError:
                raise ClientGone from None

    @property
    def complete(self) -> bool:
        """Whether all of it was read: only a further request, or the end, can come now."""
        return self.reader.complete

    def close(self) -> None:
        """Drop what was read."""
        if self.spool is not None:
            self.spool.close()
