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

from harness import ALICE, Server, World, eventually, steal
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
    Named,
    Shut,
    Signal,
    Started,
    Stop,
    Want,
    Whose,
    encode,
)

GAMES = 5  # Debian's user games
FIXED, COMPUTED = 1, 2  # server ids


@pytest.fixture
def server(world: World) -> Server:
    """alice.test is alice's; any.test is served as whom an expression names, within a range."""
    computed = world.virtual_host("any", ALICE, "AssignUserIDExpr games\nAssignGroupIDExpr games\n")
    started = world.server(
        "LimitUIDRange 2 60000\nLimitGIDRange 2 60000\n" + world.virtual_host("alice", ALICE) + computed
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


def ask(channel: Channel, *asked: Whose) -> list[Named]:
    answers = []
    for question in asked:
        channel.send(question)
        received = channel.receive()
        assert received is not None
        assert isinstance(received[0], Named)
        answers.append(received[0])
    return answers


def ids(server: Server) -> set[tuple[str, int, int]]:
    """Role, uid and gid of every process below the supervisor and the forkserver."""
    found = set()
    for process in server.processes():
        if process.alive and process.role not in ("supervisor", "forkserver", ""):
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
def test_a_gate_obtains_no_identity_that_is_out_of_range(server: Server, user: str, group: str, says: str) -> None:
    before = ids(server)
    with taken_over(server, "gate") as gate:
        (answer,) = ask(gate, Whose(COMPUTED, user, group, 0))
        assert answer.identity == -1
        assert says in answer.reason
        assert ids(server) <= before


@pytest.mark.parametrize(
    "question",
    [
        Whose(FIXED, "games", "games", 0),
        Whose(FIXED, "", "", 0),
        Whose(COMPUTED, "games", "games", -20),
        Whose(COMPUTED, "games", "", 0),
        Whose(0, "games", "games", 0),
        Whose(99, "games", "games", 0),
        Whose(-1, "games", "games", 0),
    ],
)
def test_a_gate_obtains_nobody_whom_the_virtual_host_cannot_come_to(server: Server, question: Whose) -> None:
    with taken_over(server, "gate") as gate:
        (answer,) = ask(gate, question)
        assert (answer.identity, answer.reason != "") == (-1, True)


def test_what_a_gate_obtains_is_a_worker_and_nothing_else(server: Server) -> None:
    """The one thing that it may ask for: somebody in range whom the configuration lets this virtual host be."""
    with taken_over(server, "gate") as gate:
        (answer,) = ask(gate, Whose(COMPUTED, "games", "games", 0))
        assert answer.identity > 0
        gate.send(Want(answer.identity))
        received = gate.receive()
        assert received is not None
        message, descriptors = received
        assert message == Mailbox(answer.identity)
        for descriptor in descriptors:
            os.close(descriptor)
        eventually(lambda: ("worker", GAMES, 60) in ids(server))
        worker = server.worker(GAMES)
        eventually(lambda: worker.status["Seccomp"] == "2")
        assert worker.status["NoNewPrivs"] == "1"
        assert "0" not in worker.status["Groups"].split()
    # The gate has just been ended: for a moment it, or the next one, has no name.
    eventually(lambda: {role for role, _, _ in ids(server)} == {"gate", "worker", "logger"})


NOT_A_GATES = [
    Want(10_000),
    Want(-1),
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
    [Want(0), Whose(COMPUTED, "games", "games", 0), *NOT_A_GATES[2:-1]],
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
