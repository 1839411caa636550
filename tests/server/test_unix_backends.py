"""HTTP servers behind this one that listen on a Unix socket."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import Backend, backend
from harness import ALICE, BOB, Answer, Server, World
from waiting import eventually

UPGRADE = (
    b"GET /ws/websocket HTTP/1.1\r\nHost: alice.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def owned(path: Path, uid: int) -> None:
    """Give a socket to somebody, and to nobody else."""
    os.chown(path, uid, uid)
    path.chmod(0o600)


@pytest.fixture
def behind(world: World) -> Iterator[Backend]:
    """A server on alice's socket."""
    path = world.folder / "alice.sock"
    with backend(str(path)) as made:
        owned(path, ALICE)
        yield made


def front(world: World, extra: str = "") -> Server:
    passes = (
        "ProxyPass /b/ unix:@DIR@/alice.sock|http://localhost/in/\n"
        "ProxyPass /named/ unix:@DIR@/alice.sock|http://app.test:81/\n"
        "ProxyPass /ws/ unix:@DIR@/alice.sock|ws://localhost/\n"
        "ProxyPass /bob/ unix:@DIR@/bob.sock|http://localhost/\n"
        "ProxyPass /none/ unix:@DIR@/none.sock|http://localhost/\n"
        "ProxyPass /file/ unix:@DIR@/alice/index.html|http://localhost/\n"
    )
    return world.server(world.virtual_host("alice", ALICE, passes + extra))


def lines(response: Answer) -> list[str]:
    return response.content.decode().splitlines()


def uid_of(sock: socket.socket) -> int:
    """Who connected, as the kernel says."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def test_the_owner_connects_and_keeps_the_connection(world: World, behind: Backend) -> None:
    server = front(world)
    for _ in range(5):
        assert server.get("alice.test", "/b/x?y").status == 200
    assert behind.connections == 1
    assert [handler.path for handler in behind.asked] == ["/in/x?y"] * 5
    assert {uid_of(handler.connection) for handler in behind.asked} == {ALICE}


def test_a_connection_that_was_closed_meanwhile_is_replaced(world: World, behind: Backend) -> None:
    server = front(world)
    for path in ("/b/stale", "/b/x", "/b/x"):
        assert server.get("alice.test", path).status == 200
    assert behind.connections == 2


@pytest.mark.parametrize(
    ("path", "extra", "host"),
    [
        ("/b/x", "", "localhost"),
        ("/named/x", "", "app.test:81"),
        ("/b/x", "ProxyPreserveHost On\n", "alice.test"),
    ],
)
def test_the_host_is_the_urls(world: World, behind: Backend, path: str, extra: str, host: str) -> None:
    assert f"Host: {host}" in lines(front(world, extra).get("alice.test", path))


def test_bodies_both_ways(world: World, behind: Backend) -> None:
    body = os.urandom(2_000_000)
    client = front(world).client()
    client.request("POST", "/b/echo", body, {"Host": "alice.test"})
    assert client.getresponse().read() == body
    client.close()


def test_a_websocket(world: World, behind: Backend) -> None:
    with front(world).connect() as sock:
        sock.sendall(UPGRADE)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        for _ in range(3):
            sock.sendall(b"hello")
            assert sock.recv(4096) == b"HELLO"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(4096) == b""


def test_a_neighbours_socket_is_refused_by_the_kernel(world: World, behind: Backend) -> None:
    path = world.folder / "bob.sock"
    with backend(str(path)) as bobs:
        owned(path, BOB)
        server = front(world)
        assert server.get("alice.test", "/bob/x").status == 503
        eventually(lambda: f"{path} failed: Permission denied" in server.log())
        assert bobs.connections == 0
    assert server.get("alice.test", "/b/x").status == 200


@pytest.mark.parametrize(("path", "why"), [("none", "No such file or directory"), ("file", "Connection refused")])
def test_a_socket_that_there_is_not(world: World, path: str, why: str) -> None:
    server = front(world)
    assert server.get("alice.test", f"/{path}/x").status == 503
    eventually(lambda: f"failed: {why}" in server.log())
    assert server.get("alice.test", "/").status == 200
