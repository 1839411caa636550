"""Byte ranges (RFC 9110, section 14)."""

from __future__ import annotations

import re
import secrets
from collections import deque

from ownhost.config.arguments import number, single
from ownhost.config.directive import SECTIONS, Call, Directive, Setting, declare
from ownhost.http.message import Parts

_SPEC = re.compile(r"([0-9]*)-([0-9]*)")
_MOST_DIGITS = 18  # a larger number is beyond any file

Ranges = list[tuple[int, int]]  # offset and length


def _limit(call: Call) -> int | None:
    """A count; None is no limit. `default` is Apache's word for its own default."""
    word = single(call).lower()
    if word == "unlimited":
        return None
    if word == "none":
        return 0
    return _DEFAULTS[call.name] if word == "default" else number(word, 1)


_DEFAULTS = {"MaxRanges": 200, "MaxRangeOverlaps": 20, "MaxRangeReversals": 20}


def _declare(name: str, what: str) -> Setting[int | None]:
    setting: Setting[int | None] = Setting(name, _DEFAULTS[name])
    declare(
        Directive(
            name=name,
            module="core",
            syntax="default|unlimited|none|number",
            where=SECTIONS,
            default=str(_DEFAULTS[name]),
            help=f"{what} in one request; with more, the whole file is sent.",
            parse=_limit,
            setting=setting,
        )
    )
    return setting


MAX_RANGES = _declare("MaxRanges", "How many ranges may be asked for")
MAX_RANGE_OVERLAPS = _declare("MaxRangeOverlaps", "How many ranges may overlap another")
MAX_RANGE_REVERSALS = _declare("MaxRangeReversals", "How many ranges may begin before the one in front of them")


def parse_ranges(
    value: str,
    size: int,
    most: int | None = 200,
    overlaps: int | None = 20,
    reversals: int | None = 20,
) -> Ranges | None:
    """The ranges that a Range field asks for, of a file of `size` bytes, each as offset and length.

    None: the field is to be ignored (another unit, malformed, beyond the limits, an empty file). An empty
    list: none of the ranges can be satisfied, which is a 416. Limits of None do not exist.
    """
    unit, equals, specs = value.partition("=")
    if unit.lower() != "bytes" or not equals or specs.startswith((" ", "\t")) or not size:
        return None
    found: Ranges = []
    asked = 0
    for spec in specs.split(","):
        word = spec.strip()
        if not word:
            continue  # an empty list element
        match = _SPEC.fullmatch(word)
        if not match or word == "-" or len(word) > 2 * _MOST_DIGITS + 1:
            return None
        asked += 1
        one = _resolve(match[1], match[2], size)
        if one == (-1, -1):
            return None
        if one is not None:
            found.append(one)
    if not asked:
        return None
    if _too_many(found, most, overlaps, reversals):
        return None
    return found


def _resolve(first: str, last: str, size: int) -> tuple[int, int] | None:
    """One range as offset and length; None where it is not satisfiable, (-1, -1) where it is malformed."""
    if not first:
        length = min(int(last), size)
        return (size - length, length) if length else None
    start = int(first)
    if last and int(last) < start:
        return (-1, -1)
    if start >= size:
        return None
    end = min(int(last), size - 1) if last else size - 1
    return start, end - start + 1


def _too_many(found: Ranges, most: int | None, overlaps: int | None, reversals: int | None) -> bool:
    if most is not None and len(found) > most:
        return True
    overlapping = reversed_ = 0
    for index, (start, length) in enumerate(found[1:], 1):
        before = found[index - 1]
        reversed_ += start < before[0]
        overlapping += start < before[0] + before[1] and before[0] < start + length
    return (overlaps is not None and overlapping > overlaps) or (reversals is not None and reversed_ > reversals)


def content_range(offset: int, length: int, size: int) -> str:
    """The Content-Range of one range."""
    return f"bytes {offset}-{offset + length - 1}/{size}"


def multipart(ranges: Ranges, size: int, content_type: str) -> tuple[str, Parts]:
    """Several ranges as multipart/byteranges: the Content-Type, and the body's parts (literal bytes and ranges)."""
    boundary = secrets.token_hex(12)
    type_line = f"Content-Type: {content_type}\r\n" if content_type else ""
    parts: Parts = []
    for offset, length in ranges:
        where = content_range(offset, length, size)
        parts.append(f"\r\n--{boundary}\r\n{type_line}Content-Range: {where}\r\n\r\n".encode("latin-1"))
        parts.append((offset, length))
    parts.append(f"\r\n--{boundary}--\r\n".encode())
    return f"multipart/byteranges; boundary={boundary}", parts


def are_in_order(ranges: Ranges) -> bool:
    """Whether each range begins where the one in front of it ends, or later: so bytes that come once are enough."""
    return all(offset + length <= ranges[index][0] for index, (offset, length) in enumerate(ranges[:-1], 1))


class Cutter:
    """Makes a body in parts, whose ranges are in order, of bytes that come piece by piece.

    Invariant: what comes out, put together, does not depend on how the bytes were cut.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = deque(parts)
        self._place = 0

    def feed(self, data: bytes) -> bytes:
        """What of the body can be said once these bytes are here."""
        found = []
        end = self._place + len(data)
        while self._parts:
            part = self._parts[0]
            if isinstance(part, bytes):
                found.append(part)
            else:
                offset, length = part
                start, stop = max(offset, self._place), min(offset + length, end)
                found.append(data[start - self._place : stop - self._place] if start < stop else b"")
                if stop < offset + length:
                    break
            self._parts.popleft()
        self._place = end
        return b"".join(found)
