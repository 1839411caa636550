"""Asking a FastCGI program on a socket: one request per connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from ownhost.apps import fastcgi
from ownhost.apps.answer import SourceError, answer, keep
from ownhost.apps.backends import Connection
from ownhost.http.message import Content, HTTPError, Response
from ownhost.request.programs import Lease
from ownhost.request.request import Level, Request

CONNECT = 10.0  # seconds
READ = 65_536


async def ask_app(
    request: Request, lease: Lease, variables: Mapping[bytes, bytes], content: Content | None, timeout: float = 0.0
) -> Response:
    """The response of an app that listens where its lease says. Raises HTTPError 500, 503, 504."""
    try:
        async with asyncio.timeout(CONNECT):
            reader, writer = await asyncio.open_unix_connection(lease.path)
    except (OSError, TimeoutError) as error:
        lease.close()
        raise HTTPError(503, f"cannot reach the program at {lease.path}: {error}", module="proxy_fcgi") from None
    connection = Connection(reader, writer)
    return await ask(request, connection, variables, content, lease=lease, timeout=timeout)


async def ask(
    request: Request,
    connection: Connection,
    variables: Mapping[bytes, bytes],
    content: Content | None,
    *,
    lease: Lease | None = None,
    timeout: float = 0.0,
) -> Response:
    """The response of a program on a connection. Raises HTTPError 500, 504."""
    conversation = Conversation(request, connection, lease)
    conversation.sending = asyncio.ensure_future(conversation.send(variables, content))
    return await answer(request, conversation, "proxy_fcgi", timeout=timeout)


class Conversation:
    """One request and its answer (answer.Source)."""

    def __init__(self, request: Request, connection: Connection, lease: Lease | None) -> None:
        self.request = request
        self.connection = connection
        self.lease = lease
        self.responses = fastcgi.Responses()
        self.sending: asyncio.Future[None] | None = None
        self.ended = False

    async def send(self, variables: Mapping[bytes, bytes], content: Content | None) -> None:
        """Send the request, while its answer may come already. A program that does not want the body may close."""
        writer = self.connection.writer
        with contextlib.suppress(OSError):
            writer.write(fastcgi.begin(variables))
            for piece in () if content is None else content.pieces():
                writer.write(fastcgi.body(piece))
                await writer.drain()
            writer.write(fastcgi.end_of_body())
            await writer.drain()

    async def read(self) -> bytes:
        """Some more of the answer; b"" at its end."""
        while not self.ended:
            data = await self.connection.reader.read(READ)
            try:
                if not data:
                    self.responses.close()
                output = b"".join(self.take(event) for event in self.responses.feed(data))
            except fastcgi.FastCGIError as error:
                raise SourceError(str(error)) from None
            if output:
                return output
        return b""

    def take(self, event: fastcgi.Event) -> bytes:
        """What of an event is the answer's; complaints are logged."""
        match event:
            case fastcgi.Output(data=data):
                return data
            case fastcgi.Complaint(data=data):
                for line in data.decode("utf-8", "backslashreplace").splitlines():
                    self.request.log(Level.ERROR, "proxy_fcgi", f"Got error '{line}'")
            case fastcgi.End(protocol_status=status):
                if status is not fastcgi.ProtocolStatus.REQUEST_COMPLETE:
                    raise SourceError(f"the program did not take the request: {status.name}")
                self.ended = True
        return b""

    def close(self) -> None:
        """Be through with it."""
        keep(self._close())

    async def _close(self) -> None:
        if self.sending is not None:
            self.sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.sending
        self.connection.close()
        if self.lease is not None:
            self.lease.close()
