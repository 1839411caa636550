"""The request head and the response: HTTP as the rest of the server sees it (RFC 9110)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from socket import SocketType
from typing import Protocol

from ownhost.http.level import Level


class HTTPError(Exception):
    """A request that ends in an error response.

    `reason` is for the error log, under the name of `module`; the client never sees it. If Apache
    has words for it, they are the same, as other programs read them; so is the `level`. `note` is
    for the client: HTML.
    """

    def __init__(
        self,
        status: int,
        reason: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        module: str = "core",
        note: str = "",
        level: Level | None = None,
    ) -> None:
        super().__init__(reason or HTTPStatus(status).phrase)
        self.status = status
        self.reason = reason
        self.headers = headers
        self.module = module
        self.note = note
        self.level = _level(status) if level is None else level


def _level(status: int) -> Level:
    """The level of an error: high for what an administrator must act on, low for what visitors do all day."""
    return Level.ERROR if status in (401, 403) or status >= 500 else Level.INFO


@dataclass(slots=True)
class Head:
    """A request's head, strictly parsed (RFC 9112 sections 3 and 5, RFC 9113 section 8). Text is decoded as ISO 8859-1.

    `host` is the name that chooses the virtual host, from an absolute-form target, else from Host:
    lower case, without port, without a trailing dot, brackets kept on an IPv6 address; "" if an
    HTTP/1.0 request has none. `path` is the target's path, still percent-encoded; "*" for OPTIONS
    *. `query` is None without a "?". `values` maps a lower-case field name to its values joined by
    ", ". Requests with the same fields share them.
    """

    method: str
    target: str
    minor: int  # of HTTP/1.x; 0 in HTTP/2 and HTTP/0.9
    host: str
    path: str
    query: str | None
    fields: Sequence[tuple[str, str]]
    values: Mapping[str, str]
    keep_alive: bool
    content_length: int = 0  # the Content-Length; 0 if the body is chunked
    chunked: bool = False  # a body of unknown length follows: also in HTTP/2, which has no chunks
    expect_continue: bool = False
    host_port: int | None = None  # the port in Host or in an absolute-form target
    major: int = 1

    @property
    def protocol(self) -> str:
        """HTTP/0.9, HTTP/1.0, HTTP/1.1 or HTTP/2.0, as Apache writes them."""
        return "HTTP/0.9" if self.is_simple else f"HTTP/{self.major}.{self.minor}"

    @property
    def is_simple(self) -> bool:
        """Whether the request is one of HTTP/0.9: only the body of the response is sent."""
        return self.major == 0

    @property
    def request_line(self) -> str:
        """The request line, as HTTP/1 has it."""
        return f"{self.method} {self.target}" if self.is_simple else f"{self.method} {self.target} {self.protocol}"

    @property
    def knows_chunks(self) -> bool:
        """Whether the client understands chunks and interim responses: HTTP/1.1, or relayed as HTTP/1.1."""
        return self.minor > 0 or self.major > 1

    @property
    def has_body(self) -> bool:
        """Whether a body, even an empty chunked one, follows the head."""
        return self.chunked or self.content_length > 0


Parts = list[bytes | tuple[int, int]]  # of a body: literal bytes, and offsets and lengths of ranges


def parts_length(parts: Parts) -> int:
    """Bytes of a body in parts."""
    return sum(len(part) if isinstance(part, bytes) else part[1] for part in parts)


@dataclass(slots=True)
class FileBody:
    """A body sent from an open file: literal bytes and (offset, length) ranges of the file, in order.

    Its sender closes it. If the file turns out shorter than its ranges, the connection ends: the
    client sees a broken transfer, never a wrong body.
    """

    fd: int
    parts: Parts
    by_kernel: bool = True  # sendfile(2); otherwise read and sent
    by_map: bool = True  # large ranges are mapped by mmap(2), and sent from there

    @property
    def length(self) -> int:
        """Bytes in total."""
        return parts_length(self.parts)

    def close(self) -> None:
        """Close it: it will not be sent any more."""
        os.close(self.fd)


class ClientGone(Exception):
    """The client has left, or takes too long: it no longer waits for a response."""


class RequestBody(Protocol):
    """A request's body, as a handler gets it: read whole, however slowly a client sends it."""

    async def read(self) -> Content:
        """Read all of it. Raises HTTPError if it breaks the rules, ClientGone."""

    async def tell(self, status: int, fields: Sequence[tuple[str, str]]) -> None:
        """Send an interim response (1xx) before the response. Raises ClientGone."""


class Content(Protocol):
    """A body that has arrived: in memory, or in a file without a name."""

    size: int  # bytes

    def pieces(self) -> Iterator[bytes]:
        """Its content, from the beginning, in pieces."""

    def fileno(self) -> int:
        """A descriptor from which it can be read, at its beginning."""


class Stream(Protocol):
    """A response's body as it comes."""

    length: int | None  # bytes in total; None if that is not known before it ends

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Its pieces."""

    def close(self) -> None:
        """Stop it: it is not wanted any more, or all of it was read."""


def let_go(body: bytes | FileBody | Stream) -> None:
    """Release a body that will not be sent, or its rest."""
    if not isinstance(body, bytes):
        body.close()


Tunnel = Callable[[SocketType, bytes], Awaitable[None]]  # the client's socket, and the bytes already read from it
Deferred = Callable[[RequestBody], Awaitable["Response"]]


@dataclass(slots=True)
class Response:
    """A response before framing: it has no Date, Server, Content-Length, Connection or Transfer-Encoding.

    `body` is bytes, a file, or a stream of unknown length (sent chunked to HTTP/1.1).
    `first_status` is the status before an internal redirect (ErrorDocument) led to this response.
    `prepared` and `prepared_fields` belong to framing in HTTP/1 and HTTP/2: they cache the head of
    a response that is sent more than once, which therefore must not change any more.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | FileBody | Stream = b""
    close: bool = False  # end the connection after it
    minor: int = 1  # of HTTP/1.x, in the status line
    first_status: int = 0  # 0: the same
    deferred: Deferred | None = None  # the response itself follows, when a program has made it
    after: list[Callable[[Response], None]] = field(default_factory=list)  # called with that response then
    tunnel: Tunnel | None = None  # speaks on the connection after a 101
    as_sent: bool = False  # a program's whole head, to which nothing is added
    own_page: bool = False  # a page that the server made for an error or a redirect, not a handler's response
    prepared: bytes = b""
    prepared_fields: Sequence[tuple[bytes, bytes]] = ()

    def again(self, body: FileBody) -> Response:
        """A copy, with what is prepared, of a response that is sent again with the same content."""
        return Response(
            self.status,
            self.headers,
            body,
            self.close,
            prepared=self.prepared,
            prepared_fields=self.prepared_fields,
        )

    def become(self, other: Response) -> None:
        """Take on the content of another response: the caller that holds this one then sends that."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    def say_vary(self, names: Iterable[str]) -> None:
        """Say that it depends on fields of the request: in one field, each name once."""
        said = [value for name, value in self.headers if name.lower() == "vary"]
        every = {name.strip().lower(): name.strip() for name in ",".join((*said, *names)).split(",")}
        self.headers = [field for field in self.headers if field[0].lower() != "vary"]
        self.headers.append(("Vary", ",".join(every.values())))

    def header(self, name: str) -> str | None:
        """The first value of a field, by its lower-case name."""
        return next((value for field, value in self.headers if field.lower() == name), None)
