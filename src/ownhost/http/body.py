"""Reading a request's body out of its connection: by Content-Length, or chunked (RFC 9112, sections 6 and 7)."""

from __future__ import annotations

import h11

from ownhost.http.message import Head, HTTPError

_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: body\r\nTransfer-Encoding: chunked\r\n\r\n"


class BodyReader:
    """One request's body. `leftover` are the bytes behind it once it is `complete`."""

    def __init__(self, head: Head, limit: int = 0) -> None:
        """`limit` is LimitRequestBody in bytes; 0 is none. Raises HTTPError 413 where the length is over it already."""
        self.limit = limit
        self.size = 0  # bytes of content so far
        self.leftover = b""
        self.complete = not head.has_body
        self._left = head.content_length
        self._chunks = _chunk_parser() if head.chunked else None
        self._check(head.content_length)

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the connection, and give the content in them. Raises HTTPError 400, 413."""
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

    def _feed_chunked(self, parser: h11.Connection, data: bytes) -> bytes:
        content = []
        try:
            parser.receive_data(data)
            while True:
                event = parser.next_event()
                if isinstance(event, h11.Data):
                    content.append(bytes(event.data))
                    self.size += len(event.data)
                    self._check(self.size)
                elif isinstance(event, h11.EndOfMessage):
                    self.complete = True
                    self.leftover = parser.trailing_data[0]
                    break
                else:
                    break
        except h11.RemoteProtocolError as error:
            raise HTTPError(400, f"AH01590: Error reading/parsing chunk: {error}", module="http") from None
        return b"".join(content)

    def _check(self, size: int) -> None:
        if self.limit and size > self.limit:
            why = f"Read content length of {size} is larger than the configured limit of {self.limit}"
            raise HTTPError(413, f"AH01591: {why}", module="http")


def _chunk_parser() -> h11.Connection:
    """h11 in the middle of a chunked request: it keeps to what the head, which is parsed already, would have said."""
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(_CHUNKED_HEAD)
    parser.next_event()
    return parser
