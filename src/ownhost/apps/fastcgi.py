"""FastCGI 1.0, the client's side of one request per connection (FastCGI Specification, sections 3, 5 and 8).

    record = version type request-id content-length padding-length reserved content padding
             ; 1 byte, 1, 2, 2, 1, 1: big-endian
    stream = *record record-without-content        ; PARAMS, STDIN, STDOUT, STDERR
    params = *(name-length value-length name value)
    length = 1 byte below 128 / 4 bytes with the highest bit set

No input or output here: bytes to send are returned, bytes received are fed in pieces of any size.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from ownhost.http.wire import to_bytes

_HEADER = struct.Struct(">BBHHBx")
_END = struct.Struct(">IB3x")
_VERSION = 1
_REQUEST_ID = 1  # the one request on a connection
_RESPONDER = 1
MAX_CONTENT = 0xFFF8  # bytes of a record, as they are sent: the most that needs no padding to a multiple of 8
_LONGEST = 0x7FFFFFFF  # of a name or value


class _Type(IntEnum):
    """Record types (section 8)."""

    BEGIN_REQUEST = 1
    ABORT_REQUEST = 2
    END_REQUEST = 3
    PARAMS = 4
    STDIN = 5
    STDOUT = 6
    STDERR = 7


_ANSWERS = (_Type.END_REQUEST, _Type.STDOUT, _Type.STDERR)


class ProtocolStatus(IntEnum):
    """Why a request ended (section 5.5)."""

    REQUEST_COMPLETE = 0
    CANT_MPX_CONN = 1
    OVERLOADED = 2
    UNKNOWN_ROLE = 3


class FastCGIError(Exception):
    """The bytes are not FastCGI, or not a response to this request. The message is one sentence for the error log."""


@dataclass(frozen=True, slots=True)
class Output:
    """Some of the response, head and body as of a CGI program (`cgi_head`)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Complaint:
    """A piece of standard error, for the error log."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The request is finished. `app_status` is the program's exit status."""

    app_status: int
    protocol_status: ProtocolStatus


Event = Output | Complaint | End


def begin(variables: Mapping[str, str], *, keep_connection: bool = False) -> bytes:
    """The start of a request: its role and all its variables. Raises ValueError for a variable of 2 GiB."""
    return ROLE[keep_connection] + params(variables)


def params(variables: Mapping[str, str]) -> bytes:
    """All variables of a request whose role was sent. Raises ValueError."""
    pairs = [
        (_remembered if len(value) < _LONGEST_REMEMBERED else _pair)(name, value) for name, value in variables.items()
    ]
    content = b"".join(pairs)
    records = (_record(_Type.PARAMS, content),) if 0 < len(content) <= MAX_CONTENT else _params(pairs)
    return b"".join((*records, _END_OF_PARAMS))


def _params(pairs: Iterable[bytes]) -> Iterator[bytes]:
    """Records with variables. Each variable is in one record, unless it is larger: php-fpm does not join them."""
    content = b""
    for pair in pairs:
        if len(content) + len(pair) > MAX_CONTENT:
            yield from _stream(_Type.PARAMS, content)
            content = b""
        content += pair
    yield from _stream(_Type.PARAMS, content)


def body(data: bytes) -> bytes:
    """Some of the request's body, which may be empty."""
    return b"".join(_stream(_Type.STDIN, data))


def end_of_body() -> bytes:
    """The end of the body, also without a body."""
    return _record(_Type.STDIN, b"")


def abort() -> bytes:
    """Tell the program that its response is not wanted any more."""
    return _record(_Type.ABORT_REQUEST, b"")


def _stream(type_: _Type, data: bytes) -> Iterator[bytes]:
    """Records with some content of a stream: not its end."""
    for start in range(0, len(data), MAX_CONTENT):
        yield _record(type_, data[start : start + MAX_CONTENT])


def _record(type_: _Type, content: bytes) -> bytes:
    return _HEADER.pack(_VERSION, type_, _REQUEST_ID, len(content), 0) + content


def _pair(name: str, value: str) -> bytes:
    first, second = to_bytes(name), to_bytes(value)
    return _length(len(first)) + _length(len(second)) + first + second


# Most variables are the same in every request.
_remembered = functools.lru_cache(2_048)(_pair)
_LONGEST_REMEMBERED = 256  # characters


def _length(length: int) -> bytes:
    if length > _LONGEST:
        raise ValueError(f"FastCGI has no room for a variable of {length} bytes")
    return bytes((length,)) if length < 0x80 else struct.pack(">I", length | 0x80000000)


# The first record of a request, on a connection that ends with it, and on one that stays.
ROLE = tuple(_record(_Type.BEGIN_REQUEST, struct.pack(">HB5x", _RESPONDER, keep)) for keep in (0, 1))
_END_OF_PARAMS = _record(_Type.PARAMS, b"")


class Responses:
    """A program's response on its connection.

    Output is returned as it comes in, not record by record: at most one header is buffered, or the
    8 bytes that end a request. Invariant: whether there is an error doesn't depend on how the bytes
    were cut. Without an error, neither do the output, the standard error (each put together) and
    the end. Records of types that do not belong to a response are skipped, as Apache does. So are
    streams that go on after their end, as only END_REQUEST counts.
    """

    def __init__(self) -> None:
        self.ended = False
        self.reusable = False  # a next request may begin on the connection, if keeping it was asked for
        self._kept = b""  # of a header, or of a record that is read whole
        self._type = 0  # of the record that is being read
        self._left = 0  # of its content
        self._padding = 0

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, and return what is in them; nothing is taken after the end. Raises FastCGIError."""
        events: list[Event] = []
        buffer = self._kept + data if self._kept else data
        self._kept = b""
        place, size = 0, len(buffer)
        while place < size:
            if self._left:
                if self._type == _Type.END_REQUEST and size - place < self._left:
                    self._kept = buffer[place:]
                    break
                content = buffer[place : place + self._left]
                place += len(content)
                self._left -= len(content)
                self._take(content, events)
            elif self._padding:
                used = min(self._padding, size - place)
                place += used
                self._padding -= used
            elif self.ended or size - place < _HEADER.size:
                self._kept = buffer[place:]
                break
            else:
                self._read_header(*_HEADER.unpack_from(buffer, place))
                place += _HEADER.size
        self.reusable = self.ended and not (self._kept or self._padding)
        return events

    def close(self) -> None:
        """The program closed the connection. Raises FastCGIError if something is missing."""
        self.reusable = False
        if not self.ended:
            raise FastCGIError("the program closed the connection before its answer was complete")

    def _read_header(self, version: int, type_: int, request: int, length: int, padding: int) -> None:
        if version != _VERSION:
            raise FastCGIError(f"what the program says is not FastCGI 1: a record of version {version}")
        if type_ in _ANSWERS and request != _REQUEST_ID:
            raise FastCGIError(f"the program answers request {request}, which was not asked")
        if type_ == _Type.END_REQUEST and length != _END.size:
            raise FastCGIError(f"the program sent an END_REQUEST of {length} bytes instead of {_END.size}")
        self._type, self._left, self._padding = type_, length, padding

    def _take(self, content: bytes, events: list[Event]) -> None:
        if self._type == _Type.STDOUT:
            events.append(Output(content))
        elif self._type == _Type.STDERR:
            events.append(Complaint(content))
        elif self._type == _Type.END_REQUEST:
            events.append(_end(content))
            self.ended = True


def _end(content: bytes) -> End:
    app_status, status = _END.unpack(content)
    try:
        return End(app_status, ProtocolStatus(status))
    except ValueError:
        raise FastCGIError(f"the program ended the request with the unknown status {status}") from None
