"""Copying one HTTP/1 request's body to a target, and its answer to the client, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from ownhost.http.body import BodyReader
from ownhost.http.message import ClientGone, HTTPError
from ownhost.processes.relay.records import End, Kind, RecordError
from ownhost.processes.relay.stream import RelayLost, RelayStream


class Copying:
    """A request that its target has taken, until its answer is complete.

    `receive` returns the client's next bytes, and raises ClientGone at their end; `send` sends all
    of some bytes, and raises ClientGone or OSError; `switch` is called before another protocol
    follows. `body` tells where the request ends; `begun` was read after its head.
    """

    def __init__(
        self,
        stream: RelayStream,
        body: BodyReader,
        begun: bytes,
        receive: Callable[[], Awaitable[bytes]],
        send: Callable[[bytes], Awaitable[None]],
        switch: Callable[[], None] = lambda: None,
    ) -> None:
        self.stream = stream
        self.rest = begun  # read from the client, and not passed on: another request, after this one
        self.tunnelled = False
        self.sent = False  # whether the client has received any of the answer
        self._body = body
        self._uploaded = False  # all of the body is passed on
        self._receive = receive
        self._send = send
        self._switch = switch

    @property
    def has_read_all(self) -> bool:
        """Whether nothing but another request, or the end, can come from the client."""
        return self._body.complete and not self.tunnelled

    async def run(self) -> End:
        """Copy until the answer is complete. Raises ClientGone, OSError; RelayLost if the target leaves."""
        upload = None if self._body.complete else asyncio.ensure_future(self._upload())
        try:
            while True:
                record = await self.stream.read()
                match record.kind:
                    case Kind.DATA:
                        self.sent = True
                        await self._send(record.data)
                    case Kind.TUNNEL:
                        self.tunnelled = True
                        self._switch()
                        upload = asyncio.ensure_future(self._upload_all(upload))
                    case Kind.END:
                        end = End.from_bytes(record.data)
                        if upload is not None and (end.keep or end.again):
                            await upload  # all of it is sent, as all was read: this is only the last step
                            if not self._uploaded:
                                raise RelayLost("it answered a request that was not over, and would go on")
                        return end
        except RecordError as error:
            raise RelayLost(str(error)) from None
        except RelayLost:
            if not self.tunnelled:
                raise
            return End(keep=False, again=False)
        finally:
            if upload is not None:
                upload.cancel()
                await asyncio.gather(upload, return_exceptions=True)

    async def _upload(self) -> None:
        """Pass on the body as it comes. The target sees errors in it, too, and answers."""
        data, self.rest = self.rest, b""
        with contextlib.suppress(RelayLost):  # the reader of the answer reports it
            while True:
                if data:
                    try:
                        self._body.feed(data)
                    except HTTPError:
                        await self.stream.send(data)
                        self.stream.end_input()
                        return
                    rest = self._body.leftover
                    await self.stream.send(data[: len(data) - len(rest)] if rest else data)
                if self._body.complete:
                    self.rest, self._uploaded = self._body.leftover, True
                    return
                try:
                    data = await self._receive()
                except (ClientGone, OSError):
                    self.stream.end_input()
                    return

    async def _upload_all(self, before: asyncio.Future[None] | None) -> None:
        """Pass on all of the client's bytes: they are not HTTP any more."""
        if before is not None:
            await before
        data, self.rest = self.rest, b""
        with contextlib.suppress(RelayLost):
            while True:
                if data:
                    await self.stream.send(data)
                try:
                    data = await self._receive()
                except (ClientGone, OSError):
                    self.stream.end_input()
                    return
