"""What the WSGI runner reads: records and parameters, however they arrive and whatever they are."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pytest
from fastcgi_responder import MOST_CONTENT, STDOUT, Broken, Record, parse_params, read_record, records
from hypothesis import given
from hypothesis import strategies as st
from wsgi_runner import Input

from fastcgi_client import pairs
from fastcgi_client import record as encoded

TEXT = st.text(st.characters(max_codepoint=255), max_size=300)


def one_by_one(data: bytes) -> Callable[[int], bytes]:
    """A receive function that gives a byte at a time."""
    stream = io.BytesIO(data)
    return lambda size: stream.read(min(size, 1))


@given(st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=1000))
def test_records_are_read_however_they_arrive(kind: int, number: int, content: bytes) -> None:
    data = encoded(kind, content, number)
    for receive in (io.BytesIO(data).read, one_by_one(data)):
        assert read_record(receive) == Record(kind, number, content)
        with pytest.raises(EOFError):
            read_record(receive)


@given(st.binary(max_size=100))
def test_whatever_comes_is_a_record_or_broken(data: bytes) -> None:
    try:
        assert len(read_record(one_by_one(data)).content) <= len(data) - 8
    except Broken:
        pass
    except EOFError:
        assert not data


@given(st.binary(max_size=3 * MOST_CONTENT))
def test_a_stream_is_records_that_none_is_empty_of(content: bytes) -> None:
    receive = io.BytesIO(b"".join(records(STDOUT, 1, content))).read
    found = b""
    while len(found) < len(content):
        part = read_record(receive)
        assert part.content
        found += part.content
    assert found == content
    with pytest.raises(EOFError):
        read_record(receive)


@given(st.dictionaries(TEXT, TEXT, max_size=5))
def test_parameters_are_what_was_sent(params: dict[str, str]) -> None:
    assert parse_params(pairs(params)) == params


@given(st.binary(max_size=60))
def test_whatever_comes_is_parameters_or_broken(data: bytes) -> None:
    try:
        found = parse_params(data)
    except Broken:
        return
    assert sum(len(name) + len(value) for name, value in found.items()) <= len(data)


@pytest.mark.parametrize(
    "data",
    [b"\x01", b"\x01\x00", b"\x80\x00\x00", struct.pack(">I", 0xFFFFFFFF) * 2, b"\x05\x05name"],
)
def test_cut_parameters_are_broken(data: bytes) -> None:
    with pytest.raises(Broken):
        parse_params(data)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 60))
def test_a_body_is_read_in_any_steps(parts: list[bytes], step: int) -> None:
    body = io.BufferedReader(Input(iter(parts)), 16)
    found = []
    while part := body.read(step):
        found.append(part)
    assert b"".join(found) == b"".join(parts)
    assert all(len(part) == step for part in found[:-1])
