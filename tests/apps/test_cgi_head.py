"""Heads of programs: what is read, what is refused, and that it makes no difference how they arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pieces import CUTS, pieces, single

from ownhost.apps.cgi_head import HeadParser, MalformedHead, ProgramHead


def read(parts: list[bytes], *, has_status_line: bool = False) -> tuple[ProgramHead, bytes]:
    parser = HeadParser(has_status_line=has_status_line, limit=200)
    body = b"".join(parser.feed(part) for part in parts)
    parser.close()
    assert parser.head is not None
    return parser.head, body


def outcome(parts: list[bytes], *, has_status_line: bool) -> tuple[ProgramHead, bytes] | str:
    try:
        return read(parts, has_status_line=has_status_line)
    except MalformedHead as error:
        return str(error)


@pytest.mark.parametrize(
    ("data", "expected", "body"),
    [
        (b"Content-Type: text/html\n\nhello", ProgramHead(200, [("Content-Type", "text/html")]), b"hello"),
        (b"Content-Type: text/html\r\n\r\n\r\n", ProgramHead(200, [("Content-Type", "text/html")]), b"\r\n"),
        (b"A:b\r\n\nx", ProgramHead(200, [("A", "b")]), b"x"),
        (b"\nx", ProgramHead(200, []), b"x"),
        (b"Status: 404 Not Found\nX: \t y \n\n", ProgramHead(404, [("X", "y")]), b""),
        (b"status:500\nX:\n\n", ProgramHead(500, [("X", "")]), b""),
        (b"Location: http://a/\n\n", ProgramHead(302, [("Location", "http://a/")]), b""),
        (b"Location: http://a/\nStatus: 301\n\n", ProgramHead(301, [("Location", "http://a/")]), b""),
        (b"Location: /a?b\nSet-Cookie: c\n\nx", ProgramHead(200, [], local_redirect="/a?b"), b"x"),
        (b"Location: /a?b\nStatus: 303 x\n\n", ProgramHead(303, [("Location", "/a?b")]), b""),
        (
            b"Set-Cookie: a\nSet-Cookie: b\nX: \xe9\n\n",
            ProgramHead(200, [("Set-Cookie", "a"), ("Set-Cookie", "b"), ("X", "é")]),
            b"",
        ),
        (b"Content-Length: 5\nDate: x\nServer: y\n\n", ProgramHead(200, [], content_length=5), b""),
        (b"Content-Length: 5\nContent-Length: 6\n\n", ProgramHead(200, []), b""),
        (b"Content-Length: -5\n\n", ProgramHead(200, []), b""),
        (
            b"Connection: close, X-Hop\nTransfer-Encoding: chunked\nx-hop: 1\nUpgrade: h2c\nY: z\n\n",
            ProgramHead(200, [("Y", "z")]),
            b"",
        ),
    ],
)
def test_heads(data: bytes, expected: ProgramHead, body: bytes) -> None:
    assert read([data]) == (expected, body)
    assert read(single(data)) == (expected, body)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "its output ended"),
        (b"Content-Type: text/html\n", "its output ended"),
        (b"Content-Type: text/html\nhello\n\n", "Bad header: hello"),
        (b"Content-Type: text/html\nhello\n", "Bad header: hello"),
        (b"HTTP/1.0 200 OK\n\n", "Bad header"),
        (b"A: b\n folded\n\n", "Bad header"),
        (b"A : b\n\n", "Bad header"),
        (b": b\n\n", "Bad header"),
        (b"A: b\rSet-Cookie: c\n\n", "Bad header"),
        (b"A: b\0\n\n", "Bad header"),
        (b"Status: none\n\n", "Invalid status line: none"),
        (b"Status: 2000\n\n", "Invalid status line"),
        (b"Status: 100 Continue\n\n", "Invalid status line"),
        (b"A: " + b"b" * 300, "longer than 200 bytes"),
        (b"A: " + b"b" * 196 + b"\n\n", "longer than 200 bytes"),
    ],
)
def test_what_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(MalformedHead, match=message):
        read([data])


def test_the_longest_head() -> None:
    assert read([b"A: " + b"b" * 195 + b"\n\n" + b"x" * 300])[1] == b"x" * 300


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n", ProgramHead(404, [("A", "b")])),
        (b"HTTP/1.0 200\n\n", ProgramHead(200, [])),
        (b"HTTP/1.1 200 OK\nLocation: /a\n\n", ProgramHead(200, [("Location", "/a")])),
    ],
)
def test_heads_with_a_status_line(data: bytes, expected: ProgramHead) -> None:
    assert read([data], has_status_line=True) == (expected, b"")


@pytest.mark.parametrize("data", [b"A: b\n\n", b"\n", b"HTTP/1.1 100 x\n\n", b"HTTP/2 200\n\n", b"HTTP/1.1 20\n\n"])
def test_status_lines_that_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedHead, match="expected a status line"):
        read([data], has_status_line=True)


LINES = st.lists(
    st.sampled_from(
        [
            b"A: b",
            b"Status: 404",
            b"Location: /x",
            b"Location: http://x",
            b"HTTP/1.1 200 OK",
            b"",
            b"\r",
            b"Content-Length: 1",
        ]
    )
    | st.binary(max_size=12),
    max_size=7,
).map(b"\n".join)


@given(LINES | LINES.map(lambda data: data.replace(b"\n", b"\r\n")), CUTS, st.booleans())
def test_how_it_is_cut_makes_no_difference(data: bytes, cuts: list[int], status_line: bool) -> None:
    whole = outcome([data], has_status_line=status_line)
    assert whole == outcome(pieces(data, cuts), has_status_line=status_line)
    assert whole == outcome(single(data), has_status_line=status_line)
    if not isinstance(whole, str):
        head, body = whole
        assert data.endswith(body)
        assert 200 <= head.status <= 599
        assert all("\n" not in value and "\r" not in value and "\0" not in value for _, value in head.fields)
