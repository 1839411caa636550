"""A gate or a worker that was taken over speaks to the supervisor: what it can obtain, and what it cannot.

The tests stop the real process, take a copy of its end of the channel (as root, by pidfd_getfd) and speak in its place.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from harness import ALICE, BOB, Server, World, steal
from ownhost.processes.messages import (
    FROM_SUPERVISOR,
    Begin,
    Busy,
    Channel,
    Exited,
    Fork,
    Leave,
    Mailbox,
    Message,
    NotRelayed,
    Relay,
    Relayed,
    Shut,
    Signal,
    Started,
    Stop,
    Want,
    encode,
)
from waiting import eventually

GAMES = 5  # Debian's user games
FIXED, COMPUTED = 1, 2  # server ids


@pytest.fixture
def server(world: World) -> Server:
    """alice.test is alice's; any.test is served as whom an expression names, within a range."""
    computed = world.virtual_host("any", ALICE, "AssignUserIDExpr games\nAssignGroupIDExpr games\n")
    started = world.server(
        "LimitUIDRange 2 60000\nLimitGIDRange 2 60000\n"
        + world.virtual_host("alice", ALICE)
        + computed
        + world.virtual_host("bob", BOB)
    )
    eventually(lambda: {process.role for process in started.processes()} >= {"gate", "logger"})
    return started


@contextmanager
def taken_over(server: Server, role: str) -> Iterator[Channel]:
    """The channel of a process that stands still meanwhile. It is ended afterwards."""
    process = server.processes(role)[0]
    os.kill(process.pid, signal.SIGSTOP)
    channel = Channel(socket.socket(fileno=steal(process.pid, 3)), FROM_SUPERVISOR[role])
    channel.sock.setblocking(True)
    channel.sock.settimeout(5)
    try:
        yield channel
    finally:
        channel.close()
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def ask(channel: Channel, server: int, user: str, group: str, nice: int = 0) -> str | int:
    """Ask for a pair with somebody: why there is none, or the descriptor."""
    channel.send(Relay(7, server, user, group, nice))
    received = channel.receive()
    assert received is not None
    match received:
        case (NotRelayed(7, reason), []):
            return reason
        case (Relayed(7), [descriptor]):
            return descriptor
    raise AssertionError(received)


def ids(server: Server) -> set[tuple[str, int, int]]:
    """Role, uid and gid of every process that serves, below the supervisor and the forkserver."""
    found = set()
    for process in server.processes():
        if process.alive and process.role not in ("supervisor", "forkserver", "spare", "resolver", ""):
            status = process.status
            found.add((process.role, int(status["Uid"].split()[0]), int(status["Gid"].split()[0])))
    return found


@pytest.mark.parametrize(
    ("user", "group", "says"),
    [
        ("root", "games", "LimitUIDRange"),
        ("games", "root", "LimitGIDRange"),
        ("daemon", "games", "LimitUIDRange 2 60000"),
        ("games", "daemon", "LimitGIDRange 2 60000"),
        ("nobody", "games", "LimitUIDRange"),
        ("games", "nogroup", "LimitGIDRange"),
        ("no-such-user", "games", "no user named 'no-such-user'"),
        ("games", "no-such-group", "no group named 'no-such-group'"),
        ("#0", "games", "never serves"),
        ("#5", "#60", "never serves"),
        ("games\0root", "games", "never serves"),
        ("x" * 4000, "games", "never serves"),
    ],
)
def test_a_worker_obtains_no_identity_that_is_out_of_range(server: Server, user: str, group: str, says: str) -> None:
    assert server.get("alice.test").status == 200
    before = ids(server)
    with taken_over(server, "worker") as worker:
        answer = ask(worker, COMPUTED, user, group)
        assert isinstance(answer, str)
        assert says in answer
        assert ids(server) <= before


@pytest.mark.parametrize(
    "question",
    [
        (FIXED, "games", "games", 0),
        (COMPUTED, "games", "games", -20),
        (COMPUTED, "games", "", 0),
    ],
)
def test_a_worker_obtains_nobody_whom_its_virtual_host_cannot_come_to(
    server: Server, question: tuple[int, str, str, int]
) -> None:
    assert server.get("alice.test").status == 200
    with taken_over(server, "worker") as worker:
        assert ask(worker, *question)
        assert not [process for process in server.processes("worker") if process.uid == GAMES]


@pytest.mark.parametrize("other", [0, 3, 99, -1], ids=["main", "another owner's", "none", "negative"])
def test_a_worker_that_relays_for_a_virtual_host_that_is_not_its_own_is_ended(server: Server, other: int) -> None:
    assert server.get("alice.test").status == 200
    worker = server.worker(ALICE)
    with taken_over(server, "worker") as channel:
        channel.send(Relay(1, other, "games", "games", 0))
        eventually(lambda: not worker.alive, message="it lives on")
    assert not [process for process in server.processes("worker") if process.uid == GAMES]
    eventually(lambda: server.get("alice.test").status == 200)


def test_a_worker_that_asks_without_end_is_ended(server: Server) -> None:
    assert server.get("alice.test").status == 200
    worker = server.worker(ALICE)
    with taken_over(server, "worker") as channel, suppress(OSError):
        for number in range(5_000):
            channel.send(Relay(number, COMPUTED, f"made-up-{number}", "games", 0))
    eventually(lambda: not worker.alive, message="it lives on")
    assert server.get("bob.test").status == 200


def test_what_a_worker_obtains_is_a_pair_with_a_worker_and_nothing_else(server: Server) -> None:
    """The one thing that it may ask for: somebody in range whom the configuration lets this virtual host be."""
    assert server.get("alice.test").status == 200
    with taken_over(server, "worker") as channel:
        answer = ask(channel, COMPUTED, "games", "games")
        assert isinstance(answer, int)
        with socket.socket(fileno=answer) as pair:
            assert (pair.family, pair.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
        eventually(lambda: ("worker", GAMES, 60) in ids(server))
        worker = server.worker(GAMES)
        eventually(lambda: worker.status["Seccomp"] == "2")
        assert worker.status["NoNewPrivs"] == "1"
        assert "0" not in worker.status["Groups"].split()
    eventually(lambda: {role for role, _, _ in ids(server)} == {"gate", "worker", "logger"})


NOT_A_GATES = [
    Want(10_000),
    Want(-1),
    Relay(1, COMPUTED, "games", "games", 0),
    Fork(1, "worker", 0, 0, [], "root", 0, [], 0),
    Fork(1, "program", ALICE, ALICE, [], "x", 0, [], 0),
    Signal(1, 9),
    Started(1, 1),
    Exited(1, 0),
    Mailbox(0),
    Shut(0),
    Leave(),
    Begin(0),
    Stop(),
    Busy(),
]


@pytest.mark.parametrize("message", NOT_A_GATES, ids=lambda message: type(message).__name__)
def test_a_gate_that_says_anything_else_is_ended(server: Server, message: Message) -> None:
    before = ids(server)
    gate = server.processes("gate")[0]
    with taken_over(server, "gate") as channel:
        channel.sock.send(encode(message))
        eventually(lambda: not gate.alive, message="it lives on")
    eventually(lambda: server.get("alice.test").status == 200)
    assert {uid for _, uid, _ in ids(server)} - {uid for _, uid, _ in before} <= {ALICE}


@pytest.mark.parametrize(
    "message",
    [Want(0), *NOT_A_GATES[3:-1]],
    ids=lambda message: type(message).__name__,
)
def test_a_worker_obtains_nothing(server: Server, message: Message) -> None:
    assert server.get("alice.test").status == 200
    before = ids(server)
    worker = server.worker(ALICE)
    with taken_over(server, "worker") as channel:
        channel.sock.send(encode(message))
        eventually(lambda: not worker.alive, message="it lives on")
    assert ids(server) <= before
    eventually(lambda: server.get("alice.test").status == 200)
