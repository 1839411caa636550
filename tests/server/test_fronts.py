"""Proxies that the administrator lists: their connections go to a front, which relays each request to its owner."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from harness import ALICE, BOB, CAROL, Server, World, answer, eventually

LISTED = "RemoteIPInternalProxy 127.0.0.1\nRemoteIPHeader X-Forwarded-For\n"


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def test_one_connection_carries_requests_of_all_owners(world: World) -> None:
    server = world.server(LISTED + world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))
    with server.connect() as sock:
        for _ in range(5):
            for name in ("alice", "bob"):
                sock.sendall(f"GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n".encode())
                assert answer(sock).content == f"{name}\n".encode()
