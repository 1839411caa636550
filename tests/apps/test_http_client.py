"""HTTP/1.1 to a backend: what is said, and what is heard in pieces of any size."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pieces import CUTS, pieces, single
from ownhost.apps.http_client import BackendError, Content, End, Event, Exchange, Head, Interim, Switched

HOST = ("Host", "b.test")


def asked(method: str = "GET", *fields: tuple[str, str]) -> Exchange:
    exchange = Exchange()
    exchange.request(method, "/", [HOST, *fields], 0)
    exchange.end_of_body()
    return exchange


def hear(exchange: Exchange, parts: list[bytes], *, close: bool = False) -> list[Event]:
    """The events, with contents put together."""
    events: list[Event] = []
    for part in parts:
        events += exchange.feed(part)
    if close:
        events += exchange.close()
    joined: list[Event] = []
    for event in events:
        if isinstance(event, Content) and joined and isinstance(joined[-1], Content):
            joined[-1] = Content(joined[-1].data + event.data)
        else:
            joined.append(event)
    return joined


def test_what_is_said() -> None:
    exchange = Exchange()
    head = exchange.request("POST", "/a?b=%E9", [HOST, ("X-A", "\xe9")], 3)
    assert head == b"POST /a?b=%E9 HTTP/1.1\r\nHost: b.test\r\nX-A: \xe9\r\nContent-Length: 3\r\n\r\n"
    assert exchange.body(b"abc") + exchange.end_of_body() == b"abc"
    assert asked("POST").reusable is False
    assert b"Content-Length: 0" in Exchange().request("POST", "/", [HOST], 0)
    assert b"Content-Length" not in Exchange().request("GET", "/", [HOST], 0)


def test_a_body_of_unknown_length() -> None:
    exchange = Exchange()
    assert b"\r\nTransfer-Encoding: chunked\r\n" in exchange.request("PUT", "/", [HOST], None)
    assert exchange.body(b"abc") + exchange.end_of_body() == b"3\r\nabc\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "field"), [("/a b", ("A", "b")), ("/\xe9", ("A", "b")), ("/", ("A b", "c")), ("/", ("A", "b\nC: d"))]
)
def test_what_cannot_be_said(target: str, field: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="HTTP cannot express"):
        Exchange().request("GET", target, [HOST, field], 0)


RESPONSES = [
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc",
        [Head(200, [("X-A", "b")], 3), Content(b"abc"), End()],
        True,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nX: y\r\n\r\n",
        [Head(200, [], None), Content(b"abc"), End()],
        True,
    ),
    (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\r\n",
        [Interim(103, [("Link", "x")]), Head(204, [], None), End()],
        False,
    ),
    (
        b"HTTP/1.1 100 Go\r\nContent-Length: 9\r\n\r\nHTTP/1.1 103 X\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        [Interim(100, []), Interim(103, []), Head(204, [], None), End()],
        True,
    ),
    (b"HTTP/1.0 404 Not Found\r\nContent-Length: 1\r\n\r\na", [Head(404, [], 1), Content(b"a"), End()], False),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na", [Head(200, [], 1), Content(b"a"), End()], True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore", [Head(200, [], 0), End()], False),
]


@pytest.mark.parametrize(("data", "events", "reusable"), RESPONSES)
def test_what_is_heard(data: bytes, events: list[Event], reusable: bool) -> None:
    for parts in ([data], single(data)):
        exchange = asked()
        assert hear(exchange, parts) == events
        assert exchange.reusable is reusable


def test_a_response_without_a_body() -> None:
    exchange = asked("HEAD")
    assert hear(exchange, [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"]) == [Head(200, [], 9), End()]
    assert exchange.reusable


def test_a_response_that_ends_with_its_connection() -> None:
    exchange = asked()
    heard = hear(exchange, [b"HTTP/1.1 200 OK\r\n\r\nab", b"c"], close=True)
    assert heard == [Head(200, [], None), Content(b"abc"), End()]
    assert not exchange.reusable


def test_a_connection_that_ends_after_a_response_is_not_reused() -> None:
    exchange = asked()
    hear(exchange, [RESPONSES[0][0]], close=True)
    assert not exchange.reusable


def test_a_response_before_the_request_is_through() -> None:
    exchange = Exchange()
    exchange.request("POST", "/", [HOST], 100)
    assert hear(exchange, [b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"]) == [Head(413, [], 0), End()]
    assert not exchange.reusable


def test_another_protocol() -> None:
    data = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n\x81"
    upgrade = (("Upgrade", "websocket"), ("Connection", "Upgrade"))
    exchange = asked("GET", *upgrade)
    assert hear(exchange, [data]) == [Switched("websocket", [("Sec-WebSocket-Accept", "x")], b"\x81")]
    assert not exchange.reusable
    assert hear(asked("GET", *upgrade), single(data))[0] == Switched("websocket", [("Sec-WebSocket-Accept", "x")], b"")
    assert hear(asked("GET", *upgrade), [RESPONSES[0][0]]) == RESPONSES[0][1]
    with pytest.raises(BackendError):
        hear(asked(), [data])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"SSH-2.0\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000, "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", "before its response was complete"),
        (b"HTTP/1.1 200 OK\r\n", "before its response was complete"),
        (b"", "before its response was complete"),
    ],
)
def test_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        hear(asked(), [data], close=True)


def outcome(parts: list[bytes]) -> list[Event] | None:
    exchange = asked()
    try:
        return hear(exchange, parts, close=True)
    except BackendError:
        return None


LINES = st.lists(
    st.sampled_from(
        [
            *(b"HTTP/1.1 200 OK", b"HTTP/1.0 404 x", b"HTTP/1.1 100 c", b"A: b", b"Transfer-Encoding: chunked"),
            *(b"Content-Length: 1", b"Content-Length: 1, 1", b"Connection: close", b"a", b"0", b"1", b""),
        ]
    )
    | st.binary(max_size=9),
    max_size=10,
).map(b"\r\n".join)


@given(LINES | LINES.map(lambda data: b"HTTP/1.1 200 OK\r\n" + data), CUTS)
def test_how_it_is_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    whole = outcome([data])
    assert whole == outcome(pieces(data, cuts)) == outcome(single(data))


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5))
def test_a_server_hears_what_is_sent(contents: list[bytes]) -> None:
    exchange, server = Exchange(), h11.Connection(h11.SERVER)
    server.receive_data(exchange.request("PUT", "/", [HOST], None))
    for content in contents:
        server.receive_data(exchange.body(content))
    server.receive_data(exchange.end_of_body())
    assert isinstance(server.next_event(), h11.Request)
    heard = b""
    while isinstance(event := server.next_event(), h11.Data):
        heard += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert heard == b"".join(contents)
