"""FastCGI: requests as a reader of the specification reads them, answers in pieces of any size, and a real php-fpm."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pieces import CUTS, pieces, single
from ownhost.apps import fastcgi
from ownhost.apps.fastcgi import Complaint, End, Event, FastCGIError, Output, ProtocolStatus, Responses
from ownhost.http.wire import from_bytes

STDOUT, STDERR, END = 6, 7, 3
DONE = struct.pack(">IB3x", 0, 0)
VARIABLES = st.dictionaries(st.binary(max_size=200), st.binary(max_size=400), max_size=5)


def record(type_: int, content: bytes, *, padding: int = 0, request: int = 1, version: int = 1) -> bytes:
    return struct.pack(">BBHHBx", version, type_, request, len(content), padding) + content + b"\xff" * padding


def records(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        version, type_, request, length, padding = struct.unpack_from(">BBHHBx", data)
        assert (version, request) == (1, 1)
        found.append((type_, data[8 : 8 + length]))
        assert len(data) >= 8 + length + padding
        data = data[8 + length + padding :]
    return found


def pairs(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    while data:
        lengths = []
        for _ in range(2):
            if data[0] < 128:
                lengths.append(data[0])
                data = data[1:]
            else:
                lengths.append(struct.unpack(">I", data[:4])[0] & 0x7FFFFFFF)
                data = data[4:]
        name, value, data = data[: lengths[0]], data[lengths[0] : sum(lengths)], data[sum(lengths) :]
        found[name] = value
    return found


@given(VARIABLES, st.booleans())
def test_a_request_says_its_variables(variables: dict[bytes, bytes], keep: bool) -> None:
    texts = {from_bytes(name): from_bytes(value) for name, value in variables.items()}
    first, *params = records(fastcgi.begin(texts, keep_connection=keep))
    assert first == (1, bytes((0, 1, keep, 0, 0, 0, 0, 0)))
    assert {type_ for type_, _ in params} == {4}
    assert params[-1] == (4, b"")
    assert all(content for _, content in params[:-1])
    assert pairs(b"".join(content for _, content in params)) == variables


def test_what_is_long_takes_several_records() -> None:
    value = b"v" * 200_000
    params = records(fastcgi.begin({"LONG": value.decode()}))[1:]
    assert len(params) == 5
    assert pairs(b"".join(content for _, content in params)) == {b"LONG": value}
    stdin = records(fastcgi.body(value) + fastcgi.end_of_body())
    assert b"".join(content for _, content in stdin) == value
    assert stdin[-1] == (5, b"")
    assert fastcgi.body(b"") == b""
    assert records(fastcgi.abort()) == [(2, b"")]


def outcome(parts: list[bytes]) -> tuple[bytes, bytes, End | None, bool] | None:
    """Output, complaints, the end and whether the connection can be used again; None for an error."""
    parser = Responses()
    events: list[Event] = []
    try:
        for part in parts:
            events += parser.feed(part)
    except FastCGIError:
        return None
    out = b"".join(event.data for event in events if isinstance(event, Output))
    complaints = b"".join(event.data for event in events if isinstance(event, Complaint))
    ends = [event for event in events if isinstance(event, End)]
    assert len(ends) == parser.ended
    return out, complaints, ends[0] if ends else None, parser.reusable


def test_an_answer_byte_by_byte() -> None:
    data = (
        record(STDOUT, b"Status: 200\r\n", padding=3)
        + record(STDERR, b"oh", padding=255)
        + record(99, b"what is this", request=0)
        + record(STDOUT, b"\r\nbody")
        + record(STDERR, b" no\n")
        + record(STDOUT, b"")
        + record(END, struct.pack(">IB3x", 3, 0), padding=8)
    )
    expected = (b"Status: 200\r\n\r\nbody", b"oh no\n", End(3, ProtocolStatus.REQUEST_COMPLETE), True)
    assert outcome([data]) == expected
    assert outcome(single(data)) == expected
    assert outcome([data, b"x"]) == outcome([data + b"x"]) == (*expected[:3], False)


RECORDS = st.lists(
    st.builds(
        record,
        st.sampled_from([STDOUT, STDERR, END, 0, 11]),
        st.binary(max_size=20) | st.just(DONE),
        padding=st.integers(0, 9),
        request=st.sampled_from([1, 1, 1, 1, 0]),
        version=st.sampled_from([1, 1, 1, 1, 2]),
    ),
    max_size=6,
).map(b"".join)


@given(RECORDS | st.binary(max_size=60), CUTS)
def test_how_it_is_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    assert outcome([data]) == outcome(pieces(data, cuts)) == outcome(single(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HTTP/1.1 200 OK\r\n", "not FastCGI 1"),
        (record(STDOUT, b"x", request=2), "request 2"),
        (record(END, b"short"), "5 bytes instead of 8"),
        (record(END, struct.pack(">IB3x", 0, 9)), "unknown status 9"),
    ],
)
def test_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(FastCGIError, match=message):
        Responses().feed(data)


def test_an_answer_that_breaks_off() -> None:
    parser = Responses()
    parser.feed(record(STDOUT, b"Status: 200\r\n"))
    with pytest.raises(FastCGIError, match="before its answer was complete"):
        parser.close()
    parser = Responses()
    parser.feed(record(END, DONE))
    assert parser.reusable
    parser.close()
    assert not parser.reusable


def test_other_ends() -> None:
    assert Responses().feed(record(END, struct.pack(">IB3x", 0, 2))) == [End(0, ProtocolStatus.OVERLOADED)]
