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
    """A number; None is no limit. `default` is Apache's word for its own default."""
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
            help=f"How many ranges one request may {what}. With more, the whole file is sent.",
            parse=_limit,
            setting=setting,
        )
    )
    return setting


MAX_RANGES = _declare("MaxRanges", "ask for; ranges that overlap or adjoin count as one")
MAX_RANGE_OVERLAPS = _declare("MaxRangeOverlaps", "have that overlap or adjoin the one before them")
MAX_RANGE_REVERSALS = _declare(
    "MaxRangeReversals", "have that overlap or adjoin the one before them and begin before it"
)


def parse_ranges(
    value: str,
    size: int,
    most: int | None = 200,
    overlaps: int | None = 20,
    reversals: int | None = 20,
) -> Ranges | None:
    """The ranges that a Range field asks for, of a file of `size` bytes, each as offset and length.

    A range that overlaps or adjoins the one before it is joined to it, as in Apache. Limits apply
    to the result, and to how often ranges were joined. None: the field is ignored (another unit,
    malformed, beyond the limits, more than the file in all, an empty file). An empty list: no range
    can be satisfied, which is a 416. A limit of None does not exist.
    """
    unit, equals, specs = value.partition("=")
    if unit.lower() != "bytes" or not equals or specs.startswith((" ", "\t")) or not size:
        return None
    words = [word for word in (spec.strip() for spec in specs.split(",")) if word]
    asked = [_resolve(word, size) for word in words]
    if not asked or None in asked:
        return None
    merged = _Merged()
    for one in asked:
        if one is not None and one[0] < size:  # else it is beyond the file
            merged.add(*one)
    if any(
        limit is not None and count > limit
        for limit, count in (
            (most, len(merged.found)),
            (overlaps, merged.overlaps),
            (reversals, merged.reversals),
            (size, sum(end - start for start, end in merged.found)),
        )
    ):
        return None
    return [(start, end - start) for start, end in merged.found]


def _resolve(word: str, size: int) -> tuple[int, int] | None:
    """The first byte of a range and the byte after its last; None if it is malformed."""
    match = _SPEC.fullmatch(word)
    if match is None or word == "-" or max(map(len, match.groups())) > _MOST_DIGITS:
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if not last:
        return int(first), size
    return (int(first), min(int(last) + 1, size)) if int(first) <= int(last) else None


class _Merged:
    """Ranges. Those that overlap or adjoin the one before them are joined. Ends are after last bytes."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []
        self.overlaps = 0  # that were joined to the one before
        self.reversals = 0  # and of those, how many began before it

    def add(self, start: int, end: int) -> None:
        """Add the next range."""
        if not self.found or end < self.found[-1][0] or start > self.found[-1][1]:
            self.found.append((start, end))
            return
        before, behind = self.found[-1]
        self.overlaps += 1
        self.reversals += start < before
        self.found[-1] = (min(start, before), max(end, behind))


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
    """Whether each range begins where the one before it ends, or later, so that one pass over the bytes is enough."""
    return all(offset + length <= ranges[index][0] for index, (offset, length) in enumerate(ranges[:-1], 1))


class Cutter:
    """Makes a body in parts, with ranges in ascending order, from bytes that come in pieces.

    Invariant: the output, put together, does not depend on how the bytes were cut.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = deque(parts)
        self._place = 0

    def feed(self, data: bytes) -> bytes:
        """The part of the body that is known after these bytes."""
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
