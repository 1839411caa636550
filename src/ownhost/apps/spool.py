"""Bytes in transit, limited in memory: more than that goes into a file, within what `spooling` lets a process keep."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from ownhost.apps.spooling import SPOOLING, SpoolFile
from ownhost.http.message import HTTPError, Parts, parts_length
from ownhost.http.ranges import Cutter

MEMORY = 262_144  # bytes kept in memory
PIECE = 65_536


class Spool:
    """A request's body: written once, then read from its beginning (http.message.Content)."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        self._file: SpoolFile | None = None

    def write(self, data: bytes) -> None:
        """Add some bytes. Raises OSError if the disk is full, HTTPError 503 and 413 if too much is kept."""
        size = self.size + len(data)
        if self._file is None and size <= MEMORY:
            self._parts.append(data)
        else:
            self._check_room(size)
            self._as_file().write(data, self.size)
        self.size = size

    def _check_room(self, size: int) -> None:
        kept = self._file.size if self._file is not None else 0
        if SPOOLING.has_room(size - kept):
            return
        if size > SPOOLING.most:
            raise HTTPError(413, f"a request's body of {size} bytes or more is larger than SpoolMaxSize")
        why = f"there is no room for a request's body: {SPOOLING.used} bytes are kept already (SpoolMaxSize)"
        raise HTTPError(503, why, (("Retry-After", "10"),))

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces. A reader that has begun gets to the end, even if it is closed meanwhile."""
        if self._file is None:
            yield from tuple(self._parts)
            return
        with os.fdopen(os.dup(self._file.fileno()), "rb", buffering=0) as file:
            place = 0
            while piece := os.pread(file.fileno(), PIECE, place):
                yield piece
                place += len(piece)

    def fileno(self) -> int:
        """A file with all of it, at its beginning: open as long as this object."""
        file = self._as_file()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return file.fileno()

    def close(self) -> None:
        """Release the file."""
        self._parts.clear()
        if self._file is not None:
            self._file.close()

    def _as_file(self) -> SpoolFile:
        if self._file is None:
            self._file = SpoolFile()
            self._file.write(b"".join(self._parts), 0)
            self._parts.clear()
        return self._file


class Flow:
    """A response's body, between a program that writes and a client that reads at its own pace.

    The program goes on if the client is slow: unread bytes wait here, up to SpoolMaxAnswer. Then
    the program waits, too. An error ends the flow for the reader, as an exception.
    """

    def __init__(self, length: int | None = None) -> None:
        self.length = length  # bytes to be read in total, if known in advance
        self._whole = length  # bytes that are put in
        self._cutter: Cutter | None = None
        self._waiting: deque[bytes] = deque()
        self._in_memory = 0
        self._file: SpoolFile | None = None
        self._written = self._read = 0  # places in the file
        self._ended = False
        self._error: BaseException | None = None
        self._delivered = 0  # bytes that were read
        self._changed = asyncio.Event()
        self.abandoned = False  # it is not read any more
        self._at_close: list[Callable[[], object]] = []

    async def put(self, data: bytes) -> bool:
        """Add some bytes, waiting while too many are here. False if they are not wanted any more."""
        while not (self.abandoned or self._takes(len(data))):
            self._changed.clear()
            await self._changed.wait()
        if self.abandoned or not data:
            return not self.abandoned
        if self._fits_in_memory(len(data)):
            self._waiting.append(data)
            self._in_memory += len(data)
        else:
            if self._file is None:
                self._file = SpoolFile()
            self._file.write(data, self._written)
            self._written += len(data)
        self._changed.set()
        return True

    def _fits_in_memory(self, size: int) -> bool:
        """Whether so many bytes may wait in memory: bytes in the file come before them."""
        return not self._written and (not self._in_memory or self._in_memory + size <= MEMORY)

    def _takes(self, size: int) -> bool:
        """Whether so many bytes may wait here at all.

        An empty flow takes any number, so that a program makes progress.
        """
        return self._fits_in_memory(size) or (
            self._in_memory + self._written + size <= SPOOLING.most_of_answer and SPOOLING.has_room(size)
        )

    def end(self, error: BaseException | None = None) -> None:
        """The end; with an error, because something failed."""
        self._ended, self._error = True, error
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes that were put in, or the wanted parts of them, as they come."""
        while True:
            data = self._next()
            if data:
                self._delivered += len(data)
                if self._cutter is None:
                    yield data
                elif wanted := self._cutter.feed(data):
                    yield wanted
                else:
                    await asyncio.sleep(0)  # there may be many unwanted bytes
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
        """Have only parts read, with ranges in ascending order. The rest is skipped."""
        self._cutter = Cutter(parts)
        self.length = parts_length(parts)

    def when_closed(self, call: Callable[[], object]) -> None:
        """Register a function to call when reading stops."""
        self._at_close.append(call)

    def close(self) -> None:
        """Stop: it is not read any more."""
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
            self._changed.set()
            return data
        if self._file is None or self._read == self._written:
            return b""
        data = os.pread(self._file.fileno(), PIECE, self._read)
        self._read += len(data)
        if self._read == self._written:
            self._file.empty()
            self._read = self._written = 0
        self._changed.set()
        return data
