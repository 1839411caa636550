"""Arbitrary and mutated heads: never anything but an answer or an HTTPError, and gates and workers always agree."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.directive import Settings
from ownhost.http.head import head_end, parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import Head, HTTPError
from ownhost.http.peek import peek

LIMITS = head_limits(Settings())
TOKEN = st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1, max_size=12)
NAME = st.sampled_from(["Accept", "X-a", "Cookie", "User-Agent", "If-Match"]) | TOKEN.map(lambda text: f"x{text}")
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30)
HOST = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5}){0,2}", fullmatch=True)
PATH = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="?#"), max_size=40)


def parse(data: bytes) -> Head | None:
    try:
        return parse_head(data, LIMITS)
    except HTTPError as error:
        assert 400 <= error.status <= 599  # noqa: PT017 - the point: nothing else may be raised
        return None


def agree(data: bytes) -> None:
    head = parse(data)
    seen = peek(data, cut=True)
    if head is not None:
        assert seen.host == head.host


@given(st.binary(max_size=300))
def test_arbitrary_bytes(data: bytes) -> None:
    agree(data)
    agree(b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n")


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    fields = draw(st.lists(st.tuples(NAME, VALUE), max_size=6))
    lines = [
        f"{draw(TOKEN)} /{draw(PATH)} HTTP/1.1",
        f"Host: {draw(HOST)}",
        *(f"{name}: {value}" for name, value in fields),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


@given(heads())
def test_valid_heads_as_h11_reads_them(data: bytes) -> None:
    head = parse(data)
    oracle = h11.Connection(h11.SERVER)
    oracle.receive_data(data)
    try:
        event = oracle.next_event()
    except h11.RemoteProtocolError:
        return  # a Content-Length, Transfer-Encoding... by chance
    if head is None:
        return
    assert isinstance(event, h11.Request)
    assert head.method.encode() == event.method
    assert head.target.encode("latin-1") == event.target
    found = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in head.fields]
    assert found == list(event.headers)


@given(heads())
def test_generated_heads_are_accepted(data: bytes) -> None:
    assert head_end(data) == len(data)
    assert parse_head(data, LIMITS).path.startswith("/")
    agree(data)


@given(heads(), st.integers(0, 400), st.binary(min_size=0, max_size=3))
def test_mutated_heads(data: bytes, place: int, put: bytes) -> None:
    place %= len(data)
    agree(data[:place] + put + data[place:])
    agree(data[:place] + put + data[place + len(put) :])
    agree(data[:place] + data[place + 1 :])
