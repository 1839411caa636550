"""S8, the connections of listed proxies: what a hostile worker tries through a front, and who a front is.

On a connection of a proxy, visitors of alice and of bob ask in turn. Alice's worker stands still, and the tests answer
in its place. It may spoil what is asked of alice. Whatever it does, bob's visitor gets bob's answer or none.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from harness import ALICE, BOB, WWW, Server, World, answer, standing, steal
from never.test_connections import has_mail, mailbox_of
from ownhost.processes.mailbox import receive_handover
from ownhost.processes.relay.records import Asked, Conversation, End, Kind, Record, encode
from waiting import eventually

FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nFORGED"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TAKEN = encode(Kind.TAKEN)
KEEP = encode(Kind.END, End(keep=True, again=True).to_bytes())
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """alice.test and bob.test behind a proxy, which are the tests; each has a secret in its settings."""
    world = World()
    extra = "SetEnv DB_PASSWORD {0}-has-a-secret-9f31\n"
    yield world.server(
        "RemoteIPInternalProxy 127.0.0.1\nMaxKeepAliveRequests 0\n"
        + world.virtual_host("alice", ALICE, extra.format("alice"))
        + world.virtual_host("bob", BOB, extra.format("bob"))
    )
    world.close()


@pytest.fixture
def two(server: Server) -> Server:
    """The same, asked from elsewhere: each has a worker, and no front keeps a pair with alice's."""
    for name in ("alice", "bob"):
        client = http.client.HTTPConnection("127.0.0.1", server.port, 20, source_address=("127.0.0.2", 0))
        with contextlib.closing(client):
            client.request("GET", "/", headers={"Host": f"{name}.test"})
            assert client.getresponse().read() == f"{name}\n".encode()
    eventually(lambda: not pairs_of(server))
    return server


def pairs_of(server: Server) -> list[int]:
    """The pairs that alice's worker has with fronts: the kernel knows who made a socket (SO_PEERCRED)."""
    fronts = [front.pid for front in server.processes("front")]
    worker, found = server.worker(ALICE), []
    for number, name in worker.descriptors().items():
        if name.startswith("socket:"):
            with contextlib.suppress(OSError), socket.socket(fileno=steal(worker.pid, number)) as sock:
                pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                if pid in fronts:
                    found.append(number)
    return found


def get(name: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} / HTTP/1.1", f"Host: {name}.test", *fields, "", "")).encode()


@contextlib.contextmanager
def asked(server: Server, request: bytes) -> Iterator[tuple[socket.socket, socket.socket, list[Record]]]:
    """A proxy's connection that alice is asked on, her end of the pair, and what came on it."""
    worker = server.worker(ALICE)
    with standing([worker]), mailbox_of(worker) as box, server.connect(20) as proxy:
        proxy.sendall(request)
        eventually(lambda: has_mail(box))
        received = receive_handover(box)
        assert received is not None
        with socket.socket(fileno=received[1]) as pair:
            pair.settimeout(20)
            records: list[Record] = []
            conversation = Conversation()
            while not records:
                records += conversation.feed(pair.recv(65_536))
            yield proxy, pair, records


def all_of(sock: socket.socket) -> bytes:
    """What comes until bob has answered, or the connection ends."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while not data.endswith(b"bob\n") and (more := sock.recv(65_536)):
            data += more
    return data


HOSTILE = {
    "two answers at once": TAKEN + encode(Kind.DATA, OK + FORGED) + KEEP,
    "two answers": TAKEN + encode(Kind.DATA, OK) + encode(Kind.DATA, FORGED) + KEEP,
    "an answer behind the end": TAKEN + encode(Kind.DATA, OK) + KEEP + encode(Kind.DATA, FORGED),
    "two ends": TAKEN + encode(Kind.DATA, OK) + KEEP + KEEP,
    "an answer behind one that has no body": TAKEN + encode(Kind.DATA, b"HTTP/1.1 304 Same\r\n\r\n" + FORGED) + KEEP,
    "204 with a body": TAKEN + encode(Kind.DATA, b"HTTP/1.1 204 No\r\nContent-Length: 60\r\n\r\n" + FORGED) + KEEP,
    "two lengths": TAKEN
    + encode(Kind.DATA, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 60\r\n\r\nok" + FORGED)
    + KEEP,
    "a length and chunks": TAKEN
    + encode(Kind.DATA, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + FORGED)
    + KEEP,
    "chunks, and more": TAKEN
    + encode(Kind.DATA, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + FORGED)
    + KEEP,
    "an interim answer that some take for the last": TAKEN
    + encode(Kind.DATA, b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n" + OK)
    + KEEP,
    "a head with a bare LF": TAKEN + encode(Kind.DATA, b"HTTP/1.1 200 OK\nContent-Length: 0\n\n" + FORGED) + KEEP,
    "a head with NUL": TAKEN + encode(Kind.DATA, b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n") + KEEP,
    "another protocol": TAKEN + encode(Kind.TUNNEL) + encode(Kind.DATA, OK + FORGED),
    "another protocol, in an answer": TAKEN + encode(Kind.DATA, SWITCHED + FORGED) + KEEP,
    "an end without an answer": TAKEN + KEEP,
    "an end within an answer": TAKEN + encode(Kind.DATA, OK[:-1]) + KEEP,
    "an answer to what was not taken": encode(Kind.DATA, OK) + KEEP,
    "somebody else's": encode(Kind.OTHER_IDENTITY, b'["root", "root", 0]'),
    "a request": TAKEN + encode(Kind.REQUEST, Asked(0, b"x", get("bob")).to_bytes()),
    "a record that is none": TAKEN + b"\x63\0\0\0\0",
    "a record without an end": TAKEN + b"\x05\xff\xff\xff\xff" + FORGED,
    "a whole answer, and more": encode(Kind.WHOLE, b"\3" + OK + FORGED),
    "two whole answers": encode(Kind.WHOLE, b"\3" + OK) + encode(Kind.WHOLE, b"\3" + FORGED),
    "a whole answer that is none": encode(Kind.WHOLE, b"\3" + OK[:-1]),
    "a whole answer to nothing": TAKEN + encode(Kind.DATA, OK) + encode(Kind.WHOLE, b"\3" + FORGED),
    "a whole answer without an end": encode(Kind.WHOLE, b""),
    "an end that is none": TAKEN + encode(Kind.DATA, OK) + encode(Kind.END, b"xx"),
    "nothing that makes sense": os.urandom(100),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_bobs_visitor_gets_bobs_answer_or_none(two: Server, how: str) -> None:
    """Whether bob is asked before alice's worker answers, or behind that."""
    with asked(two, get("alice")) as (proxy, pair, _):
        with contextlib.suppress(OSError):
            pair.sendall(HOSTILE[how])
        with contextlib.suppress(OSError):
            proxy.sendall(get("bob"))
        said = all_of(proxy)
    assert b"FORGED" not in said
    assert said.count(b"HTTP/1.1 ") <= 2
    assert said.count(b"HTTP/1.1 ") < 2 or said.endswith(b"bob\n")
    assert two.get("bob.test").content == b"bob\n"


@pytest.mark.parametrize("how", HOSTILE)
def test_the_same_where_bob_is_asked_already(two: Server, how: str) -> None:
    with asked(two, get("alice") + get("bob")) as (proxy, pair, records):
        assert b"bob" not in Asked.from_bytes(records[0].data).head
        with contextlib.suppress(OSError):
            pair.sendall(HOSTILE[how])
        said = all_of(proxy)
    assert b"FORGED" not in said
    assert said.count(b"HTTP/1.1 ") < 2 or said.endswith(b"bob\n")


def test_a_worker_that_answers_and_never_ends_holds_nobody_up(two: Server) -> None:
    with asked(two, get("alice") + get("bob")) as (proxy, pair, _):
        pair.sendall(TAKEN + encode(Kind.DATA, OK))
        assert all_of(proxy).endswith(b"bob\n")
        assert pair.recv(1) == b"", "the front waits for more"
        with contextlib.suppress(BrokenPipeError):
            pair.sendall(encode(Kind.DATA, FORGED) + KEEP)
        proxy.sendall(get("bob"))
        assert answer(proxy).content == b"bob\n"


def test_a_worker_that_switches_where_it_was_asked_keeps_that_connection_alone(two: Server) -> None:
    """What another protocol says is not read as requests again."""
    upgrade = get("alice", "Connection: Upgrade", "Upgrade: x")
    with asked(two, upgrade) as (proxy, pair, _):
        pair.sendall(TAKEN + encode(Kind.TUNNEL) + encode(Kind.DATA, SWITCHED))
        assert proxy.recv(1_000) == SWITCHED
        proxy.sendall(get("bob"))
        pair.close()
        assert b"bob\n" not in all_of(proxy)


def test_a_front_takes_no_descriptors(two: Server) -> None:
    """Linux refuses them to the sender (6.16); a front has no room for any in any case."""
    before = {front.pid: len(front.descriptors()) for front in two.processes("front")}
    with asked(two, get("alice")) as (proxy, pair, _), socket.socket() as passed:
        with contextlib.suppress(PermissionError):
            socket.send_fds(pair, [TAKEN], [passed.fileno()] * 100)
        with contextlib.suppress(OSError):
            pair.sendall(TAKEN + encode(Kind.DATA, OK) + KEEP)
        all_of_alice = proxy.recv(1_000)
        assert all_of_alice.startswith(b"HTTP/1.1 ")
    eventually(
        lambda: all(len(front.descriptors()) <= before[front.pid] + 1 for front in two.processes("front")),
        message="descriptors stay",
    )


def test_a_worker_that_reads_nothing_costs_no_memory(two: Server) -> None:
    """What a client uploads to it stays with the client."""
    head = get("alice", "Content-Length: 1000000000", method="POST")
    with asked(two, head) as (proxy, pair, _):
        pair.sendall(TAKEN)

        def upload() -> None:
            proxy.settimeout(2)
            with contextlib.suppress(OSError):
                while True:
                    proxy.sendall(b"x" * 1_000_000)

        thread = threading.Thread(target=upload)
        thread.start()
        for _ in range(20):
            assert two.get("bob.test").content == b"bob\n"
        thread.join()
        assert max(int(front.status["VmHWM"].split()[0]) for front in two.processes("front")) < 150_000


def test_a_front_is_nobody_and_knows_nothing_of_owners(two: Server) -> None:
    for front in two.processes("front"):
        status = front.status
        assert front.uid not in (0, WWW, ALICE, BOB), "it is nobody's uid but the fronts'"
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        for name in ("alice", "bob"):
            assert not front.holds(f"{name}-has-a-secret-9f31".encode())
