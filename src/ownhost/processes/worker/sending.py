"""Sending a response that does not go out at once, and receiving what has to be waited for."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from socket import MSG_DONTWAIT, MSG_NOSIGNAL, SocketType
from typing import TYPE_CHECKING, Any

from ownhost.http.framing import LAST_CHUNK, chunk
from ownhost.http.message import ClientGone, FileBody, Response, Stream
from ownhost.http.tls import TLSSocket
from ownhost.request.request import Request

if TYPE_CHECKING:
    from ownhost.processes.worker.h2_output import Transport

SENDFILE_SIZE = 1 << 20  # bytes per sendfile, so that other connections get their turn
RECEIVE_SIZE = 65_536
SEND = int(MSG_DONTWAIT | MSG_NOSIGNAL)


Gone = ClientGone


@dataclass(slots=True, eq=False)
class Sending:
    """A response on its way."""

    request: Request
    response: Response
    keep: bool  # the connection stays open after it
    line: str | None = None  # the request line of what is no request
    head_in: int = 0  # bytes of the request's head
    unread: bool = False  # the client may still be sending: close in two steps
    body: FileBody | Stream | None = None  # what is not in the first send
    head: bytes = b""  # as sent
    sent: int = 0  # bytes, head included
    content: int = -1  # bytes of the body that were sent; -1 where that is what was sent behind the head
    received: int = 0  # bytes of the request's body
    aborted: bool = False


async def ready(add: Callable[..., Any], remove: Callable[[int], Any], fd: int, timeout: float) -> None:
    """Wait until a descriptor can be read or written. Raises Gone after `timeout` seconds."""
    future = asyncio.get_running_loop().create_future()
    add(fd, _wake, future)
    try:
        async with asyncio.timeout(timeout):
            await future
    except TimeoutError:
        raise Gone from None
    finally:
        remove(fd)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def receive(loop: asyncio.AbstractEventLoop, sock: Transport, timeout: float) -> bytes:
    """The next bytes. Raises Gone at the end of the stream and after `timeout` seconds, OSError."""
    while True:
        try:
            data = sock.recv(RECEIVE_SIZE, MSG_DONTWAIT)
        except BlockingIOError:
            await ready(loop.add_reader, loop.remove_reader, sock.fileno(), timeout)
        else:
            if not data:
                raise Gone
            return data


class Sender:
    """Sends bytes, files and iterators to one socket; `sent` counts. `timeout` is seconds without progress."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: SocketType | TLSSocket, timeout: float) -> None:
        self.loop = loop
        self.sock = sock
        self.timeout = timeout
        self.sent = 0

    async def writable(self) -> None:
        """Wait for room. Raises Gone."""
        await ready(self.loop.add_writer, self.loop.remove_writer, self.sock.fileno(), self.timeout)

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises Gone, OSError."""
        rest = memoryview(data)
        while rest:
            try:
                count = self.sock.send(rest, SEND)
            except BlockingIOError:
                await self.writable()
                continue
            self.sent += count
            rest = rest[count:]

    async def send_body(self, body: FileBody | Stream | None, minor: int) -> None:
        """Send what follows the head, to a HTTP/1.`minor` client. Raises Gone where it, or part of the body, is."""
        if isinstance(body, FileBody):
            by_kernel = body.by_kernel and type(self.sock) is SocketType  # no other worker has it (PassedSocket)
            for part in body.parts:
                if isinstance(part, bytes):
                    await self.send(part)
                else:
                    await (self.send_file if by_kernel else self.copy_file)(body.fd, *part)
        elif body is not None and body.length is not None:
            await self.send_exactly(body, body.length)
        elif body is not None:
            async for data in body:
                if data:
                    await self.send(chunk(data) if minor else data)
            if minor:
                await self.send(LAST_CHUNK)

    async def send_exactly(self, body: Stream, length: int) -> None:
        """Send as much of a stream as was announced. Raises Gone where that is not all there."""
        async for data in body:
            await self.send(data[:length])
            length -= len(data)
            if length <= 0:
                return
        if length > 0:
            raise Gone

    async def send_file(self, fd: int, offset: int, length: int) -> None:
        """Send a range of a file. Raises Gone where the file is shorter by now: no wrong byte is ever sent for it."""
        end = offset + length
        assert isinstance(self.sock, SocketType)
        self.sock.setblocking(False)  # sendfile has no flag for it
        while offset < end:
            try:
                count = os.sendfile(self.sock.fileno(), fd, offset, min(end - offset, SENDFILE_SIZE))
            except BlockingIOError:
                await self.writable()
                continue
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                await self.copy_file(fd, offset, end - offset)  # a file system without sendfile
                return
            if count == 0:
                raise Gone
            self.sent += count
            offset += count
            await asyncio.sleep(0)

    async def copy_file(self, fd: int, offset: int, length: int) -> None:
        """The same by reading and sending (EnableSendfile Off)."""
        end = offset + length
        while offset < end:
            data = os.pread(fd, min(end - offset, RECEIVE_SIZE), offset)
            if not data:
                raise Gone
            await self.send(data)
            offset += len(data)
            await asyncio.sleep(0)
