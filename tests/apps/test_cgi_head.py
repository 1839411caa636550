"""Heads of programs: what is read, what is refused, and that it makes no difference how they arrive."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pieces import CUTS, pieces, single
from ownhost.apps.cgi_head import Dialect, HeadParser, MalformedHead, ProgramHead


def read(parts: list[bytes], dialect: Dialect = Dialect.CGI, status: int = 200) -> tuple[ProgramHead, bytes]:
    parser = HeadParser(dialect, status=status, limit=200)
    body = b"".join(parser.feed(part) for part in parts)
    parser.close()
    assert parser.head is not None
    return parser.head, body


def outcome(parts: list[bytes], dialect: Dialect) -> tuple[ProgramHead, bytes] | str:
    try:
        return read(parts, dialect)
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
            ProgramHead(200, [("Y", "z")], chunked=True),
            b"",
        ),
    ],
)
def test_heads(data: bytes, expected: ProgramHead, body: bytes) -> None:
    for parts in ([data], single(data)):
        head, rest = read(parts)
        assert (replace(head, says_status=True), rest) == (expected, body)


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
        (b"HTTP/1.1 200 OK\nA: b\n  c\n\td \n\n", ProgramHead(200, [("A", "b c d")])),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\n\n", ProgramHead(200, [])),
        (b"HTTP/1.1 200\nTransfer-Encoding: Chunked\n\n", ProgramHead(200, [], chunked=True)),
    ],
)
def test_heads_with_a_status_line(data: bytes, expected: ProgramHead) -> None:
    assert read([data], Dialect.HTTP) == (expected, b"")


@pytest.mark.parametrize("data", [b"A: b\n\n", b"\n", b"HTTP/1.1 101 x\n\n", b"HTTP/2 200\n\n", b"HTTP/1.1 20\n\n"])
def test_status_lines_that_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedHead, match="expected a status line"):
        read([data], Dialect.HTTP)


def test_interim_heads() -> None:
    parser = HeadParser(Dialect.HTTP)
    rest = parser.feed(b"HTTP/1.1 102 Processing\nA: b\n\nHTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\n\nbody")
    assert [(head.status, head.fields) for head in parser.interims] == [(102, [("A", "b")]), (103, [])]
    assert (parser.head is not None and parser.head.status, rest) == (200, b"body")


LINES = st.lists(
    st.sampled_from(
        [
            b"A: b",
            b"Status: 404",
            b"Location: /x",
            b"Location: http://x",
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 100 Continue",
            b" folded",
            b"",
            b"\r",
            b"Content-Length: 1",
        ]
    )
    | st.binary(max_size=12),
    max_size=7,
).map(b"\n".join)


@given(LINES | LINES.map(lambda data: data.replace(b"\n", b"\r\n")), CUTS, st.sampled_from(Dialect))
def test_how_it_is_cut_makes_no_difference(data: bytes, cuts: list[int], dialect: Dialect) -> None:
    whole = outcome([data], dialect)
    assert whole == outcome(pieces(data, cuts), dialect)
    assert whole == outcome(single(data), dialect)
    if not isinstance(whole, str):
        head, body = whole
        assert data.endswith(body)
        assert 200 <= head.status <= 599
        assert all("\n" not in value and "\r" not in value and "\0" not in value for _, value in head.fields)


LINE = b"HTTP/1.1 200 OK\nX: y\n\n"
SAID = b"Status: 200 OK\nX: y\n\n"
SILENT = b"X: y\n\n"


@pytest.mark.parametrize(
    ("dialect", "data", "status", "says_status"),
    [
        (Dialect.CGI, SAID, 200, True),
        (Dialect.CGI, SILENT, 404, False),
        (Dialect.HTTP, LINE, 200, True),
        (Dialect.PHP, LINE, 200, True),
        (Dialect.PHP, SAID, 404, True),  # php-fpm says so where the script says nothing
        (Dialect.PHP, SILENT, 404, True),
        (Dialect.PHP, b"Status: 403 No\n\n", 403, True),
        (Dialect.PHP, b"http/2.0 403\n\n", 403, True),
        (Dialect.PHP, b"HTTP/1.0  403 No entry\n\n", 403, True),
    ],
)
def test_whose_word_a_status_is(dialect: Dialect, data: bytes, status: int, says_status: bool) -> None:
    head, _ = read([data], dialect, status=404)
    assert (head.status, head.says_status) == (status, says_status)


@pytest.mark.parametrize("data", [b"HTTP/1.1 banana\n\n", b"HTTP/\n\n", b"HTTP/1.1 99 x\n\n", b"Status: x\n\n"])
def test_what_is_no_status_of_php(data: bytes) -> None:
    with pytest.raises(MalformedHead):
        read([data], Dialect.PHP)


def test_a_redirect_of_an_error_page_needs_a_status() -> None:
    head, _ = read([b"Location: /x\n\n"], status=404)
    assert (head.status, head.fields, head.local_redirect) == (404, [("Location", "/x")], "")
    assert read([b"Status: 200\nLocation: /x\n\n"], status=404)[0].local_redirect == "/x"
    assert read([b"Status: 200 OK\nLocation: /x\n\n"], Dialect.PHP)[0].local_redirect == ""


@pytest.mark.parametrize(
    ("dates", "modified"),
    [
        (["Sat, 01 Nov 2025 10:00:00 +0100"], 1_761_991_200),
        (["Saturday, 01-Nov-25 10:00:00 GMT"], 1_761_991_200),
        (["soon"], None),
        (["Thu, 01 Jan 1970 00:00:00 GMT"], None),
        (["soon", "Sat, 01 Nov 2025 10:00:00 GMT", "Sat, 01 Nov 2025 09:00:00 GMT"], 1_761_991_200),
        ([], None),
    ],
)
def test_a_date_is_what_it_means(dates: list[str], modified: int | None) -> None:
    data = "".join(f"last-Modified: {date}\n" for date in dates).encode() + b"\n"
    head, _ = read([data])
    assert (head.modified, head.fields) == (modified, [])
    assert len(read([data], Dialect.PHP)[0].fields) == len(dates)
