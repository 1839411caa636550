"""HttpProtocolOptions: what is a request, and what is answered as soon as it is known to be none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import ALICE, Server, World

FILES: dict[str, str | bytes] = {
    "index.html": "index\n",
    "a.cgi": '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n$REQUEST_METHOD $SERVER_PROTOCOL [$HTTP_X]\\n"\n',
}
SECTION = "<Directory @DIR@/alice>\nOptions +ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n"
LOGS = 'LogFormat "%r|%>s|%H" lines\nCustomLog @DIR@/access.log lines\n'
END = b"Host: alice.test\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    world = World()
    yield world.server(world.virtual_host("alice", ALICE, SECTION + LOGS, FILES))
    world.close()


def told(server: Server, data: bytes) -> bytes:
    """All that comes until the server closes, which it must do by itself, and at once."""
    return server.raw(data, timeout=8)  # less than RequestReadTimeout


def with_options(world: World, options: str, more: str = "") -> Server:
    return world.server(more + world.virtual_host("alice", ALICE, f"HttpProtocolOptions {options}\n{SECTION}", FILES))


def test_http_0_9(plain: Server) -> None:
    """A line alone is answered with the page alone, as monitors expect that know no other HTTP."""
    assert told(plain, b"GET /\r\n") == b"index\n"
    assert told(plain, b"GET /index.html \r\n") == b"index\n"
    assert told(plain, b"GET /a.cgi\r\n") == b"GET HTTP/0.9 []\n"
    assert told(plain, b"GET /none\r\n").startswith(b"<!DOCTYPE")
    assert told(plain, b"GET http://alice.test/\r\n") == b"index\n"
    assert "GET /|200|HTTP/0.9" in plain.log("access.log").splitlines()


def test_http_0_9_behind_another_request(plain: Server) -> None:
    first = b"GET / HTTP/1.1\r\nHost: alice.test\r\n\r\n"
    answer = told(plain, first + b"GET /\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nindex\nindex\n")


@pytest.mark.parametrize(
    "line",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HEAD /\r\n",
        b"GET\r\n",
        b"GET /\n",
        b"GET / FOO\r\n",
        b"GET / HTTP/0.9\r\n",
        b"x\n",
    ],
)
def test_what_can_be_no_request_is_not_waited_for(plain: Server, line: bytes) -> None:
    assert told(plain, line).startswith(b"HTTP/1.1 400 ")
    first = b"GET / HTTP/1.1\r\nHost: alice.test\r\n\r\n"
    assert b"index\nHTTP/1.1 400 " in told(plain, first + line), "in a worker"


def test_empty_lines_in_front(plain: Server) -> None:
    assert told(plain, b"\r\n\r\n\r\nGET / HTTP/1.1\r\n" + END).endswith(b"index\n")


def test_require_1_0(world: World) -> None:
    server = with_options(world, "Require1.0")
    assert told(server, b"GET /\r\n").startswith(b"HTTP/1.1 400 ")
    assert told(server, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_registered_methods(world: World) -> None:
    server = with_options(world, "RegisteredMethods", "RegisterHttpMethod FETCH\n")
    for method, status in ((b"GET", 200), (b"PROPFIND", 200), (b"FETCH", 200), (b"FOO", 501), (b"get", 501)):
        answer = told(server, method + b" /a.cgi HTTP/1.1\r\n" + END)
        assert answer.startswith(b"HTTP/1.1 %d " % status), method


@pytest.mark.parametrize(
    ("head", "in_it"),
    [
        (b"GET  /  HTTP/1.1 \r\n" + END, b"index\n"),
        (b"GET / http/1.1\r\n" + END, b"index\n"),
        (b"GET / HTTP/1.1\nHost: alice.test\nConnection: close\n\n", b"index\n"),
        (b"GET /a.cgi HTTP/1.1\r\nX: a\n" + END, b"GET HTTP/1.1 [a]\n"),
        (b"GET /a.cgi HTTP/1.1\r\nX: a\x01b\r\n" + END, b"GET HTTP/1.1 [a b]\n"),
        (b"GET /index.html#a HTTP/1.1\r\n" + END, b"index\n"),
        (b"GET / HTTP/1.1\r\nHost: alice.test\r\n" + END, b"index\n"),
        (b"POST /a.cgi\r\n", b"POST HTTP/0.9 []\n"),
        (b"GET / HTTP/1.1\r\nX : a\r\n" + END, b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nX: a\rb\r\n" + END, b"HTTP/1.1 400 "),
        (b"GET\t/ HTTP/1.1\r\n" + END, b"HTTP/1.1 400 "),
    ],
)
def test_unsafe(loose: Server, plain: Server, head: bytes, in_it: bytes) -> None:
    """What is refused elsewhere is understood; what could be understood in two ways is not, either."""
    assert in_it in told(loose, head)
    assert told(plain, head).startswith(b"HTTP/1.1 400 ")


@pytest.fixture(scope="module")
def loose() -> Iterator[Server]:
    world = World()
    yield with_options(world, "Unsafe")
    world.close()
