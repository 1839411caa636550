"""A glance at a TLS ClientHello: enough to tell which virtual host it is for. Never raises.

A gate looks at the bytes and leaves them in the socket; the worker does the handshake, and OpenSSL
checks everything. A malformed ClientHello has no server name here: it goes to the default virtual
host's worker, where OpenSSL refuses it.

Sources: RFC 8446, sections 4.1.2, 4.2 and 5.1; RFC 6066, section 3 (server_name).
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

_SERVER_NAME = 0
_HOST_NAME = 0
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4  # bytes
_EXTENSION = struct.Struct(">HH")  # its kind, and the size of its content
_MAX_RECORD = 16_384  # bytes (RFC 8446, 5.1)
# Visible characters, as far as OpenSSL allows them; above all no NUL, which ends texts in
# mailboxes.
_NAME = re.compile(rb"[!-~]{1,255}")


class ClientHello(NamedTuple):
    """What a gate sees of a ClientHello: whether it is complete, and the server name as in `Head.host`."""

    complete: bool
    host: str


_INCOMPLETE = ClientHello(False, "")
_NAMELESS = ClientHello(True, "")


def is_tls(data: bytes) -> bool:
    """Whether a connection's first bytes can be a TLS ClientHello at all, however many there are."""
    return data[:1] == b"\x16" and data[1:2] in (b"", b"\x03")


def look(data: bytes, *, cut: bool = False) -> ClientHello:
    """Look at the bytes that have arrived. With `cut`, there will be no more: an incomplete one has no name."""
    try:
        message = _message(data)
    except ValueError:
        return _NAMELESS
    if message is None:
        return _NAMELESS if cut else _INCOMPLETE
    return ClientHello(True, _server_name(message))


def _message(data: bytes) -> bytes | None:
    """The body of the first handshake message, which may be spread over records; None if it is incomplete.

    Raises ValueError if these are not handshake records, or it is another message.
    """
    message = b""
    place = 0
    while True:
        header = data[place : place + _RECORD_HEADER]
        if header[:1] not in (b"", b"\x16"):
            raise ValueError
        if len(header) < _RECORD_HEADER:
            return None
        length = int.from_bytes(header[3:], "big")
        if not 0 < length <= _MAX_RECORD:
            raise ValueError
        place += _RECORD_HEADER
        message += data[place : place + length]
        if message[0:1] not in (b"", b"\x01"):
            raise ValueError
        if len(message) >= _MESSAGE_HEADER:
            end = _MESSAGE_HEADER + int.from_bytes(message[1:_MESSAGE_HEADER], "big")
            if len(message) >= end:
                return message[_MESSAGE_HEADER:end]
        if len(data) < place + length:
            return None
        place += length


def _server_name(hello: bytes) -> str:
    """The host name in the server_name extension; "" if there is none, or the message is malformed."""
    try:
        reader = _Reader(hello)
        reader.skip(2 + 32)  # legacy_version, random
        reader.vector(1)  # legacy_session_id
        reader.vector(2)  # cipher_suites
        reader.vector(1)  # legacy_compression_methods
        content = _extension(reader.vector(2), _SERVER_NAME)
        if content is not None:
            names = _Reader(_Reader(content).vector(2))
            return _host(names.vector(2)) if names.number(1) == _HOST_NAME else ""
    except ValueError:
        pass
    return ""


def _extension(extensions: bytes, wanted: int) -> bytes | None:
    """The content of one extension; None if it is missing. Every client has a dozen, so each is one step."""
    place, size = 0, len(extensions)
    while place + _EXTENSION.size <= size:
        kind, length = _EXTENSION.unpack_from(extensions, place)
        place += _EXTENSION.size
        if kind == wanted:
            if place + length > size:
                raise ValueError
            return extensions[place : place + length]
        place += length
    return None


def _host(name: bytes) -> str:
    """A server name in the form by which virtual hosts are chosen: lower case, no dot at its end. "" if invalid."""
    return name.decode("ascii").lower().removesuffix(".") if _NAME.fullmatch(name) else ""


class _Reader:
    """Numbers and vectors of TLS's presentation language (RFC 8446, section 3). Raises ValueError past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    @property
    def left(self) -> int:
        """The bytes that were not read yet."""
        return len(self.data) - self.place

    def skip(self, size: int) -> None:
        """Skip some bytes."""
        if size > self.left:
            raise ValueError
        self.place += size

    def number(self, size: int) -> int:
        """An unsigned number of this many bytes."""
        self.skip(size)
        return int.from_bytes(self.data[self.place - size : self.place], "big")

    def vector(self, size: int) -> bytes:
        """Bytes after their length, which is a number of `size` bytes."""
        length = self.number(size)
        self.skip(length)
        return self.data[self.place - length : self.place]
