"""The FastCGI protocol from the side of a program that answers requests: the role of a responder.

Standard library only, Python 3.8 or later: wsgi_runner.py imports it from its own folder, wherever
that is.

Source: the FastCGI specification 1.0.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Callable, Iterator, NamedTuple

# FastCGI 1.0, section 8. A record is
#   version(1) type(1) requestId(2) contentLength(2) paddingLength(1) reserved(1) contentData paddingData
VERSION = 1
BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
RESPONDER = 1
KEEP_CONN = 1
REQUEST_COMPLETE, CANT_MPX_CONN, _OVERLOADED, UNKNOWN_ROLE = range(4)
UNKNOWN_TYPE = 11
_HEADER = struct.Struct(">BBHHBx")
_BEGIN = struct.Struct(">HB5x")
_END = struct.Struct(">IB3x")
MOST_CONTENT = 65_528  # of one record that is sent: below 65,536, and a multiple of eight

Receive = Callable[[int], bytes]


class Broken(OSError):
    """The connection ended, or its bytes are not FastCGI. Applications see an error of their input."""


class Record(NamedTuple):
    """One record as received."""

    type: int
    id: int
    content: bytes


def read_exactly(receive: Receive, size: int) -> bytes:
    """So many bytes, however they arrive. Raises Broken, EOFError if there is not even the first."""
    data = receive(size) if size else b""
    while len(data) < size:
        more = receive(size - len(data))
        if not more:
            raise Broken("the connection ended within a record") if data else EOFError
        data += more
    return data


def read_record(receive: Receive) -> Record:
    """The next record. Raises EOFError at the end of the connection, Broken if it ends within a record."""
    version, kind, number, length, padding = _HEADER.unpack(read_exactly(receive, _HEADER.size))
    if version != VERSION:
        raise Broken(f"a record of FastCGI version {version}")
    try:
        data = read_exactly(receive, length + padding)
    except EOFError:
        raise Broken("the connection ended within a record") from None
    return Record(kind, number, data[:length])


def record(kind: int, number: int, content: bytes = b"") -> bytes:
    """A record as bytes."""
    return _HEADER.pack(VERSION, kind, number, len(content), 0) + content


def records(kind: int, number: int, content: bytes) -> Iterator[bytes]:
    """The records for some content of a stream; none for empty content, as an empty record would end the stream."""
    for start in range(0, len(content), MOST_CONTENT):
        yield record(kind, number, content[start : start + MOST_CONTENT])


def parse_params(data: bytes) -> dict[str, str]:
    """Name-value pairs (3.4): length of name, length of value, name, value. Raises Broken.

    A length is one byte, or four with the highest bit set. Text is what PEP 3333 calls native strings: ISO 8859-1.
    """
    found = {}
    place = 0
    while place < len(data):
        name_size, place = _length(data, place)
        value_size, place = _length(data, place)
        value_start, end = place + name_size, place + name_size + value_size
        if end > len(data):
            raise Broken("a parameter that is longer than all of them")
        found[data[place:value_start].decode("latin-1")] = data[value_start:end].decode("latin-1")
        place = end
    return found


def _length(data: bytes, place: int) -> tuple[int, int]:
    """A length, and the position after it."""
    if place < len(data) and data[place] < 0x80:
        return data[place], place + 1
    if place + 4 > len(data):
        raise Broken("a parameter without its length")
    return int.from_bytes(data[place : place + 4], "big") & 0x7FFFFFFF, place + 4


class Exchange:
    """One request and its response on a connection: the four streams of a FastCGI responder."""

    def __init__(self, connection: socket.socket) -> None:
        """Reads up to the end of the parameters. Raises EOFError if no request comes any more, Broken."""
        self.connection = connection
        self.number = 0
        self.sending = threading.Lock()  # an application's own threads may write to the error log
        self.reported = False
        self.input_ended = False
        self.keeps = self._begin()
        self.params = parse_params(b"".join(self._stream(PARAMS)))
        self.input = self._input()  # the request's body, in parts

    def _receive(self, size: int) -> bytes:
        try:
            return self.connection.recv(size, socket.MSG_WAITALL)
        except OSError as error:
            raise Broken(f"the client is gone: {error.strerror}") from None

    def _begin(self) -> bool:
        """Wait for BEGIN_REQUEST. Returns whether the connection stays afterwards."""
        while True:
            begin = read_record(self._receive)
            if begin.type == BEGIN_REQUEST:
                break
            if begin.id == 0:  # about the program, not about a request: there is nothing to manage
                self._send(record(UNKNOWN_TYPE, 0, bytes((begin.type,)) + bytes(7)))
        if len(begin.content) != _BEGIN.size:
            raise Broken(f"a BEGIN_REQUEST record of {len(begin.content)} bytes")
        role, flags = _BEGIN.unpack(begin.content)
        if role != RESPONDER:
            self._send(record(END_REQUEST, begin.id, _END.pack(0, UNKNOWN_ROLE)))
            raise Broken(f"asked for role {role}, which is not a responder")
        self.number = begin.id
        return bool(flags & KEEP_CONN)

    def _stream(self, kind: int) -> Iterator[bytes]:
        """The content of one stream, up to its end."""
        while True:
            try:
                part = read_record(self._receive)
            except EOFError:
                raise Broken("the connection ended within a request") from None
            if part.type == BEGIN_REQUEST:
                self._send(record(END_REQUEST, part.id, _END.pack(0, CANT_MPX_CONN)))
            elif part.id != self.number:
                continue
            elif part.type == ABORT_REQUEST:
                raise Broken("the client is gone")
            elif part.type != kind:
                raise Broken(f"a record of type {part.type} where type {kind} is due")
            elif part.content:
                yield part.content
            else:
                return

    def _input(self) -> Iterator[bytes]:
        yield from self._stream(STDIN)
        self.input_ended = True

    def output(self, data: bytes) -> None:
        """Send a part of the response. Raises Broken."""
        for part in records(STDOUT, self.number, data):
            self._send(part)

    def error(self, data: bytes) -> None:
        """Send lines for the error log. If that fails, they are lost silently."""
        self.reported = True
        with contextlib.suppress(Broken):
            for part in records(STDERR, self.number, data):
                self._send(part)

    def end(self, status: int) -> None:
        """End the response, and read the rest of the request. `status` is not 0 if it failed. Raises Broken."""
        errors = record(STDERR, self.number) if self.reported else b""
        ending = record(END_REQUEST, self.number, _END.pack(status, REQUEST_COMPLETE))
        self._send(record(STDOUT, self.number) + errors + ending)
        for _ in self.input:
            pass

    def _send(self, data: bytes) -> None:
        try:
            with self.sending:
                self.connection.sendall(data)
        except OSError as error:
            raise Broken(f"the client is gone: {error.strerror}") from None
