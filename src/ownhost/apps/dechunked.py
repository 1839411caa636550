"""The body of a program that itself uses the chunked transfer coding: this server adds its own framing."""

from __future__ import annotations

from ownhost.apps.source import Source, SourceError
from ownhost.http.chunked import Dechunker
from ownhost.http.limits import HeadLimits
from ownhost.http.message import HTTPError


class Dechunked:
    """Another source's output without its chunks (Source). `rest` was read from it already."""

    def __init__(self, source: Source, rest: bytes, limits: HeadLimits) -> None:
        self._source = source
        self._rest = rest
        self._chunks = Dechunker(limits, lambda _: None)
        self.ended = False

    async def read(self, deadline: float) -> bytes:
        """Some more; b"" at the end. Raises SourceError where the chunks are malformed or break off."""
        while not self._chunks.complete:
            data, self._rest = self._rest or await self._source.read(deadline), b""
            if not data:
                raise SourceError("its chunked response is incomplete")
            try:
                content = self._chunks.feed(data)
            except HTTPError as error:
                raise SourceError(error.reason) from None
            if content:
                return content
        self.ended = True
        return b""

    def close(self) -> None:
        """Stop it: the output is not wanted any more."""
        self._source.close()
