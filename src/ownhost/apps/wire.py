"""Connections for FastCGI requests: to apps a bare socket, as most exchanges are one send and one
read; to other servers the streams of proxying.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import termios
from typing import Protocol

from ownhost.apps import pipes, unix_sockets
from ownhost.apps.backends import Connection

READ = 65_536
LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)


class Wire(Protocol):
    """A connection to a program."""

    def send_now(self, data: bytes) -> bytes:
        """Send as much as possible at once; returns the rest. Raises OSError."""

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError."""

    async def read(self, deadline: float) -> bytes:
        """Some bytes; b"" at the end. Raises OSError, TimeoutError at the deadline (monotonic time)."""

    def close(self) -> None:
        """Close it."""


class SocketWire:
    """A non-blocking socket (Wire)."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._heard = False  # right after a request nothing is here: a first look would be in vain

    def send_now(self, data: bytes) -> bytes:
        """Send as much as possible at once; returns the rest. Raises OSError."""
        try:
            return data[self._sock.send(data) :]
        except BlockingIOError:
            return data

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError."""
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def read(self, deadline: float) -> bytes:
        """Some bytes; b"" at the end. Raises OSError, TimeoutError at the deadline (monotonic time)."""
        if not self._heard:
            self._heard = True
            await pipes.readable(self._sock.fileno(), deadline)
        return await pipes.read(self._sock.fileno(), deadline)

    def leave(self, data: bytes) -> bool:
        """Send the start of the next request.

        Later, the kernel tells whether the program waits for it. Returns whether it went.

        A program that has sent its response may still be at work.
        """
        self._heard = False
        try:
            return self._sock.send(data) == len(data)
        except OSError:
            return False

    def is_taken(self) -> bool:
        """Whether the program has taken all that was sent, or the connection is closed at this end."""
        descriptor = self._sock.fileno()
        return descriptor < 0 or fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)) == bytes(4)

    def is_free(self) -> bool:
        """Whether the program has taken all that was sent (unix(7): SIOCOUTQ), to answer it.

        A program that ends the connection may take it, too, but first sends its end.
        """
        if not self.is_taken():
            return False
        try:
            self._sock.recv(1, LOOK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False  # the end, or unexpected bytes

    def close(self) -> None:
        """Close it."""
        self._sock.close()


class StreamWire:
    """A connection to another server (Wire)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send_now(self, data: bytes) -> bytes:
        """Send it: there is no rest, as the stream keeps it."""
        self._connection.writer.write(data)
        return b""

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError."""
        self._connection.writer.write(data)
        await self._connection.writer.drain()

    async def read(self, deadline: float) -> bytes:
        """Some bytes; b"" at the end. Raises OSError, TimeoutError at the deadline (monotonic time)."""
        async with asyncio.timeout_at(deadline):
            return await self._connection.reader.read(READ)

    def close(self) -> None:
        """Close it."""
        self._connection.close()


async def connect_unix(path: str, patience: float) -> SocketWire:
    """A connection to a program that listens on a path. Raises OSError, TimeoutError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await unix_sockets.connect(sock, path, patience)
    except BaseException:
        sock.close()
        raise
    return SocketWire(sock)
