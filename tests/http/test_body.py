"""Request bodies: by length and chunked, whole and byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.directive import Settings
from ownhost.http.body import BodyReader
from ownhost.http.limits import HeadLimits, head_limits
from ownhost.http.message import Head, HTTPError


def head(length: int = 0, chunked: bool = False) -> Head:
    return Head("POST", "/", 1, "a", "/", None, [], {}, keep_alive=True, content_length=length, chunked=chunked)


LIMITS = head_limits(Settings())


def body(head: Head, limit: int = 0, limits: HeadLimits = LIMITS) -> BodyReader:
    return BodyReader(head, limits, limit)


def read(reader: BodyReader, data: bytes, size: int) -> bytes:
    return b"".join(reader.feed(data[start : start + size]) for start in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_body_by_its_length(size: int) -> None:
    reader = body(head(10))
    assert read(reader, b"0123456789GET /next", size) == b"0123456789"
    assert reader.complete
    assert reader.leftover == b"GET /next"


def test_no_body_is_complete_at_once() -> None:
    assert body(head()).complete


CHUNKS = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_chunked_body(size: int) -> None:
    reader = body(head(chunked=True))
    assert read(reader, CHUNKS + b"GET /next", size) == b"hello world"
    assert reader.complete
    assert reader.leftover == b"GET /next"


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 60), st.binary(max_size=20))
def test_any_chunks_in_any_pieces(chunks: list[bytes], size: int, behind: bytes) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    reader = body(head(chunked=True))
    assert read(reader, data + behind, size) == b"".join(chunks)
    assert (reader.complete, reader.leftover, reader.size) == (True, behind, sum(map(len, chunks)))


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"\r\nhello",
        b"5\nhello\r\n0\r\n\r\n",
        b"5 5\r\nhello\r\n0\r\n\r\n",
        b"5           \r\nhello\r\n0\r\n\r\n",
        b"5           ;a\r\nhello\r\n0\r\n\r\n",
        b"5;a\x01b\r\nhello\r\n0\r\n\r\n",
        b"5;a\x7fb\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5;a\nhello\r\n0\r\n\r\n",
        b";a\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        b"5\r\nhello\r\n0\r\nA: b\x01\r\n\r\n",
        b"5\r\nhello\r\n0\r\nA: b\n\r\n",
        b"5\r\nhello\r\n0\r\nA: " + b"b" * 9_000 + b"\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"5\r\nhello\r\n0\r\n bad: trailer\r\n\r\n",
    ],
)
def test_malformed_chunks(data: bytes) -> None:
    for size in (1, len(data)):
        with pytest.raises(HTTPError) as refusal:
            read(body(head(chunked=True)), data, size)
        assert refusal.value.status == 400


@pytest.mark.parametrize(
    "size",
    [
        b"5;a=b",
        b"5; a",
        b"5 ;a",
        b"5\t",
        b"5          ",
        b"5 \t      ;\ta\xff",
        b"5;",
        b'5;a="b"',
        b"0" * 40 + b"5",
        b"05",
    ],
)
def test_sizes_with_what_means_nothing(size: bytes) -> None:
    data = size + b"\r\nhello\r\n000;x\r\n\r\n"
    for piece in (1, len(data)):
        assert read(body(head(chunked=True)), data, piece) == b"hello"


@pytest.mark.parametrize("data", [b"f" * 16, b"8000000000000000", b"F" * 17, b"1" * 100_000, b"5;" + b"a" * 9_000])
def test_more_than_can_be_said(data: bytes) -> None:
    for size in (1, 1000, len(data)):
        with pytest.raises(HTTPError) as refusal:
            read(body(head(chunked=True)), data + b"\r\n", size)
        assert refusal.value.status == 413


def test_limits() -> None:
    with pytest.raises(HTTPError) as refusal:
        body(head(11), limit=10)
    assert refusal.value.status == 413
    body(head(10), limit=10)
    with pytest.raises(HTTPError) as refusal:
        body(head(chunked=True), limit=10).feed(CHUNKS)
    assert refusal.value.status == 413
    assert body(head(chunked=True), limit=11).feed(CHUNKS) == b"hello world"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_too_much_in_front_of_what_is_malformed(size: int) -> None:
    with pytest.raises(HTTPError) as refusal:
        read(body(head(chunked=True), limit=10), b"b\r\n" + b"x" * 11 + b"no end", size)
    assert refusal.value.status == 413


def test_an_endless_chunk_size_is_refused() -> None:
    with pytest.raises(HTTPError):
        read(body(head(chunked=True)), b"1" * 100_000, 1000)
