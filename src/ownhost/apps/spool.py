"""Bytes on their way, bounded in memory: what is more goes into a file without a name, which is the owner's."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import BinaryIO

from ownhost.http.message import Parts, parts_length
from ownhost.http.ranges import Cutter

MEMORY = 262_144  # bytes kept in memory
LARGEST = 4_294_967_296  # bytes kept at all, in memory or file: then whoever writes has to wait
PIECE = 65_536


class Spool:
    """A request's body: written once, then read from its beginning (http.message.Content)."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        """Add some bytes. Raises OSError where the disk is full."""
        self.size += len(data)
        if self._file is None and self.size <= MEMORY:
            self._parts.append(data)
            return
        self._as_file().write(data)

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces. Whoever has begun gets to the end, though it is closed meanwhile."""
        if self._file is None:
            yield from tuple(self._parts)
            return
        with os.fdopen(os.dup(self._file.fileno()), "rb", buffering=0) as file:
            place = 0
            while piece := os.pread(file.fileno(), PIECE, place):
                yield piece
                place += len(piece)

    def fileno(self) -> int:
        """A file with all of it, at its beginning: open for as long as this is."""
        file = self._as_file()
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return file.fileno()

    def close(self) -> None:
        """Let the file go."""
        self._parts.clear()
        if self._file is not None:
            self._file.close()

    def _as_file(self) -> BinaryIO:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by `close`
            for part in self._parts:
                self._file.write(part)
            self._parts.clear()
        return self._file


class Flow:
    """A response's body, between a program that writes and a client that reads at its own pace.

    The program goes on though the client is slow: what is not read yet waits here. An error ends the flow for whoever
    reads, as an exception.
    """

    def __init__(self, length: int | None = None) -> None:
        self.length = length  # bytes that are read of it in all, where that is known before
        self._whole = length  # bytes that are put in
        self._cutter: Cutter | None = None
        self._waiting: deque[bytes] = deque()
        self._in_memory = 0
        self._file: BinaryIO | None = None
        self._written = self._read = 0  # places in the file
        self._ended = False
        self._error: BaseException | None = None
        self._delivered = 0  # bytes that were read
        self._changed = asyncio.Event()
        self.abandoned = False  # nobody reads any more
        self._at_close: list[Callable[[], object]] = []

    async def put(self, data: bytes) -> bool:
        """Add some bytes, waiting while far too many are here. False where nobody reads them any more."""
        while self._written - self._read > LARGEST and not self.abandoned:
            self._changed.clear()
            await self._changed.wait()
        if self.abandoned:
            return False
        if self._file is None and self._in_memory + len(data) <= MEMORY:
            self._waiting.append(data)
            self._in_memory += len(data)
        else:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by `close`
            os.pwrite(self._file.fileno(), data, self._written)
            self._written += len(data)
        self._changed.set()
        return True

    def end(self, error: BaseException | None = None) -> None:
        """There is no more; with an error, because something went wrong."""
        self._ended, self._error = True, error
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """What was put in, or the parts of it that are wanted, as it comes."""
        while True:
            data = self._next()
            if data:
                self._delivered += len(data)
                if self._cutter is None:
                    yield data
                elif wanted := self._cutter.feed(data):
                    yield wanted
                else:
                    await asyncio.sleep(0)  # there may be a lot of what nobody wants
            elif self._ended:
                if self._error is not None:
                    raise self._error
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    @property
    def is_delivered(self) -> bool:
        """Whether as much was read as was announced."""
        return self._whole is not None and self._delivered >= self._whole

    def cut(self, parts: Parts) -> None:
        """Have only parts of it read, whose ranges are in order. The rest is passed over."""
        self._cutter = Cutter(parts)
        self.length = parts_length(parts)

    def when_closed(self, call: Callable[[], object]) -> None:
        """Have something done once nobody reads any more."""
        self._at_close.append(call)

    def close(self) -> None:
        """Nobody reads any more."""
        self.abandoned = True
        while self._at_close:
            self._at_close.pop()()
        self._changed.set()
        self._waiting.clear()
        if self._file is not None:
            self._file.close()

    def _next(self) -> bytes:
        if self._waiting:
            data = self._waiting.popleft()
            self._in_memory -= len(data)
            return data
        if self._file is None or self._read == self._written:
            return b""
        data = os.pread(self._file.fileno(), PIECE, self._read)
        self._read += len(data)
        if self._read == self._written:
            os.ftruncate(self._file.fileno(), 0)
            self._read = self._written = 0
        self._changed.set()
        return data
