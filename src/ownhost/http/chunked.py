"""The chunked transfer coding (RFC 9112, section 7.1), as strict as Apache reads it.

chunked = *(size-line data CRLF) last-line *(field CRLF) CRLF
size-line = 1*HEXDIG *10blank [";" *(HTAB / %x20-7E / %x80-FF)] CRLF        ; extensions mean nothing to us
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto

from ownhost.http.level import Level
from ownhost.http.limits import MAX_HEAD, HeadLimits
from ownhost.http.message import HTTPError

LONGEST_LINE = 8_190  # bytes of a chunk's size and extensions
LARGEST = (1 << 63) - 1  # the longest size of a chunk, in digits
_SIZE = re.compile(rb"([0-9A-Fa-f]+)[\t ]{0,10}(?:;[\t -~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")


class _Next(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()


class Dechunker:
    """Decodes a chunked body. `leftover` has the bytes after it once it is `complete`.

    Invariant: the content, and whether there is an error, don't depend on how the bytes were cut.
    """

    def __init__(self, limits: HeadLimits, check: Callable[[int], None]) -> None:
        """`limits` are those on a head's fields, and apply to the trailer's, too. `check` is told the size so far."""
        self.complete = False
        self.leftover = b""
        self.size = 0  # bytes of content so far
        self._limits = limits
        self._check = check
        self._next = _Next.SIZE
        self._left = 0  # bytes of the chunk's data
        self._line = b""  # the beginning of one
        self._trailers = self._trailer_size = 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes, and return the content in them.

        Raises HTTPError: 413 for too much in a line, 400 for the rest.
        """
        content = []
        place = 0
        while place < len(data) and not self.complete:
            if self._next is _Next.DATA:
                part = data[place : place + self._left]
                content.append(part)
                self.size += len(part)
                self._check(self.size)
                place += len(part)
                self._left -= len(part)
                if not self._left:
                    self._next = _Next.DATA_END
                continue
            end = data.find(b"\n", place) + 1
            self._line += data[place : end or len(data)]
            place = end or len(data)
            self._check_length()
            if end:
                line, self._line = self._line, b""
                if not line.endswith(b"\r\n"):
                    raise _malformed("a line that ends with LF alone")
                self._take(line[:-2])
        if self.complete:
            self.leftover += data[place:]
        return b"".join(content)

    def _check_length(self) -> None:
        length = len(self._line)
        if self._next is _Next.SIZE and length > LONGEST_LINE + 2:
            raise HTTPError(413, f"the size of a chunk, with its extensions, is longer than {LONGEST_LINE} bytes")
        if self._next is _Next.DATA_END and length > 2:
            raise _malformed("more data in a chunk than its size says")
        if self._next is _Next.TRAILER and length > self._limits.field_size + 2:
            raise _malformed(f"a trailer field is longer than LimitRequestFieldSize {self._limits.field_size}")

    def _take(self, line: bytes) -> None:
        """Handle a line, without its end."""
        if self._next is _Next.SIZE:
            self._take_size(line)
        elif self._next is _Next.DATA_END:
            if line:
                raise _malformed("more data in a chunk than its size says")
            self._next = _Next.SIZE
        elif line:
            self._take_trailer(line)
        else:
            self.complete = True

    def _take_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise _malformed(f"{line[:40]!r} is not the size of a chunk")
        digits = match[1].lstrip(b"0")
        if len(digits) > 16 or int(digits or b"0", 16) > LARGEST:
            raise HTTPError(413, f"a chunk of 0x{digits[:20].decode()} bytes")
        self._left = int(digits or b"0", 16)
        self._next = _Next.DATA if self._left else _Next.TRAILER

    def _take_trailer(self, line: bytes) -> None:
        """Check a field of the trailer. Its value is not used."""
        self._trailers += 1
        self._trailer_size += len(line)
        if not _TRAILER.fullmatch(line):
            raise _malformed("a line after the chunks is not a field")
        if (self._limits.fields and self._trailers > self._limits.fields) or self._trailer_size > MAX_HEAD:
            raise _malformed("more trailer fields than a head may have")


def _malformed(why: str) -> HTTPError:
    return HTTPError(400, f"AH01590: Error reading/parsing chunk: {why}", module="http", level=Level.INFO)
