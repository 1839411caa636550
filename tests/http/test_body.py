"""Request bodies: by length and chunked, whole and byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.http.body import BodyReader
from ownhost.http.message import Head, HTTPError


def head(length: int = 0, chunked: bool = False) -> Head:
    return Head("POST", "/", 1, "a", "/", None, [], {}, keep_alive=True, content_length=length, chunked=chunked)


def read(reader: BodyReader, data: bytes, size: int) -> bytes:
    return b"".join(reader.feed(data[start : start + size]) for start in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_body_by_its_length(size: int) -> None:
    reader = BodyReader(head(10))
    assert read(reader, b"0123456789GET /next", size) == b"0123456789"
    assert reader.complete
    assert reader.leftover == b"GET /next"


def test_no_body_is_complete_at_once() -> None:
    assert BodyReader(head()).complete


CHUNKS = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_chunked_body(size: int) -> None:
    reader = BodyReader(head(chunked=True))
    assert read(reader, CHUNKS + b"GET /next", size) == b"hello world"
    assert reader.complete
    assert reader.leftover == b"GET /next"


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 60), st.binary(max_size=20))
def test_any_chunks_in_any_pieces(chunks: list[bytes], size: int, behind: bytes) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    reader = BodyReader(head(chunked=True))
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
        b"ffffffffffffffffffffffff\r\n",
        b"5\r\nhello\r\n0\r\n bad: trailer\r\n\r\n",
    ],
)
def test_malformed_chunks(data: bytes) -> None:
    for size in (1, len(data)):
        with pytest.raises(HTTPError) as refusal:
            read(BodyReader(head(chunked=True)), data, size)
        assert refusal.value.status == 400


def test_limits() -> None:
    with pytest.raises(HTTPError) as refusal:
        BodyReader(head(11), limit=10)
    assert refusal.value.status == 413
    BodyReader(head(10), limit=10)
    with pytest.raises(HTTPError) as refusal:
        BodyReader(head(chunked=True), limit=10).feed(CHUNKS)
    assert refusal.value.status == 413
    assert BodyReader(head(chunked=True), limit=11).feed(CHUNKS) == b"hello world"


def test_an_endless_chunk_size_is_refused() -> None:
    with pytest.raises(HTTPError):
        read(BodyReader(head(chunked=True)), b"1" * 100_000, 1000)
