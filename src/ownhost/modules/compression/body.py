"""A body in another coding: at once if it is short and here, else piece by piece while it is sent."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from math import inf

from ownhost.http.message import ClientGone, FileBody, Stream
from ownhost.modules.compression.codings import Coding, Compressor

AT_ONCE = 65_536  # bytes of a body that is compressed in one turn of the event loop
PIECE = 65_536  # bytes of a longer one that are compressed in a turn

_under_way: Counter[str] = Counter()  # bodies that this process compresses while they are sent, by coding

Totals = Callable[[int, int], None]  # bytes before and after, at the end


def compressed(data: bytes, compressor: Compressor) -> bytes:
    """A short body, whole."""
    return compressor.compress(data) + compressor.finish()


def has_room(coding: Coding) -> bool:
    """Whether one more body may be compressed while it is sent."""
    return _under_way[coding.filter] < coding.most_at_once


class Compressed:
    """A body that is compressed while it is sent (http.message.Stream).

    A file's is sent in pieces of at least `least` bytes. A program's output is sent as it comes.
    """

    length: int | None = None

    def __init__(
        self, body: bytes | FileBody | Stream, coding: Coding, compressor: Compressor, least: int, totals: Totals
    ) -> None:
        self._body = body
        self._coding = coding
        self._compressor = compressor
        self._least = least if isinstance(body, (bytes, FileBody)) else 1
        self._totals = totals
        self._before = 0  # bytes that were read
        self._closed = False
        _under_way[coding.filter] += 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The compressed bytes. Raises ClientGone if a file has become shorter."""
        after, waiting = 0, b""
        async for ready in self._ready():
            waiting += ready
            if len(waiting) >= self._least:
                after += len(waiting)
                yield waiting
                waiting = b""
            await asyncio.sleep(0)  # other connections have their turn
        waiting += self._compressor.finish()
        self._totals(self._before, after + len(waiting))
        yield waiting

    async def _ready(self) -> AsyncIterator[bytes]:
        body, compressor = self._body, self._compressor
        if isinstance(body, (bytes, FileBody)):
            for piece in _of_bytes(body) if isinstance(body, bytes) else _of_file(body):
                self._before += len(piece)
                yield compressor.compress(piece)
            return
        async for data in _of_program(body):
            self._before += len(data)
            *pieces, last = _of_bytes(data)
            for piece in pieces:
                yield compressor.compress(piece)
            yield compressor.compress(last) + compressor.flush()

    def close(self) -> None:
        """Stop it."""
        if self._closed:
            return
        self._closed = True
        _under_way[self._coding.filter] -= 1
        if not isinstance(self._body, bytes):
            self._body.close()


def _of_bytes(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


def _of_file(body: FileBody) -> Iterator[bytes]:
    """All parts of a file's body. Raises ClientGone if the file has become shorter: then no end is sent."""
    for part in body.parts:
        if isinstance(part, bytes):
            yield part
            continue
        offset, length = part
        while length:
            data = os.pread(body.fd, min(length, PIECE), offset)
            if not data:
                raise ClientGone
            yield data
            offset, length = offset + len(data), length - len(data)


async def _of_program(body: Stream) -> AsyncIterator[bytes]:
    """A program's output, as long as it announced. Raises ClientGone if it is shorter."""
    left = inf if body.length is None else body.length
    async for data in body:
        if data:
            yield data if len(data) <= left else data[: int(left)]
            left -= len(data)
        if left <= 0:
            return
    if 0 < left < inf:
        raise ClientGone
