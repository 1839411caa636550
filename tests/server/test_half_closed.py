"""Clients that end their side of the stream, and such as go on sending when they are answered: nobody is reset."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from harness import ALICE, Server, World
from waiting import eventually

HOST = b"Host: alice.test\r\n"
FILES: dict[str, str | bytes] = {
    "a.txt": "a\n",
    "ran.cgi": "#!/bin/sh\ntouch ran; printf 'Content-Type: text/plain\\n\\nran\\n'\n",
    "slow.cgi": "#!/bin/sh\nsleep 0.7; printf 'Content-Type: text/plain\\n\\nslow\\n'\n",
}
SECTION = "<Directory @DIR@/alice>\nOptions +ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n"
LOGS = 'LogFormat "%r|%>s" lines\nCustomLog @DIR@/access.log lines\n'


@pytest.fixture(scope="module")
def one() -> Iterator[Server]:
    world = World()
    yield world.server(world.virtual_host("alice", ALICE, SECTION + LOGS, FILES))
    world.close()


def told(server: Server, data: bytes) -> bytes:
    """Send bytes and end the stream; all that comes. A reset is an error."""
    with server.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while more := sock.recv(65_536):
            answer += more
    return answer


@pytest.mark.parametrize(
    "begun",
    [b"GET / HTTP/1.0\r\n", b"GET / HTTP/1.1\r\nHost: ali", b"\r\nGET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nA: b\r\n"],
)
def test_an_end_within_a_head(one: Server, begun: bytes) -> None:
    assert told(one, begun).startswith(b"HTTP/1.1 400 ")
    line = begun.strip().split(b"\r\n")[0].decode()
    eventually(lambda: f"{line}|400" in one.log("access.log").splitlines())


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GET", b"GET / HTTP/1.1", b"\r\n\r\n"])
def test_an_end_before_there_is_a_line(one: Server, begun: bytes) -> None:
    assert told(one, begun) == b""


def test_an_end_within_a_second_head(one: Server) -> None:
    answer = told(one, b"GET /a.txt HTTP/1.1\r\n" + HOST + b"\r\nGET /a.txt HTTP/1.1\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"a\nHTTP/1.1 400 " in answer


@pytest.mark.parametrize("path", [b"/ran.cgi", b"/a.txt", b"/none"])
@pytest.mark.parametrize("body", [b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_an_end_within_a_body(one: Server, method: bytes, path: bytes, body: bytes) -> None:
    """It is no request, and no program runs for it."""
    assert told(one, method + b" " + path + b" HTTP/1.1\r\n" + HOST + body).startswith(b"HTTP/1.1 400 ")
    assert not (one.folder / "alice" / "ran").exists()


def test_an_end_behind_a_request(one: Server) -> None:
    """Who says no more still gets an answer, and be it a program's (nc -N)."""
    request = b" HTTP/1.1\r\n" + HOST + b"\r\n"
    assert told(one, b"GET /a.txt" + request).endswith(b"a\n")
    assert b"slow\n" in told(one, b"GET /slow.cgi" + request)


def test_a_body_that_is_malformed_is_found_out_before_the_answer(one: Server) -> None:
    chunked = b" HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    assert one.raw(b"GET /a.txt" + chunked).startswith(b"HTTP/1.1 400 ")
    assert one.raw(b"HEAD /a.txt" + chunked).endswith(b"\r\n\r\n")


def test_a_body_that_takes_too_long_is_a_408(world: World) -> None:
    server = world.server("RequestReadTimeout body=1\n" + world.virtual_host("alice", ALICE, SECTION, FILES))
    for path in (b"/a.txt", b"/ran.cgi"):
        answer = server.raw(b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nabc")
        assert answer.startswith(b"HTTP/1.1 408 ")
    assert not (server.folder / "alice" / "ran").exists()


@pytest.mark.parametrize("path", [b"/a.txt", b"/none"])
@pytest.mark.parametrize("fields", [b"Connection: close\r\n", b"Connection: close\r\nContent-Length: 1\r\n"])
def test_who_goes_on_sending_gets_the_answer(one: Server, path: bytes, fields: bytes) -> None:
    with one.connect() as sock:
        sock.sendall(b"GET " + path + b" HTTP/1.1\r\n" + HOST + fields + b"\r\n")
        for _ in range(20):
            sock.sendall(bytes(100_000))
        answer = b""
        while more := sock.recv(65_536):
            answer += more
    assert answer.startswith(b"HTTP/1.1 200 " if path == b"/a.txt" else b"HTTP/1.1 404 ")


def test_who_is_never_done_is_given_up(one: Server) -> None:
    """After a silence, however long the client keeps its side open."""
    worker = one.worker(ALICE)
    with one.connect() as sock:
        sock.sendall(b"GET /a.txt HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        while sock.recv(65_536):
            pass
        held = len(worker.descriptors())
        eventually(lambda: len(worker.descriptors()) < held)


def test_a_slow_head_is_told_so_without_a_reset(world: World) -> None:
    server = world.server("RequestReadTimeout header=1\n" + world.virtual_host("alice", ALICE))
    with server.connect() as sock:
        sock.sendall(b"GET / HT")
        answer = b""
        while more := sock.recv(65_536):
            answer += more
    assert answer.startswith(b"HTTP/1.1 408 ")
