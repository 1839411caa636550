"""The corpus of request heads: what must come of each, whole and byte by byte, for workers and for gates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from ownhost.config.directive import Settings
from ownhost.http.head import head_end, parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import Head, HTTPError
from ownhost.http.peek import peek

CORPUS = Path(__file__).parent / "corpus"
LIMITS = head_limits(Settings())
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|([rnt0\\]))")
_PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


@dataclass(frozen=True)
class Case:
    """One request head and what must come of it."""

    title: str
    data: bytes
    expected: str


def unescape(text: str) -> bytes:
    def repeat(match: re.Match[str]) -> str:
        return match[1] * int(match[2])

    raw = re.sub(r"\{([^{}]*)\*([0-9]+)\}", repeat, text).encode("utf-8")
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else _PLAIN[found[2]], raw)


def cases() -> list[Case]:
    found = []
    for path in sorted(CORPUS.glob("*.txt")):
        for block in path.read_text().split("## ")[1:]:
            title, _, rest = block.partition("\n")
            body, _, expected = rest.partition("\n=> ")
            found.append(Case(f"{path.stem}: {title}", unescape(body.replace("\n", "")), expected.strip("\n")))
    return found


CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_what_comes_of_it(case: Case) -> None:
    if case.expected.isdigit():
        with pytest.raises(HTTPError) as refusal:
            parse_head(case.data, LIMITS)
        assert refusal.value.status == int(case.expected)
        assert refusal.value.reason
        return
    head = parse_head(case.data, LIMITS)
    for name, value in expectations(case.expected):
        assert found_value(head, name) == unescape(value).decode("latin-1")


def expectations(text: str) -> list[tuple[str, str]]:
    parts = re.split(r" (?=(?:value:)?[a-z_-]+=)", text)
    return [(name, value) for name, _, value in (part.partition("=") for part in parts)]


def found_value(head: Head, name: str) -> str:
    if name.startswith("value:"):
        return head.values[name.removeprefix("value:")]
    return str(getattr(head, name))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_gates_see_what_workers_see(case: Case) -> None:
    """The invariant that keeps virtual hosts apart: whatever a worker accepts, a gate reads in the same way."""
    try:
        head = parse_head(case.data, LIMITS)
    except HTTPError:
        peek(case.data, cut=True)  # must not raise
        return
    seen = peek(case.data)
    assert (seen.complete, seen.host) == (True, head.host)


@pytest.mark.parametrize("case", [case for case in CASES if len(case.data) < 500], ids=lambda case: case.title)
def test_byte_by_byte(case: Case) -> None:
    """A head is complete at one byte, and not before; bytes behind it change nothing.

    One that nothing can follow is complete with its first line.
    """
    end = head_end(case.data)
    ends = [head_end(case.data[:count]) for count in range(len(case.data) + 1)]
    first = next((count for count, found in enumerate(ends) if found >= 0), len(case.data) + 1)
    assert all(found >= 0 for found in ends[first:])
    if 0 <= first < end:
        assert case.data[:first].strip().count(b"\n") == 0
        assert outcome(case.data[:first]) == outcome(case.data)
    if not case.expected.isdigit():
        assert end == len(case.data)
        behind = case.data + b"GET /behind HTTP/1.1\r\nHost: behind\r\n\r\n"
        if first < end or not case.data.endswith(b"\r\n\r\n"):  # what follows HTTP/0.9 is nobody's
            assert outcome(behind) == outcome(case.data)
            return
        assert head_end(behind) == end
        assert parse_head(behind[:end], LIMITS) == parse_head(case.data, LIMITS)


def outcome(data: bytes) -> Head | int:
    """What comes of a head: what it says, or a status."""
    try:
        return parse_head(data, LIMITS)
    except HTTPError as error:
        return error.status


def test_there_is_a_corpus() -> None:
    assert len(CASES) > 140
    assert len({case.title for case in CASES}) == len(CASES)
