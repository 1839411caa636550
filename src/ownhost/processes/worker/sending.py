"""Sending a response: the data that is here as far as possible, a program's as it comes; and
receiving with a time limit.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from socket import MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, SocketType
from typing import Any

from ownhost.http.framing import LAST_CHUNK, chunk
from ownhost.http.message import ClientGone, FileBody, Response, Stream
from ownhost.processes.worker.transport import Transport
from ownhost.request.request import Request

PER_TURN = 1 << 22  # bytes of a response that are sent before other connections have their turn: about a millisecond
COPIED = 65_536  # bytes of a file that are read at a time if it is neither mapped nor sent by the kernel
MAPPED = 1 << 20  # bytes of a range that make it worth mapping
WINDOW = 1 << 24  # bytes that are mapped at a time
RECEIVE_SIZE = 65_536
SEND = int(MSG_DONTWAIT | MSG_NOSIGNAL)  # as plain integers: joining enumeration members costs more than a send
SEND_MORE = SEND | int(MSG_MORE)  # the next bytes should be in the same packet


Gone = ClientGone


class Ended(Gone):
    """The client has ended its side of the stream: it may still read."""


class TooSlow(Gone):
    """Nothing came, or nothing was received, for too long."""


class Window:
    """A part of a file that is mapped into memory, as long as its connection gets requests for that file.

    A mapped file keeps its inode's number, so the number identifies it. Raises OSError, ValueError
    if it cannot be mapped.
    """

    __slots__ = ("_file", "_mapped", "start", "view")

    def __init__(self, fd: int, stat: os.stat_result, offset: int, length: int) -> None:
        self._file = stat.st_dev, stat.st_ino
        self.start = offset - offset % mmap.ALLOCATIONGRANULARITY
        size = min(offset + length - self.start, WINDOW)
        self._mapped = mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ, offset=self.start)
        self.view = memoryview(self._mapped)

    def holds(self, stat: os.stat_result, offset: int) -> bool:
        """Whether it contains a byte of a file."""
        return self.start <= offset < self.start + len(self.view) and self._file == (stat.st_dev, stat.st_ino)

    def close(self) -> None:
        """Unmap it."""
        self.view.release()
        self._mapped.close()


@dataclass(slots=True, eq=False)
class Sending:
    """A response on its way."""

    request: Request
    response: Response
    keep: bool  # the connection stays open after it
    line: str | None = None  # the request line of an invalid request
    head_in: int = 0  # bytes of the request's head
    file: FileBody | None = None  # the rest after the first bytes: a file,
    stream: Stream | None = None  # or a program's output
    left: deque[bytes | tuple[int, int]] = field(init=False, repr=False)  # bytes and ranges: where not all went at once
    window: Window | None = None  # the mapped part of the file
    head: bytes | Sequence[tuple[bytes, bytes]] = b""  # as sent: the fields of an HTTP/2 stream, after its status
    sent: int = 0  # bytes, head included
    content: int = -1  # bytes of the body that were sent; -1 if that is all that was sent after the head
    received: int = 0  # bytes of the request's body

    @property
    def has_more(self) -> bool:
        """Whether more follows the current data: a program's output, or the rest of a request before another one."""
        return self.stream is not None or (self.keep and self.request.head.has_body)

    def close(self) -> None:
        """Stop sending it."""
        if self.window is not None:
            self.let_go_of_window()
        if self.file is not None:
            self.file.close()
        if self.stream is not None:
            self.stream.close()

    def let_go_of_window(self) -> None:
        """Unmap what is mapped."""
        if self.window is not None:
            self.window.close()
            self.window = None


def push(sock: Transport, sending: Sending) -> bool:
    """Send the rest of the current data, within a turn's limit. Returns whether that was all.

    Raises BlockingIOError if the socket takes no more, Gone if the file has become shorter (no
    wrong byte is ever sent for it), OSError.
    """
    left, most = sending.left, sending.sent + PER_TURN
    while left and sending.sent < most:
        part = left[0]
        rest: bytes | tuple[int, int]
        if isinstance(part, bytes):
            sent = sock.send(part, SEND_MORE if len(left) > 1 else SEND)
            rest = part[sent:]
        else:
            assert sending.file is not None
            if not isinstance(sock, SocketType):
                _read_some(left, sending.file)
                continue
            offset, length = part
            sent = _push_method(sending.file, length)(sock, sending, offset, length)
            rest = (offset + sent, length - sent) if sent < length else b""
        sending.sent += sent
        if rest:
            left[0] = rest
        else:
            left.popleft()
    return not left


SendRange = Callable[[SocketType, Sending, int, int], int]  # of (offset, length): returns how much the socket took


def _push_method(file: FileBody, length: int) -> SendRange:
    """The cheapest way to send a range of a file: docs/benchmarks.md has what each costs."""
    if file.by_map and length >= MAPPED:
        return _send_mapped
    if file.by_kernel:
        return _send_file
    return _send_copied


def _send_mapped(sock: SocketType, sending: Sending, offset: int, length: int) -> int:
    """Send some of a file from its mapping. Raises as `push`: only the kernel reads there, so there is no fault."""
    file, window = sending.file, sending.window
    assert file is not None
    stat = os.fstat(file.fd)
    if window is None or not window.holds(stat, offset):
        sending.let_go_of_window()
        try:
            sending.window = window = Window(file.fd, stat, offset, length)
        except (OSError, ValueError):  # a file system without mmap(2), or the file is shorter by now
            file.by_map = False
            return 0
    begin = offset - window.start
    with window.view[begin : begin + length] as data:  # an error's traceback would keep it, and the mapping, alive
        if stat.st_size < offset + len(data):  # mapped bytes after the file's end would be sent as zeros
            raise Gone
        return sock.send(data, SEND_MORE if len(data) < length or len(sending.left) > 1 else SEND)


def _send_file(sock: SocketType, sending: Sending, offset: int, length: int) -> int:
    """Have the kernel send some of a file. Returns how much it took; nothing if it cannot. Raises as `push`."""
    file = sending.file
    assert file is not None
    if sock.gettimeout() != 0:
        sock.setblocking(False)
    try:
        sent = os.sendfile(sock.fileno(), file.fd, offset, min(length, PER_TURN))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        file.by_kernel = False  # its file system has no sendfile
        return 0
    if not sent:
        raise Gone
    return sent


def _send_copied(sock: SocketType, sending: Sending, offset: int, length: int) -> int:
    """Read some of a file, and send it. What the socket does not take is read again. Raises as `push`."""
    assert sending.file is not None
    data = os.pread(sending.file.fd, min(length, COPIED), offset)
    if not data:
        raise Gone
    return sock.send(data, SEND_MORE if len(sending.left) > 1 else SEND)


def _read_some(left: deque[bytes | tuple[int, int]], file: FileBody) -> None:
    """Replace a file's range by its bytes: TLS wants the same ones again after a wait."""
    offset, length = left.popleft()
    data = os.pread(file.fd, min(length, COPIED), offset)
    if not data:
        raise Gone
    if len(data) < length:
        left.appendleft((offset + len(data), length - len(data)))
    left.appendleft(data)


async def ready(add: Callable[..., Any], remove: Callable[[int], Any], fd: int, timeout: float) -> None:
    """Wait until a descriptor can be read or written. Raises TooSlow after `timeout` seconds."""
    future = asyncio.get_running_loop().create_future()
    add(fd, _wake, future)
    try:
        async with asyncio.timeout(timeout):
            await future
    except TimeoutError:
        raise TooSlow from None
    finally:
        remove(fd)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def receive(loop: asyncio.AbstractEventLoop, sock: Transport, timeout: float) -> bytes:
    """The next bytes. Raises Ended at the end of the stream, TooSlow after `timeout` seconds, OSError."""
    while True:
        try:
            data = sock.recv(RECEIVE_SIZE, MSG_DONTWAIT)
        except BlockingIOError:
            await ready(loop.add_reader, loop.remove_reader, sock.fileno(), timeout)
        else:
            if not data:
                raise Ended
            return data


class Sender:
    """Sends bytes and streams to one socket; `sent` counts. `timeout` is seconds without progress."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: Transport, timeout: float) -> None:
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

    async def send_stream(self, body: Stream, *, chunked: bool) -> None:
        """Send the rest after the head, in chunks if no length was announced.

        Raises Gone if a part of the body was sent.
        """
        if body.length is not None:
            await self.send_exactly(body, body.length)
            return
        async for data in body:
            if data:
                await self.send(chunk(data) if chunked else data)
        if chunked:
            await self.send(LAST_CHUNK)

    async def send_exactly(self, body: Stream, length: int) -> None:
        """Send as much of a stream as was announced. Raises Gone if it has less."""
        async for data in body:
            await self.send(data[:length])
            length -= len(data)
            if length <= 0:
                return
        if length > 0:
            raise Gone
