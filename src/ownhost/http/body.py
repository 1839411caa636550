"""Reading a request's body from its connection: by Content-Length, or chunked (RFC 9112, sections 6 and 7)."""

from __future__ import annotations

from ownhost.http.chunked import Dechunker
from ownhost.http.limits import HeadLimits
from ownhost.http.message import Head, HTTPError


class BodyReader:
    """One request's body. `leftover` has the bytes after it once it is `complete`."""

    def __init__(self, head: Head, limits: HeadLimits, limit: int = 0) -> None:
        """`limit` is LimitRequestBody in bytes; 0 is none. Raises HTTPError 413 if the length exceeds it already.

        `limits` are those on fields, which may follow chunks, too.
        """
        self.limit = limit
        self.size = 0  # bytes of content so far
        self.leftover = b""
        self.complete = not head.has_body
        self._left = head.content_length
        self._chunks = Dechunker(limits, self._check) if head.chunked else None
        self._check(head.content_length)

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the connection, and return the content in them. Raises HTTPError 400, 413."""
        if self.complete:
            self.leftover += data
            return b""
        if self._chunks is not None:
            return self._feed_chunked(self._chunks, data)
        content, self.leftover = data[: self._left], data[self._left :]
        self._left -= len(content)
        self.size += len(content)
        self.complete = self._left == 0
        return content

    def _feed_chunked(self, chunks: Dechunker, data: bytes) -> bytes:
        content = chunks.feed(data)
        self.size, self.complete, self.leftover = chunks.size, chunks.complete, chunks.leftover
        return content

    def _check(self, size: int) -> None:
        if self.limit and size > self.limit:
            why = f"Read content length of {size} is larger than the configured limit of {self.limit}"
            raise HTTPError(413, f"AH01591: {why}", module="http")
