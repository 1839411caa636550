"""HTTP/2 requests for another identity: written as HTTP/1, and a response made from the answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from ownhost.apps.http_client import BackendError, Content, Event, Exchange, Interim
from ownhost.apps.http_client import End as Complete
from ownhost.apps.http_client import Head as ResponseHead
from ownhost.http.framing import LAST_CHUNK, chunk
from ownhost.http.message import ClientGone, Head, HTTPError, Response
from ownhost.processes.relay.pool import Pool
from ownhost.processes.relay.records import End, Kind, RecordError
from ownhost.processes.relay.stream import RelayLost, RelayStream
from ownhost.processes.worker.h2_incoming import StreamBody
from ownhost.processes.worker.relaying import Target


def head_as_http1(head: Head) -> bytes:
    """A request's head as HTTP/1.1 has it."""
    fields = [f"{name}: {value}" for name, value in head.fields]
    if head.chunked:
        fields.append("transfer-encoding: chunked")
    return "\r\n".join((f"{head.method} {head.target} HTTP/1.1", *fields, "", "")).encode("latin-1")


class RelayedAnswer:
    """The answer to a request that its target has taken, as a response with a body that comes (http.message.Stream)."""

    def __init__(self, head: Head, body: StreamBody, target: Target, relay: RelayStream, pool: Pool[Target]) -> None:
        self.head = head  # of the request
        self.body = body
        self.target = target
        self.relay: RelayStream | None = relay
        self.pool = pool
        self.length: int | None = None
        self._exchange = Exchange()
        # Only the request's method matters for the response.
        self._exchange.request(head.method, "/", [("Host", "relay")], 0)
        self._exchange.end_of_body()
        self._pieces: list[bytes] = []  # of the response's body, received with its head
        self._upload = asyncio.ensure_future(self._send_body(relay))

    async def begin(self) -> Response:
        """The response. Raises HTTPError."""
        try:
            while True:
                for event in await self._more():
                    match event:
                        case ResponseHead():
                            self.length = event.content_length
                            ours = ("server", "date")  # the connection says them
                            fields = [field for field in event.fields if field[0].lower() not in ours]
                            return Response(event.status, fields, self)
                        case Interim(status=100):
                            self.body.go_ahead()
        except RelayLost as lost:
            self.close()
            raise HTTPError(502, f"a relayed request was not answered: {lost}") from None
        except BaseException:
            self.close()
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._pieces or self.relay is not None:
            pieces, self._pieces = self._pieces, []
            for piece in pieces:
                yield piece
            if self.relay is None:
                return
            try:
                await self._more()
            except RelayLost:
                raise ClientGone from None  # the announced length cannot be kept

    def close(self) -> None:
        """Stop it: it is not wanted any more, or all of it was read."""
        self._upload.cancel()
        relay, self.relay = self.relay, None
        if relay is not None:
            relay.close()

    async def _more(self) -> list[Event]:
        """The next event; pieces of the body are kept. Raises RelayLost."""
        assert self.relay is not None
        try:
            record = await self.relay.read()
            if record.kind is not Kind.DATA:
                raise RelayLost("it switches to another protocol, which HTTP/2 does not know")
            events = self._exchange.feed(record.data)
            self._pieces += [event.data for event in events if isinstance(event, Content)]
            if any(isinstance(event, Complete) for event in events):
                await self._finish(self.relay)
        except (BackendError, RecordError) as error:
            raise RelayLost(str(error)) from None
        return events

    async def _finish(self, relay: RelayStream) -> None:
        """All of it is here: the pair can serve again. Raises RelayLost, RecordError."""
        record = await relay.read()
        if record.kind is not Kind.END:
            raise RelayLost(f"{record.kind.name} behind an answer")
        self.relay = None
        if End.from_bytes(record.data).again and self.body.ended:
            await self._upload  # all of it was sent, as all was read: this is only its last step
            self.pool.keep(self.target, relay)
        else:
            relay.close()

    async def _send_body(self, relay: RelayStream) -> None:
        """Pass on the request's body, as it comes."""
        head = self.head
        if not head.has_body:
            return
        with contextlib.suppress(RelayLost, OSError):
            async for piece in self.body.pieces():
                await relay.send(chunk(piece) if head.chunked else piece)
            if head.chunked:
                await relay.send(LAST_CHUNK)
