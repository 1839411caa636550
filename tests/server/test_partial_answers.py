"""Byte ranges of what programs, and servers behind this one, answer whole."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from backends import backend
from harness import ALICE, Answer, Server, World
from waiting import eventually

SIZE = 300_000
CGI = f"""#!/usr/bin/python3
import os, sys, time
length = int(os.environ["QUERY_STRING"] or 0)
print("Content-Type: text/x")
print("ETag: \\"e\\"")
if length:
    print(f"Content-Length: {{length}}")
print()
for number in range((length or {SIZE}) // 10):
    sys.stdout.write(f"{{number:9}}\\n")
sys.stdout.flush()
open("through", "w")
"""
WHOLE = "".join(f"{number:9}\n" for number in range(SIZE // 10)).encode()
PHP = (
    f"<?php if ($_GET['l']) header('Content-Length: ' . $_GET['l']); for ($n = 0; $n < {SIZE} / 10; $n++)"
    ' printf("%9d\\n", $n);'
)


def content(response: Answer) -> bytes:
    found = response.content
    assert isinstance(found, bytes)
    return found


@pytest.fixture
def server(world: World) -> Server:
    files: dict[str, str | bytes] = {"index.html": "x", "cgi/out": CGI, "out.php": PHP}
    extra = "ScriptAlias /cgi/ @DIR@/alice/cgi/\nAddHandler application/x-httpd-php .php\n"
    return world.server(world.virtual_host("alice", ALICE, extra, files))


def test_a_cgi_program_that_says_its_length(world: World, server: Server) -> None:
    path = f"/cgi/out?{SIZE}"
    response = server.get("alice.test", path, Range="bytes=100000-100009")
    assert (response.status, content(response)) == (206, WHOLE[100_000:100_010])
    assert response.getheader("Content-Range") == f"bytes 100000-100009/{SIZE}"
    assert (response.getheader("Content-Length"), response.getheader("Content-Type")) == ("10", "text/x")
    response = server.get("alice.test", path, Range="bytes=250000-")
    assert (response.status, content(response)) == (206, WHOLE[250_000:])
    response = server.get("alice.test", path, Range=f"bytes={SIZE}-")
    assert (response.status, response.getheader("Content-Range")) == (416, f"bytes */{SIZE}")
    response = server.get("alice.test", path, "HEAD", Range="bytes=0-9")
    assert (response.status, response.getheader("Content-Length")) == (200, str(SIZE))
    for condition, status in (('"e"', 206), ('"f"', 200)):
        response = server.get("alice.test", path, Range="bytes=0-9", If_Range=condition)
        assert (response.status, len(content(response))) == (status, 10 if status == 206 else SIZE)


def test_several_ranges(server: Server) -> None:
    path = f"/cgi/out?{SIZE}"
    response = server.get("alice.test", path, Range="bytes=10-19,150000-150009,-10")
    assert response.status == 206
    match = re.fullmatch("multipart/byteranges; boundary=(.*)", response.getheader("Content-Type") or "")
    assert match
    parts = content(response).split(f"--{match[1]}".encode())
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [
        WHOLE[10:20] + b"\r\n",
        WHOLE[150_000:150_010] + b"\r\n",
        WHOLE[-10:] + b"\r\n",
    ]
    assert f"Content-Type: text/x\r\nContent-Range: bytes 10-19/{SIZE}".encode() in parts[1]
    response = server.get("alice.test", path, Range="bytes=150000-150009,10-19")
    assert (response.status, content(response)) == (200, WHOLE), "it would have to be kept"
    response = server.get("alice.test", path, Range="bytes=0-9,5-14")
    assert (response.status, content(response)) == (206, WHOLE[:15]), "what overlaps is one range"
    assert server.get("alice.test", "/cgi/out?100", Range="bytes=90-99,0-9").status == 206, "it is here at once"


def test_an_answer_of_unknown_length_is_sent_whole(server: Server) -> None:
    response = server.get("alice.test", "/cgi/out", Range="bytes=0-9")
    assert (response.status, content(response)) == (200, WHOLE)


@pytest.mark.parametrize("wanted", ["0-0", "-1"])
def test_nothing_is_left_of_a_program_whose_answer_is_cut(world: World, server: Server, wanted: str) -> None:
    assert server.get("alice.test", f"/cgi/out?{SIZE * 10}", Range=f"bytes={wanted}").status == 206
    eventually(lambda: "(0 programs)" in server.processes("launcher")[0].title)
    if wanted == "-1":
        assert Path(world.folder, "alice/cgi/through").exists(), "it was heard to its end"


def test_php(server: Server) -> None:
    response = server.get("alice.test", f"/out.php?l={SIZE}", Range="bytes=200000-200004")
    assert (response.status, content(response)) == (206, WHOLE[200_000:200_005])
    response = server.get("alice.test", "/out.php?l=0", Range="bytes=200000-200004")
    assert (response.status, content(response)) == (200, WHOLE)


def test_another_server(world: World) -> None:
    with backend() as behind:
        server = world.server(world.virtual_host("alice", ALICE, f"ProxyPass / http://127.0.0.1:{behind.port}/\n"))
        response = server.get("alice.test", "/whole?5000000", Range="bytes=4000005-4000009")
        assert (response.status, content(response)) == (206, b"56789")
        assert server.get("alice.test", "/whole").status == 200


def test_an_answer_that_breaks_off_within_a_range_is_seen_to(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        passes = f"ProxyPass / http://127.0.0.1:{listener.getsockname()[1]}/\n"
        server = world.server(world.virtual_host("alice", ALICE, passes))
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: alice.test\r\nRange: bytes=5-14\r\n\r\n")
            sock, _ = listener.accept()
            with sock:
                sock.recv(65_536)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
            answer = b""
            while data := client.recv(65_536):
                answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 ")
    assert b"\r\nContent-Length: 10" in head
    assert body == b"56789"
