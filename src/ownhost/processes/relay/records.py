"""Records: the messages on a pair over which one process relays requests to another. Pure.

    record = kind (1 byte), length (4 bytes, big-endian), that many bytes

The front has the client; the target answers. There is one request at a time; a pair serves one
request after another. The front sends the head with what it knows about the client, and nothing of
the body before the target has taken the request. The target sends HTTP/1 as the client will see it,
byte for byte.

Each side keeps a `Conversation`. An event without a line in the table below ends the pair.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, Self

MOST = 65_536  # bytes of a record's content, except for a request's beginning
LONGEST_HEAD = 1 << 21  # bytes of a REQUEST: http.limits limits a head, TLS a certificate
_HEADER = struct.Struct(">BI")
_ASKED = struct.Struct(">II")


class Kind(IntEnum):
    """What a record is."""

    REQUEST = 1  # front: a request's head, and its origin (`Asked`)
    BODY = 2  # front: some of the bytes after the head
    TAKEN = 3  # target: the request is mine
    OTHER_IDENTITY = 4  # target: the file system says that it is another identity's (`NamedIdentity`)
    DATA = 5  # target: some bytes for the client
    TUNNEL = 6  # target: what follows in both directions is another protocol
    END = 7  # target: the answer is complete (`End`)
    WHOLE = 8  # target: TAKEN, DATA and END at once (`End`, then the data)


class State(IntEnum):
    """The states of a pair."""

    IDLE = 1  # nothing is asked
    ASKED = 2  # the target may take it
    ANSWERED = 3  # it has taken it: body and answer go both ways
    TUNNELLED = 4  # another protocol does, until the pair ends


TABLE = {
    (State.IDLE, Kind.REQUEST): State.ASKED,
    (State.ASKED, Kind.TAKEN): State.ANSWERED,
    (State.ASKED, Kind.WHOLE): State.IDLE,
    (State.ASKED, Kind.OTHER_IDENTITY): State.IDLE,
    (State.ANSWERED, Kind.BODY): State.ANSWERED,
    (State.ANSWERED, Kind.DATA): State.ANSWERED,
    (State.ANSWERED, Kind.END): State.IDLE,
    (State.ANSWERED, Kind.TUNNEL): State.TUNNELLED,
    (State.TUNNELLED, Kind.BODY): State.TUNNELLED,
    (State.TUNNELLED, Kind.DATA): State.TUNNELLED,
}
_KINDS = {int(kind): kind for kind in Kind}


class RecordError(Exception):
    """The other side sent a record that makes no sense. The message is one sentence for the error log."""


class Record(NamedTuple):
    """One record."""

    kind: Kind
    data: bytes = b""


def encode(kind: Kind, data: bytes | memoryview = b"") -> bytes:
    """A record as bytes. `data` is no longer than `MOST`, or LONGEST_HEAD."""
    return b"".join((_HEADER.pack(kind, len(data)), data))


def unfold(record: Record) -> tuple[Record, ...]:
    """The records for a kind and all its data, one after another."""
    if record.kind is not Kind.WHOLE:
        return (record,)
    return Record(Kind.TAKEN), Record(Kind.DATA, record.data[1:]), Record(Kind.END, record.data[:1])


class Conversation:
    """One side's view of a pair: bytes in, records out, and whether each may come now.

    Invariant: the records don't depend on how the bytes were cut.
    """

    def __init__(self) -> None:
        self.state = State.IDLE
        self._rest = b""

    def __repr__(self) -> str:
        return f"<a relay that is {self.state.name}, {len(self._rest)} bytes of a record here>"

    def says(self, kind: Kind, data: bytes | memoryview = b"") -> bytes:
        """A record of our own, as bytes to send. Raises RecordError."""
        self._step(kind)
        return encode(kind, data)

    def feed(self, data: bytes) -> list[Record]:
        """Take bytes of the other side. Raises RecordError."""
        data = self._rest + data if self._rest else data
        found, at, size = [], 0, len(data)
        while size - at >= _HEADER.size:
            number, length = _HEADER.unpack_from(data, at)
            kind = _KINDS.get(number)
            if kind is None:
                raise RecordError(f"a record of kind {number}")
            if length > MOST and (kind is not Kind.REQUEST or length > LONGEST_HEAD):
                raise RecordError(f"a record of {length} bytes")
            end = at + _HEADER.size + length
            if end > size:
                break
            self._step(kind)
            found.append(Record(kind, data[at + _HEADER.size : end]))
            at = end
        self._rest = data[at:]
        return found

    def _step(self, kind: Kind) -> None:
        after = TABLE.get((self.state, kind))
        if after is None:
            raise RecordError(f"{kind.name} to {self!r}")
        self.state = after


class _Told:
    """A record's content as fields with their declared types: a list in JSON."""

    __slots__: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """As a record's content."""
        return json.dumps([getattr(self, name) for name in self.__slots__]).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`. Raises RecordError."""
        try:
            values = json.loads(data)
            wanted = cls.__annotations__.values()
            if not isinstance(values, list) or [type(one).__name__ for one in values] != list(wanted):
                raise ValueError("other fields")
            return cls(*values)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{cls.__name__} cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class Origin(_Told):
    """The origin of requests. The target believes it for the one virtual host of the pair.

    `tls` is http.tls.TLSFacts as text, "" for a client without TLS. `protocol` is the client's if
    that is not HTTP/1. `peer` is the front proxy of the connection, if it has said who its client
    is.
    """

    client: str
    client_port: int
    local: str
    local_port: int
    tls: str = ""
    protocol: str = ""
    peer: str = ""
    peer_port: int = 0


@lru_cache(maxsize=256)
def _as_bytes(origin: Origin) -> bytes:
    """All requests of a client's connection have the same one."""
    return origin.to_bytes()


class Asked(NamedTuple):
    """A request. `origin` are an Origin's bytes; `handled` requests were before it on the client's connection."""

    handled: int
    origin: bytes
    head: bytes

    @classmethod
    def of(cls, origin: Origin, handled: int, head: bytes) -> Asked:
        """A request with its origin."""
        return cls(handled, _as_bytes(origin), head)

    def to_bytes(self) -> bytes:
        """As a record's content."""
        return b"".join((_ASKED.pack(self.handled, len(self.origin)), self.origin, self.head))

    @classmethod
    def from_bytes(cls, data: bytes) -> Asked:
        """The inverse of `to_bytes`. Raises RecordError."""
        if len(data) < _ASKED.size:
            raise RecordError("an invalid REQUEST")
        handled, length = _ASKED.unpack_from(data)
        head = _ASKED.size + length
        if head > len(data):
            raise RecordError("an invalid REQUEST")
        return cls(handled, data[_ASKED.size : head], data[head:])


@dataclass(frozen=True, slots=True)
class NamedIdentity(_Told):
    """The identity that must serve a request (identity.Assignment); "" is User or Group."""

    user: str
    group: str
    nice: int


@dataclass(frozen=True, slots=True)
class End:
    """How an answer ended: whether the client's connection stays open after it, and whether the pair serves again."""

    keep: bool
    again: bool

    def to_bytes(self) -> bytes:
        """As a record's content."""
        return bytes((self.keep | self.again << 1,))

    @classmethod
    def from_bytes(cls, data: bytes) -> End:
        """The inverse of `to_bytes`. Raises RecordError."""
        if len(data) != 1 or data[0] > 3:
            raise RecordError("an invalid END")
        return cls(bool(data[0] & 1), bool(data[0] & 2))
