"""Dates, conditions, ranges, framing and read timeouts, each against its RFC section."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.directive import ArgumentError, Call, Source, Where
from ownhost.http import framing
from ownhost.http.conditional import evaluate, if_range_matches
from ownhost.http.dates import format_date, parse_date
from ownhost.http.message import FileBody, Head, Response, parts_length
from ownhost.http.ranges import Cutter, are_in_order, multipart, parse_ranges
from ownhost.modules.reqtimeout import ReadTimeout, Stage, parse_read_timeout

NOW = 4_000


@given(st.integers(0, 4_000_000_000))
def test_dates_survive(seconds: int) -> None:
    assert parse_date(format_date(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_the_three_forms_of_a_date(text: str) -> None:
    assert parse_date(text) == 784_111_777


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 6 Nov 1994 08:49:37 GMT", 784_111_777),
        ("Mon, 06 Nov 1994 08:49:37 +0100", 784_111_777),
        ("Sun, 06 Nov 1994 08:49:61 GMT", 784_111_801),
        ("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
        ("Fri, 29 Feb 2025 00:00:00 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("Sun, 06 nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 94 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:00:00 GMT", None),
        ("Sun, 06 Nov 1994 8:49:37 GMT", None),
        ("06 Nov 1994 08:49:37 GMT", None),
        ("1994-11-06T08:49:37Z", None),
        ("784111777", None),
        ("", None),
    ],
)
def test_dates_are_read_as_leniently_as_apache_reads_them(text: str, seconds: int | None) -> None:
    assert parse_date(text) == seconds


def test_a_date_in_the_future_is_no_condition() -> None:
    assert evaluate(head(if_modified_since=format_date(NOW)), None, 1000, NOW) == 304
    assert evaluate(head(if_modified_since=format_date(NOW + 1)), None, 1000, NOW) is None


@given(st.text(max_size=40))
def test_any_text_is_a_date_or_none(text: str) -> None:
    assert parse_date(text) is None or isinstance(parse_date(text), int)


def head(method: str = "GET", **values: str) -> Head:
    fields = {name.replace("_", "-"): value for name, value in values.items()}
    return Head(method, "/", 1, "a", "/", None, [], fields, keep_alive=True)


def test_a_tag_goes_before_a_date() -> None:
    late = format_date(2000)
    assert evaluate(head(if_none_match='"x"', if_modified_since=late), '"y"', 1000, NOW) is None
    assert evaluate(head(if_none_match='"x"', if_modified_since=late), '"x"', 3000, NOW) == 304
    assert evaluate(head(if_match='"x"', if_unmodified_since=format_date(0)), '"x"', 1000, NOW) is None


def test_methods_that_change_things_get_412() -> None:
    assert evaluate(head("PUT", if_none_match="*"), '"x"', 1000, NOW) == 412
    assert evaluate(head("PUT", if_none_match="*"), None, None, NOW, exists=False) is None
    assert evaluate(head("POST", if_modified_since=format_date(2000)), '"x"', 1000, NOW) is None


def test_if_match_compares_strongly_if_none_match_weakly() -> None:
    assert evaluate(head(if_match='W/"x"'), 'W/"x"', 1000, NOW) == 412
    assert evaluate(head(if_none_match='W/"x"'), '"x"', 1000, NOW) == 304
    assert if_range_matches('"x"', '"x"', None)
    assert not if_range_matches('W/"x"', 'W/"x"', None)


@given(st.text(max_size=60), st.text(max_size=60), st.none() | st.just('"x"'))
def test_conditions_of_any_text_are_answered(tags: str, date: str, etag: str | None) -> None:
    request = head(if_none_match=tags, if_modified_since=date, if_match=tags, if_unmodified_since=date)
    assert evaluate(request, etag, 1000.5, NOW) in (None, 304, 412)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=5-", [(5, 5)]),
        ("bytes=-3", [(7, 3)]),
        ("bytes=-0", []),
        ("bytes=10-", []),
        ("bytes=9-100", [(9, 1)]),
        ("bytes=0-1,4-5", [(0, 2), (4, 2)]),
        ("bytes=0-1, ,4-5", [(0, 2), (4, 2)]),
        ("bytes=0-1,2-3,5-6", [(0, 4), (5, 2)]),
        ("bytes=5-6,2-4", [(2, 5)]),
        ("bytes=0-3,2-5", [(0, 6)]),
        ("bytes=0-9,2-5", [(0, 10)]),
        ("bytes=0-1,5-6,0-1", [(0, 2), (5, 2), (0, 2)]),
        ("bytes=0-5,7-9,0-5", None),
        ("bytes=-3,-0", [(7, 3)]),
        ("bytes=20-30,0-1", [(0, 2)]),
        ("BYTES=0-1", [(0, 2)]),
        ("bytes=3-2", None),
        ("bytes=-", None),
        ("bytes", None),
        ("bytes=a-b", None),
        ("seconds=0-1", None),
        ("bytes=" + "9" * 60 + "-", None),
    ],
)
def test_ranges_of_ten_bytes(value: str, expected: list[tuple[int, int]] | None) -> None:
    assert parse_ranges(value, 10) == expected


def test_too_many_ranges_are_all_of_the_file() -> None:
    assert parse_ranges("bytes=" + ",".join(["0-1"] * 201), 1000) is None
    apart = [f"{place}-{place}" for place in range(0, 402, 2)]
    assert parse_ranges("bytes=" + ",".join(apart[:200]), 1000) is not None
    assert parse_ranges("bytes=" + ",".join(apart), 1000) is None
    assert parse_ranges("bytes=0-5,3-8", 10, overlaps=0) is None
    assert parse_ranges("bytes=0-5,6-8", 10, overlaps=0) is None
    assert parse_ranges("bytes=5-6,0-1", 10, reversals=0) == [(5, 2), (0, 2)]
    assert parse_ranges("bytes=5-6,0-4", 10, reversals=0) is None


def test_an_empty_file_has_no_ranges() -> None:
    assert parse_ranges("bytes=0-", 0) is None


@given(st.text("0123456789-, =bytes", max_size=60), st.integers(0, 50))
def test_ranges_stay_in_the_file(value: str, size: int) -> None:
    for offset, length in parse_ranges(f"bytes={value}", size) or []:
        assert length > 0
        assert 0 <= offset <= offset + length <= size


def test_multipart_is_as_long_as_its_parts_say() -> None:
    content_type, parts = multipart([(0, 2), (5, 1)], 10, "text/plain")
    boundary = content_type.rpartition("=")[2].encode()
    assert FileBody(-1, parts).length == sum(len(part) for part in parts if isinstance(part, bytes)) + 3
    assert isinstance(parts[-1], bytes)
    assert parts[-1].endswith(b"--" + boundary + b"--\r\n")


def test_framing() -> None:
    response = Response(200, [("X", "y")], b"12345")
    response.prepared = framing.prepare(response, "Test")
    text = framing.head_bytes(response, framing.CLOSE).decode()
    assert text.startswith("HTTP/1.1 200 OK\r\nServer: Test\r\nX: y\r\nContent-Length: 5\r\nDate: ")
    assert text.endswith(" GMT\r\nConnection: close\r\n\r\n")
    for status in (204, 304):
        assert b"Content-Length" not in framing.prepare(Response(status), "")
    assert framing.chunk(b"x" * 255) == b"ff\r\n" + b"x" * 255 + b"\r\n"
    assert framing.prepare(Response(599), "").startswith(b"HTTP/1.1 599 ")


def call(*args: str) -> Call:
    return Call("RequestReadTimeout", args, " ".join(args), Source("f", 1), Where.SERVER, "/")


def test_read_timeouts() -> None:
    stages = parse_read_timeout(call("header=10-30,MinRate=100", "body=5"))
    assert stages == {"header": Stage(10, 30, 100), "body": Stage(5)}
    timeout = ReadTimeout(**stages)
    assert timeout.head_deadline(1000.0, 0) == 1010.0
    assert timeout.head_deadline(1000.0, 500) == 1015.0
    assert timeout.head_deadline(1000.0, 1_000_000) == 1030.0
    assert timeout.body_deadline(1000.0, 1_000_000) == 1005.0
    assert Stage().deadline(0, 0) == inf


@pytest.mark.parametrize(
    "argument", ["", "head=1", "header=", "header=5-3,MinRate=1", "header=1-2", "header=x", "header=1;"]
)
def test_read_timeouts_that_are_none(argument: str) -> None:
    with pytest.raises(ArgumentError):
        parse_read_timeout(call(argument) if argument else call())


@given(st.binary(max_size=60), st.lists(st.integers(0, 20)), st.text("0123456789-,", max_size=20))
def test_parts_are_cut_alike_however_the_bytes_come(whole: bytes, sizes: list[int], value: str) -> None:
    wanted = parse_ranges(f"bytes={value}", len(whole)) or []
    if not are_in_order(wanted):
        return
    _, parts = multipart(wanted, len(whole), "text/plain")
    expected = b"".join(part if isinstance(part, bytes) else whole[part[0] : sum(part)] for part in parts)
    cutter = Cutter(parts)
    found, place = b"", 0
    for size in (*sizes, len(whole)):
        found += cutter.feed(whole[place : place + size])
        place += size
    assert found == expected
    assert parts_length(parts) == len(expected)


def test_ranges_in_their_order() -> None:
    assert are_in_order([])
    assert are_in_order([(0, 5), (5, 1), (9, 2)])
    assert not are_in_order([(0, 5), (4, 1)])
    assert not are_in_order([(5, 1), (0, 5)])
