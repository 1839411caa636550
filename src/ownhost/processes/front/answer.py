"""A worker's answer to one request: where it ends, and that a proxy will see the same end. Pure.

Owners' workers are not trusted. On a proxy's kept connection, the next answer may be to another
owner's request. So a worker must not be able to send a byte more than one answer, nor anything that
two readers could understand differently. Anything unclear is refused, never repaired (RFC 9112,
sections 4, 6, 7 and 11.2).

    answer = *interim (status-line *(field CRLF) CRLF) body
"""

from __future__ import annotations

import functools
import re
from enum import Enum, auto
from typing import NamedTuple

from ownhost.http.chunked import Dechunker
from ownhost.http.framing import CONTINUE
from ownhost.http.limits import MAX_HEAD, HeadLimits
from ownhost.http.message import Head, HTTPError

LONGEST_HEAD = 1 << 18  # bytes of an answer's head: programs send a lot
_TRAILERS = HeadLimits(MAX_HEAD, 0, MAX_HEAD, MAX_HEAD)  # limits on fields after chunks
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_TEXT = rb"[\t -~\x80-\xff]*+"
_HEAD = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: %b)?\r\n((?:%b:%b\r\n)*+)\r\n" % (_TEXT, _TOKEN, _TEXT))
_SAID = re.compile(
    rb"^(content-length|transfer-encoding|connection):[\t ]*+(.*?)[\t ]*\r$", re.IGNORECASE | re.MULTILINE
)
_LENGTH = re.compile(rb"[0-9]{1,18}")


class AnswerError(Exception):
    """The bytes are not an answer to the request. The message is one sentence for the error log."""


class Part(Enum):
    """The part of an answer that comes next."""

    HEAD = auto()
    BODY = auto()  # so many bytes
    CHUNKS = auto()
    REST = auto()  # any bytes, until the end of the stream
    NOTHING = auto()  # it is complete


class Framing(NamedTuple):
    """What a head says about its answer's end."""

    status: int
    minor: int
    length: int | None  # of the body, if it is known
    chunked: bool
    closes: bool  # whether the connection ends after it


class Answer:
    """The answer to one request. `head` is the request's, None for an invalid request: the connection ends after it.

    Invariant: whether there is an error, and what is passed on without one, don't depend on how
    bytes were cut.
    """

    __slots__ = (
        "_chunks",
        "_continues",
        "_knows_more",
        "_left",
        "_refusal",
        "_rest",
        "begun",
        "has_body",
        "keeps",
        "part",
        "upgrades",
    )

    def __init__(self, head: Head | None) -> None:
        self.part = Part.HEAD
        self.begun = False  # some of it was passed on
        self.keeps = head is None or head.keep_alive  # the connection goes on, as far as the heads say
        self.has_body = head is None or head.method != "HEAD"
        self._refusal = head is None  # nothing after it can be separated
        self._knows_more = head is not None and head.knows_chunks  # chunks, and interim answers
        self._continues = head is not None and head.expect_continue
        self.upgrades = head is not None and _asks_to_upgrade(head)  # another protocol may follow
        self._rest = b""  # of an incomplete head
        self._left = 0  # bytes of the body
        self._chunks: Dechunker | None = None
        if head is not None and head.is_simple:
            self.part, self.keeps = Part.REST, False

    @property
    def complete(self) -> bool:
        """Whether it is complete."""
        return self.part is Part.NOTHING

    @property
    def ends_with_stream(self) -> bool:
        """Whether only the connection's end ends it."""
        return self.part is Part.REST

    def feed(self, data: bytes) -> bytes:
        """Take a worker's bytes, and return those for the client. Raises AnswerError."""
        passed = self._feed_head(data) if self.part is Part.HEAD else self._feed_body(data)
        self.begun = self.part is not Part.HEAD
        return passed

    def switch(self) -> None:
        """Another protocol follows, after a head that says so. Raises AnswerError."""
        if self.part is not Part.HEAD or self._rest or not self.upgrades:
            raise AnswerError("a switch of protocols that was not asked for")
        self.part = Part.REST
        self.keeps = False

    def feed_switched(self, data: bytes) -> bytes:
        """The same as `feed` after `switch`, until `begun`: the head that says so comes first. Raises AnswerError."""
        self._rest += data
        end = self._end_of_head()
        if end < 0:
            return b""
        if read_head(self._rest[:end]).status != 101:
            raise AnswerError("a switch of protocols whose status is not 101")
        passed, self._rest = self._rest, b""
        self.begun = True
        return passed

    def _feed_head(self, data: bytes) -> bytes:
        passed = b""
        self._rest = self._rest + data if self._rest else data
        while self.part is Part.HEAD and self._rest:
            end = self._end_of_head()
            if end < 0:
                break
            head, self._rest = self._rest[:end], self._rest[end:]
            framing = read_head(head)
            if framing.status >= 200:
                self._begin_body(framing)
                passed += head
            elif framing.status == 101:
                raise AnswerError("101 without a switch of protocols")
            elif framing.status == 100 and self._continues:
                self._continues = False
                passed += CONTINUE  # no proxy asked for any other interim answer, and some treat them as the last one
        if self.part is not Part.HEAD:
            rest, self._rest = self._rest, b""
            if rest:
                passed += self._feed_body(rest)
        return passed

    def _end_of_head(self) -> int:
        end = self._rest.find(b"\r\n\r\n")
        if (end if end >= 0 else len(self._rest)) > LONGEST_HEAD:
            raise AnswerError(f"the head of an answer is longer than {LONGEST_HEAD} bytes")
        return end + 4 if end >= 0 else -1

    def _begin_body(self, framing: Framing) -> None:
        self.keeps = self.keeps and not framing.closes
        if framing.chunked and not (framing.minor and self._knows_more):
            raise AnswerError("chunks for an HTTP/1.0 client")
        if framing.status == 204 and (framing.chunked or framing.length):
            raise AnswerError("204 with a body")
        if self._refusal:
            self.part, self.keeps = Part.REST, False
        elif not self.has_body or framing.status in (204, 304):
            self.part = Part.NOTHING
        elif framing.chunked:
            self.part = Part.CHUNKS
            self._chunks = Dechunker(_TRAILERS, lambda _: None)
        elif framing.length is None:
            self.part, self.keeps = Part.REST, False
        else:
            self._left = framing.length
            self.part = Part.BODY if framing.length else Part.NOTHING

    def _feed_body(self, data: bytes) -> bytes:
        match self.part:
            case Part.BODY:
                self._left -= len(data)
                if self._left < 0:
                    raise AnswerError("more than its Content-Length says")
                if not self._left:
                    self.part = Part.NOTHING
            case Part.CHUNKS:
                assert self._chunks is not None
                try:
                    self._chunks.feed(data)
                except HTTPError as error:
                    raise AnswerError(f"invalid chunks: {error.reason}") from None
                if self._chunks.leftover:
                    raise AnswerError("more than its chunks")
                if self._chunks.complete:
                    self.part = Part.NOTHING
            case Part.NOTHING:
                raise AnswerError("more than an answer")
        return data


def read_head(head: bytes) -> Framing:
    """What an answer's head, including its empty line, says about its end. Raises AnswerError."""
    return _read(head) if len(head) <= 2_048 else _read.__wrapped__(head)


@functools.lru_cache(maxsize=256)
def _read(head: bytes) -> Framing:
    match = _HEAD.fullmatch(head)
    if match is None:
        raise AnswerError(f"the head of an invalid response: {head[:60]!r}")
    length, chunked, closes = None, False, False
    for name, value in _SAID.findall(match[3]):
        match name.lower():
            case b"connection":
                closes = closes or b"close" in {option.strip() for option in value.lower().split(b",")}
            case b"content-length":
                if length is not None or chunked or not _LENGTH.fullmatch(value):
                    raise AnswerError("a response with two lengths, or an invalid one")
                length = int(value)
            case _:
                if length is not None or chunked or value.lower() != b"chunked":
                    raise AnswerError("a response with two lengths, or with a transfer coding that is not chunked")
                chunked = True
    return Framing(int(match[2]), int(match[1]), length, chunked, closes)


def _asks_to_upgrade(head: Head) -> bool:
    """Whether a request lets another protocol follow (RFC 9110, 7.8)."""
    if "upgrade" not in head.values or not head.minor:
        return False
    return "upgrade" in {option.strip() for option in head.values.get("connection", "").lower().split(",")}
