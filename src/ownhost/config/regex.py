"""Regular expressions: those of PCRE2, the library that Apache uses, called directly (pcre2api(3), ctypes).

Options are Apache's own (server/util_pcre.c, RegexDefaultOptions): a text is bytes without Unicode
properties, "." is any of them, "$" is only the very end, and two groups may have one name. Texts
and results are UTF-8 with surrogate escapes. As in Apache, a text ends at its first NUL.

Nothing is compiled to machine code (no JIT): processes that serve may not make memory executable.

Invariant: a search ends. PCRE2 counts steps for each place at which a match may begin, starting
anew, and a step may look at all of the text. So a search of the whole text gets few steps for each
place. If they are not enough, the text is searched in parts: the fewer places in one, the more
steps, and a clock is checked between parts. A search that takes more time, steps or memory raises
`PatternFailed`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_ulong, c_void_p
from typing import Any

from ownhost.config.directive import ArgumentError, Source

STEPS = 1_000_000  # of one call, at all its places together: about 12 ms
SECONDS = 0.04  # of processor time, for all parts of one search
MEMORY = 32 * 1024  # KiB, for what one search may have to go back to
_ENCODING = "utf-8", "surrogateescape"

# pcre2.h
_CASELESS, _DOLLAR_ENDONLY, _DOTALL, _DUPNAMES, _USE_OFFSET_LIMIT = 0x8, 0x10, 0x20, 0x40, 0x800000
_OPTIONS = _DUPNAMES | _DOTALL | _DOLLAR_ENDONLY | _USE_OFFSET_LIMIT
_ANCHORED = 0x80000000
_INFO_ALLOPTIONS, _INFO_CAPTURECOUNT, _INFO_NAMECOUNT, _INFO_NAMEENTRYSIZE, _INFO_NAMETABLE = 0, 4, 17, 18, 19
_NO_MATCH, _MATCH_LIMIT, _DEPTH_LIMIT, _HEAP_LIMIT = -1, -47, -53, -63
_REASONS = {
    _MATCH_LIMIT: "it takes too long; avoid repetitions within repetitions",
    _DEPTH_LIMIT: "it goes too deep",
    _HEAP_LIMIT: "it takes too much memory",
}


def _library() -> ctypes.CDLL:
    try:
        return ctypes.PyDLL("libpcre2-8.so.0")
    except OSError as error:
        raise ImportError(f"PCRE2 is missing: install libpcre2-8-0 (Debian) or pcre2 ({error})") from None


_PCRE2 = _library()


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_PCRE2, f"pcre2_{name}_8")
    function.restype, function.argtypes = result, arguments or None
    return function


_compile = _function("compile", c_void_p, c_char_p, c_size_t, c_uint32, POINTER(c_int), POINTER(c_size_t), c_void_p)
_code_free = _function("code_free", None, c_void_p)
_pattern_info = _function("pattern_info", c_int, c_void_p, c_uint32, c_void_p)
_error_message = _function("get_error_message", c_int, c_int, c_char_p, c_size_t)
_data_create = _function("match_data_create", c_void_p, c_uint32, c_void_p)
_data_free = _function("match_data_free", None, c_void_p)
_ovector = _function("get_ovector_pointer", c_void_p, c_void_p)
_context_create = _function("match_context_create", c_void_p, c_void_p)
_set_match_limit = _function("set_match_limit", c_int, c_void_p, c_uint32)
_set_offset_limit = _function("set_offset_limit", c_int, c_void_p, c_size_t)
_set_heap_limit = _function("set_heap_limit", c_int, c_void_p, c_uint32)
# Called for each search. Its arguments have their C types already, so they are not converted each
# time.
_match = _function("match", c_int)
_TO_THE_NUL, _START, _NO_OPTIONS = c_size_t(-1), c_size_t(0), c_uint32(0)
_UNSET = c_size_t(-1).value  # the place of a group that took no part


class PatternFailed(Exception):
    """A regular expression was given up. The message says which one, its place, and why."""


class _Room:
    """Where a search writes its result. There is one for the whole process, as no two threads search."""

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.data = c_void_p(_data_create(groups + 1, None))
        self.offsets = (c_size_t * (2 * groups + 2)).from_address(_ovector(self.data))


_room = _Room(15)


def _steps(length: int, places: int) -> int:
    """The steps that a call may take at each place of a text."""
    if places == 1:
        return max(STEPS >> max(length.bit_length() - 10, 0), 4 * length)
    return STEPS >> places.bit_length() >> max(length.bit_length() - 6, 0) or 1


def _context(steps: int) -> c_void_p:
    context = c_void_p(_context_create(None))
    _set_match_limit(context, steps)
    _set_heap_limit(context, MEMORY)
    return context


# For the first call, by the number of bits of the text's length.
_AT_ONE_PLACE = [_context(_steps(2**bits - 1, 1)) for bits in range(28)]
_AT_EVERY_PLACE = [_context(_steps(2**bits - 1, 2**bits)) for bits in range(28)]
_OF_A_PART = _context(1)


class Pattern:
    """A compiled regular expression. It pickles as its source. Raises `ArgumentError` for an invalid one.

    `groups` is their number, `names` those that have one. `source` is the place to name if a search
    fails.
    """

    __slots__ = ("_code", "_ends", "_limits", "groups", "ignore_case", "names", "pattern", "source")

    def __init__(self, pattern: str, ignore_case: bool = False, source: Source | None = None) -> None:
        self.pattern = pattern
        self.ignore_case = ignore_case
        self.source = source
        self._code = c_void_p()
        written = pattern.encode(*_ENCODING)
        options = _OPTIONS | (_CASELESS if ignore_case else 0)
        error, offset = c_int(), c_size_t()
        self._code = c_void_p(_compile(written, len(written), options, byref(error), byref(offset), None))
        if not self._code:
            before = written[: offset.value].decode(*_ENCODING)
            raise ArgumentError(
                f"the regular expression {pattern!r} cannot be used: {_said(error.value)} (behind {before!r})"
            )
        self.groups = self._info(_INFO_CAPTURECOUNT)
        self._ends = 2 * self.groups + 2  # where a match and its groups begin and end
        self.names = self._names() if "(?" in pattern else ()
        anchored = self._info(_INFO_ALLOPTIONS) & _ANCHORED  # by how it is written, too
        self._limits = _AT_ONE_PLACE if anchored else _AT_EVERY_PLACE
        if self.groups > _room.groups:
            _renew(self.groups)

    def __del__(self, free: Callable[[c_void_p], None] = _code_free) -> None:  # when the process ends, names are gone
        free(self._code)

    def __reduce__(self) -> tuple[type[Pattern], tuple[str, bool, Source | None]]:
        return Pattern, (self.pattern, self.ignore_case, self.source)

    def __repr__(self) -> str:
        return f"Pattern({self.pattern!r}{', ignore_case=True' if self.ignore_case else ''})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.pattern == self.pattern and other.ignore_case == self.ignore_case

    def __hash__(self) -> int:
        return hash((self.pattern, self.ignore_case))

    def search(self, text: str) -> tuple[str, ...]:
        """The first match: all of it, and then each group, "" if it took no part; () if nothing matches.

        Raises PatternFailed.
        """
        data = text.encode("utf-8", "surrogateescape")
        limits = self._limits[len(data).bit_length()]
        found = _match(self._code, data, _TO_THE_NUL, _START, _NO_OPTIONS, _room.data, limits)
        if found == _NO_MATCH or (found < 0 and not self._in_parts(data, found)):
            return ()
        ends = _room.offsets[: self._ends]
        if len(data) == len(text):
            return tuple([text[ends[place] : ends[place + 1]] for place in range(0, self._ends, 2)])
        return tuple([data[ends[place] : ends[place + 1]].decode(*_ENCODING) for place in range(0, self._ends, 2)])

    def named(self, text: str) -> dict[str, str] | None:
        """The named groups that take part in the result of `search`; None if nothing matches. Raises PatternFailed."""
        found = self.search(text)
        if not found:
            return None
        return {name: found[group] for group, name in self.names if _room.offsets[2 * group] != _UNSET}

    def split(self, text: str) -> tuple[str, tuple[str, ...], str] | None:
        """The result of `search`, between the text before it and the text after it. Raises PatternFailed."""
        found = self.search(text)
        if not found:
            return None
        data = text.encode(*_ENCODING)
        start, end = _room.offsets[:2]
        return data[:start].decode(*_ENCODING), found, data[end:].decode(*_ENCODING)

    def _in_parts(self, data: bytes, failure: int) -> bool:
        """Whether anything matches, when one call cannot tell. Raises PatternFailed."""
        if failure != _MATCH_LIMIT or self._limits is _AT_ONE_PLACE:
            raise self._failed(data, failure)
        length = len(data)
        place, places, end = 0, length + 1, time.process_time() + SECONDS
        while place <= length:
            _set_offset_limit(_OF_A_PART, place + places - 1)
            _set_match_limit(_OF_A_PART, _steps(length, places))
            found = _match(self._code, data, _TO_THE_NUL, c_size_t(place), _NO_OPTIONS, _room.data, _OF_A_PART)
            if found > 0:
                return True
            if found == _NO_MATCH:
                place, places = place + places, places * 4
            elif found == _MATCH_LIMIT and places > 1:
                places = max(places // 4, 1)
            else:
                raise self._failed(data, found)
            if time.process_time() > end:
                raise self._failed(data, _MATCH_LIMIT)
        return False

    def _failed(self, data: bytes, failure: int) -> PatternFailed:
        _renew(_room.groups)  # it may have grown large
        where = f"{self.source}: " if self.source else ""
        why = _REASONS.get(failure) or _said(failure)
        return PatternFailed(
            f"{where}the regular expression {self.pattern!r} was given up in a text of {len(data)} bytes: {why}"
        )

    def _info(self, what: int) -> int:
        number = c_uint32()
        _pattern_info(self._code, what, byref(number))
        return number.value

    def _names(self) -> tuple[tuple[int, str], ...]:
        """The groups that have names, by number. The table's entries: two bytes of number, the name, a NUL."""
        count, size, table = self._info(_INFO_NAMECOUNT), self._info(_INFO_NAMEENTRYSIZE), c_ulong()
        if not count:
            return ()
        _pattern_info(self._code, _INFO_NAMETABLE, byref(table))
        entries = (ctypes.string_at(table.value + place * size, size) for place in range(count))
        return tuple(sorted((int.from_bytes(one[:2]), one[2:].partition(b"\0")[0].decode()) for one in entries))


def _renew(groups: int) -> None:
    global _room
    old, _room = _room, _Room(groups)
    _data_free(old.data)


def _said(code: int) -> str:
    """The library's own message for an error."""
    text = ctypes.create_string_buffer(256)
    _error_message(code, text, len(text))
    return text.value.decode()
