"""Many clients at once, requests of all owners on every connection, in whole and in pieces: all are answered right."""

from __future__ import annotations

import random
import socket
import threading

import pytest

from harness import ALICE, BOB, CAROL, Server, World
from waiting import eventually, is_silent

OWNERS = {"alice": ALICE, "bob": BOB, "carol": CAROL}


class Client(threading.Thread):
    """Asks for random owners' pages on connections that it opens again now and then. `wrong` is what went wrong."""

    def __init__(self, server: Server, seed: int, requests: int) -> None:
        super().__init__()
        self.server = server
        self.random = random.Random(seed)
        self.requests = requests
        self.wrong: list[str] = []

    def run(self) -> None:
        while self.requests > 0 and not self.wrong:
            try:
                self.connection(self.random.randint(1, 30))
            except OSError as error:
                self.wrong.append(repr(error))

    def connection(self, count: int) -> None:
        with self.server.connect(30) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = sock.makefile("rb")
            for _ in range(count):
                self.requests -= 1
                name = self.random.choice(list(OWNERS))
                self.send(sock, name)
                status = answers.readline()
                fields = {}
                while (line := answers.readline().decode()) not in ("\r\n", ""):
                    key, _, value = line.partition(": ")
                    fields[key] = value.strip()
                body = answers.read(int(fields.get("Content-Length", 0)))
                if not status.startswith(b"HTTP/1.1 200") or body != f"{name}\n".encode():
                    self.wrong.append(f"{name}: {status!r} {body[:100]!r}")
                    return

    def send(self, sock: socket.socket, name: str) -> None:
        body = b"x" * self.random.choice([0, 0, 10, 5000])
        data = f"POST / HTTP/1.1\r\nHost: {name}.test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        size = self.random.choice([len(data), len(data), len(data) // 3 + 1])
        for start in range(0, len(data), size):
            sock.sendall(data[start : start + size])


@pytest.mark.parametrize("idle", [1, 60])
def test_every_request_is_answered_by_its_owner(world: World, idle: int) -> None:
    hosts = "".join(world.virtual_host(name, uid) for name, uid in OWNERS.items())
    # The clients are what a proxy is that keeps connections: others' connections are one owner's each.
    server = world.server(f"WorkerIdleTimeout {idle}\nMaxKeepAliveRequests 0\nRemoteIPInternalProxy 127.0.0.1\n{hosts}")
    for _ in range(3):
        clients = [Client(server, seed, 150) for seed in range(16)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert not [wrong for client in clients for wrong in client.wrong]
    assert "bug" not in server.log()
    assert "fails" not in server.log()
    assert ") ended " not in server.log()


def test_bytes_that_arrive_while_the_first_worker_starts(world: World) -> None:
    """A head in pieces, and a body in pieces behind it, for owners whose mailboxes are still to be made."""
    server = world.server("".join(world.virtual_host(name, uid) for name, uid in OWNERS.items()))
    for name in OWNERS:
        with server.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(b"POST / HTTP/1.1\r\nHost: ")
            assert is_silent(sock, 0.2)
            sock.sendall(b"%b.test\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n" % name.encode())
            for _ in range(200):
                sock.sendall(b"x" * 10)
            assert sock.makefile("rb").read().endswith(f"\r\n{name}\n".encode())
    assert "fails" not in server.log()


def test_a_client_that_reads_nothing_is_given_up(world: World) -> None:
    files: dict[str, str | bytes] = {"large.bin": b"x" * 20_000_000}
    log = 'CustomLog @DIR@/access.log "%r: %X"\n'
    server = world.server("Timeout 1\n" + world.virtual_host("alice", ALICE, log, files))
    with server.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /large.bin HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        assert sock.recv(100)
        eventually(lambda: "/large.bin HTTP/1.1: X" in server.log("access.log"), 15)
        worker = server.worker(ALICE)
        eventually(lambda: "(0 connections)" in worker.title)
        assert not any(name.endswith("/large.bin") for name in worker.descriptors().values())
