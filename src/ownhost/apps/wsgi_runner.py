"""Serves a WSGI application on FastCGI: one process, one request at a time.

NAME       wsgi_runner.py SCRIPT CALLABLE [options]
RUNS AS    the application's owner, on the owner's own Python (3.8 or later). It needs nothing but the standard library,
           and nothing of Ownhost can be imported here.
TALKS TO   workers of the same owner, that connect to the unix socket which is its standard input
           (FCGI_LISTENSOCK_FILENO).
ENDS WHEN  told to (SIGTERM: after the request under way), or after --max-requests.

Sources: PEP 3333; the FastCGI specification 1.0; mod_wsgi's manual for how scripts are loaded.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import hashlib
import io
import locale
import os
import select
import signal
import site
import socket
import struct
import sys
import traceback
import types
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, NoReturn, Optional, Tuple
from wsgiref.util import FileWrapper

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

Headers = List[Tuple[str, str]]
Receive = Callable[[int], bytes]


class Broken(OSError):
    """The connection ended, or what came over it is no FastCGI. Applications see an error of their input."""


class Record(NamedTuple):
    """One record as it came."""

    type: int
    id: int
    content: bytes


def read_exactly(receive: Receive, size: int) -> bytes:
    """So many bytes, however they arrive. Raises Broken, EOFError where there is not even the first."""
    data = receive(size) if size else b""
    while len(data) < size:
        more = receive(size - len(data))
        if not more:
            raise Broken("the connection ended within a record") if data else EOFError
        data += more
    return data


def read_record(receive: Receive) -> Record:
    """The next record. Raises EOFError at the end of the connection, Broken where it ends within a record."""
    version, kind, number, length, padding = _HEADER.unpack(read_exactly(receive, _HEADER.size))
    if version != VERSION:
        raise Broken("a record of FastCGI version {}".format(version))
    try:
        data = read_exactly(receive, length + padding)
    except EOFError:
        raise Broken("the connection ended within a record") from None
    return Record(kind, number, data[:length])


def record(kind: int, number: int, content: bytes = b"") -> bytes:
    """A record as it is sent."""
    return _HEADER.pack(VERSION, kind, number, len(content), 0) + content


def records(kind: int, number: int, content: bytes) -> Iterator[bytes]:
    """The records of a stream that content takes; none where it is empty, as an empty record would end the stream."""
    for start in range(0, len(content), MOST_CONTENT):
        yield record(kind, number, content[start : start + MOST_CONTENT])


def parse_params(data: bytes) -> Dict[str, str]:
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


def _length(data: bytes, place: int) -> Tuple[int, int]:
    """A length, and the place behind it."""
    if place < len(data) and data[place] < 0x80:
        return data[place], place + 1
    if place + 4 > len(data):
        raise Broken("a parameter without its length")
    return int.from_bytes(data[place : place + 4], "big") & 0x7FFFFFFF, place + 4


class Exchange:
    """One request and its response on a connection: the four streams of a FastCGI responder."""

    def __init__(self, connection: socket.socket) -> None:
        """Reads up to the end of the parameters. Raises EOFError where no request comes any more, Broken, OSError."""
        self.connection = connection
        self.number = 0
        self.input_ended = False
        self.keeps = self._begin()
        self.params = parse_params(b"".join(self._stream(PARAMS)))

    def _receive(self, size: int) -> bytes:
        return self.connection.recv(size, socket.MSG_WAITALL)

    def _begin(self) -> bool:
        """Wait for BEGIN_REQUEST; whether the connection is to stay afterwards."""
        while True:
            begin = read_record(self._receive)
            if begin.type == BEGIN_REQUEST:
                break
            if begin.id == 0:  # about the program, not about a request: there is nothing to manage
                self._send(record(UNKNOWN_TYPE, 0, bytes((begin.type,)) + bytes(7)))
        if len(begin.content) != _BEGIN.size:
            raise Broken("a BEGIN_REQUEST record of {} bytes".format(len(begin.content)))
        role, flags = _BEGIN.unpack(begin.content)
        if role != RESPONDER:
            self._send(record(END_REQUEST, begin.id, _END.pack(0, UNKNOWN_ROLE)))
            raise Broken("asked for role {}, which is not a responder".format(role))
        self.number = begin.id
        return bool(flags & KEEP_CONN)

    def _stream(self, kind: int) -> Iterator[bytes]:
        """The contents of one stream, up to its end."""
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
                raise Broken("a record of type {} where type {} is due".format(part.type, kind))
            elif part.content:
                yield part.content
            else:
                return

    def input(self) -> Iterator[bytes]:
        """The request's body, in parts. Raises Broken."""
        yield from self._stream(STDIN)
        self.input_ended = True

    def output(self, data: bytes) -> None:
        """Send a part of the response. Raises OSError."""
        for part in records(STDOUT, self.number, data):
            self._send(part)

    def error(self, data: bytes) -> None:
        """Send lines for the error log. Nobody is told where they cannot be sent."""
        with contextlib.suppress(OSError):
            for part in records(STDERR, self.number, data):
                self._send(part)

    def end(self, status: int) -> None:
        """End the response. `status` is not 0 where it failed. Raises OSError."""
        ending = record(END_REQUEST, self.number, _END.pack(status, REQUEST_COMPLETE))
        self._send(record(STDOUT, self.number) + ending)

    def _send(self, data: bytes) -> None:
        self.connection.sendall(data)


class Input(io.RawIOBase):
    """wsgi.input, unbuffered: a request's body."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts
        self.part = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Take what has come, or wait for it. Raises Broken where the client is gone."""
        if not self.part:
            self.part = memoryview(next(self.parts, b""))
        size = min(len(buffer), len(self.part))
        buffer[:size] = self.part[:size]
        self.part = self.part[size:]
        return size


class Errors(io.RawIOBase):
    """wsgi.errors, sys.stderr and sys.stdout: the error log, by way of the request under way where there is one."""

    exchange: Optional[Exchange] = None

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The process's own, for faulthandler and the like."""
        return 2

    def write(self, data: Any) -> int:
        """Send it at once."""
        taken = bytes(data)
        if self.exchange is not None:
            self.exchange.error(taken)
        else:
            with contextlib.suppress(OSError):
                os.write(2, taken)
        return len(taken)


class Answer:
    """A response as PEP 3333 has an application make it."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.is_head = exchange.params.get("REQUEST_METHOD") == "HEAD"
        self.head: Optional[Tuple[str, Headers]] = None
        self.sent = False  # whether the head is on its way
        self.left: Optional[int] = None  # bytes that Content-Length still promises

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """start_response: remember the head until there is something to send with it."""
        if exc_info is not None:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # or the frame and the traceback would hold each other
        elif self.head is not None:
            raise AssertionError("start_response is called again, without exc_info")
        _check_head(status, headers)
        self.head = (status, list(headers))
        return self.write

    def write(self, data: bytes) -> None:
        """Send a part of the body, and the head first. What is beyond Content-Length is left out. Raises OSError."""
        if not isinstance(data, bytes):
            raise TypeError("a response's parts must be bytes, not {}".format(type(data).__name__))
        if not data:
            return
        head = self._head_bytes()
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        self.exchange.output(head + (b"" if self.is_head else data))

    def _head_bytes(self) -> bytes:
        if self.sent:
            return b""
        if self.head is None:
            raise AssertionError("start_response must be called before there is a body")
        status, headers = self.head
        self.sent = True
        for name, value in headers:
            if name.lower() == "content-length":
                self.left = int(value)
        lines = ["Status: " + status, *("{}: {}".format(name, value) for name, value in headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send(self, result: Iterable[bytes]) -> None:
        """Send what an application returned. Raises whatever the application does, and OSError."""
        if isinstance(result, (list, tuple)) and len(result) == 1:
            self._measure(result[0])
        for data in result:
            self.write(data)
            if self.sent and (self.left == 0 or self.is_head):
                break
        self.exchange.output(self._head_bytes())
        if self.left and not self.is_head:
            raise ValueError("the response is {} bytes shorter than its Content-Length".format(self.left))

    def _measure(self, body: bytes) -> None:
        """Say the length of a body that is one part, where the application did not."""
        if self.head is None or self.sent or self.head[0][:3] in ("204", "304"):
            return
        if body and all(name.lower() != "content-length" for name, _ in self.head[1]):
            self.head[1].append(("Content-Length", str(len(body))))

    def fail(self) -> None:
        """Tell the client of a failure, where it has not been told of success. Raises OSError."""
        if self.sent:
            return
        self.sent = True
        self.exchange.output(
            b"Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\n500 Internal Server Error\n"
        )


def _check_head(status: str, headers: Headers) -> None:
    """See that a status and header fields can be sent as they are. Raises TypeError, ValueError."""
    if not isinstance(status, str) or not isinstance(headers, list):
        raise TypeError("start_response takes a str and a list of tuples")
    if not (status[:3].isdigit() and status[3:4] in ("", " ")) or _has_controls(status):
        raise ValueError("a status must be like '200 OK', not {!r}".format(status))
    for name, value in headers:
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError("header fields must be str, not {!r}: {!r}".format(name, value))
        if not name or _has_controls(name + value) or ":" in name or " " in name:
            raise ValueError("this is no header field: {!r}: {!r}".format(name, value))
        if name.lower() == "content-length" and not (value.isdigit() and value.isascii()):
            raise ValueError("Content-Length must be a number, not {!r}".format(value))
        (name + value).encode("latin-1")


def _has_controls(text: str) -> bool:
    return any(char < " " and char != "\t" for char in text)
