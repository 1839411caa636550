"""A response's body on its way into frames: only the part that is about to be sent is in memory."""

from __future__ import annotations

import asyncio
import os
from collections import deque

from ownhost.http.message import FileBody, Stream, let_go
from ownhost.processes.worker.sending import Gone


class Outgoing:
    """The data of one body. A program's comes by `put` and `end`; any other is complete from the start."""

    __slots__ = ("_body", "_parts", "_room", "ended", "held")

    def __init__(self, body: bytes | FileBody | Stream) -> None:
        self._body = body
        self._parts: deque[bytes | tuple[int, int]] = deque()
        self._room: asyncio.Future[None] | None = None
        self.held = 0  # bytes in memory
        self.ended = True  # it is complete
        if isinstance(body, bytes):
            self._parts.append(body)
            self.held = len(body)
        elif isinstance(body, FileBody):
            self._parts.extend(part for part in body.parts if (part if isinstance(part, bytes) else part[1]))
        else:
            self.ended = False

    @property
    def is_here(self) -> bool:
        """Whether there is something to send, even if only the end."""
        return self.ended or bool(self._parts)

    @property
    def is_over(self) -> bool:
        """Whether only the end is left."""
        return self.ended and not self._parts

    def take(self, size: int) -> bytes:
        """At most this many bytes of the data. Raises Gone for a file that has become shorter, OSError."""
        if not self._parts:
            return b""
        part = self._parts.popleft()
        if isinstance(part, bytes):
            data = part[:size]
            if len(part) > size:
                self._parts.appendleft(part[size:])
            self.held -= len(data)
            self._wake()
            return data
        assert isinstance(self._body, FileBody)
        offset, length = part
        data = os.pread(self._body.fd, min(size, length), offset)
        if not data:
            raise Gone
        if len(data) < length:
            self._parts.appendleft((offset + len(data), length - len(data)))
        return data

    def put(self, data: bytes) -> None:
        """Add some of a program's output."""
        self._parts.append(data)
        self.held += len(data)

    def end(self) -> None:
        """The program's output has ended."""
        self.ended = True

    async def room(self, most: int) -> None:
        """Wait until at most this many bytes are held."""
        while self.held > most:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def close(self) -> None:
        """Drop the rest."""
        self._parts.clear()
        body, self._body = self._body, b""
        let_go(body)

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
