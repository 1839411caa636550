"""The control channel: who may say what, and what happens to those who say something else."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.processes.mailbox import Handover, receive_handover, send_handover
from ownhost.processes.messages import (
    FROM_SUPERVISOR,
    MESSAGES,
    TO_SUPERVISOR,
    Begin,
    Busy,
    Channel,
    Descriptors,
    Exited,
    Fork,
    Mailbox,
    Message,
    ProtocolError,
    Want,
    channel_pair,
    decode,
    encode,
)
from ownhost.processes.orders import Run, receive_order, send_order
from ownhost.request.programs import Limits

SAMPLES: list[Message] = [Fork(1, "worker", 5, 6, [7, 8], "alice", -3, [9, 10], 0o22), Want(4), Busy(), Exited(9, -9)]
EVERY = tuple(MESSAGES.values())


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_way(message: Message) -> None:
    assert decode(encode(message), EVERY) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b'["Want"]',
        b'["Want", {}]',
        b'["Want", {"identity": "1"}]',
        b'["Want", {"identity": true}]',
        b'["Want", {"identity": 1.5}]',
        b'["Want", {"identity": 1, "uid": 0}]',
        b'["Nonsense", {}]',
        b'["Fork", {"serial": 1}]',
        b"[" * 5000,
    ],
)
def test_nothing_else_is_a_message(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data, EVERY)


@given(st.binary(max_size=200))
def test_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    try:
        message = decode(data, EVERY)
    except ProtocolError:
        return
    assert decode(encode(message), EVERY) == message


@pytest.mark.parametrize("role", ["gate", "worker", "logger"])
def test_no_process_near_the_network_may_ask_for_a_fork_or_a_signal(role: str) -> None:
    for message in (Fork(1, "worker", 0, 0, [], "root", 0, [], 0), Mailbox(1), Begin(0)):
        with pytest.raises(ProtocolError, match="may not come from this peer"):
            decode(encode(message), TO_SUPERVISOR[role])


def test_only_the_forkserver_takes_forks() -> None:
    takers = {role for role, allowed in FROM_SUPERVISOR.items() if Fork in allowed}
    assert takers == {"forkserver"}


def test_descriptors_come_along_and_surplus_ones_are_closed() -> None:
    ours, theirs = channel_pair()
    sender, receiver = Channel(ours, ()), Channel(theirs, (Mailbox, Want))
    read, write = os.pipe()
    sender.send(Mailbox(3), [write])
    received = receiver.receive()
    assert received is not None
    message, (copy,) = received
    assert message == Mailbox(3)
    os.write(copy, b"x")
    assert os.read(read, 1) == b"x"
    os.close(copy)

    sender.send(Want(3), [write])
    os.close(write)
    with pytest.raises(ProtocolError, match="1 descriptors"):
        receiver.receive()
    assert os.read(read, 1) == b"", "the surplus descriptor is still open"
    os.close(read)
    ours.close()
    assert receiver.receive() is None
    theirs.close()


def by_channel(ours: socket.socket, theirs: socket.socket, descriptors: list[int]) -> list[int]:
    Channel(ours, ()).send(Descriptors(), descriptors)
    received = Channel(theirs, (Descriptors,)).receive()
    assert received is not None
    return received[1]


def by_order(ours: socket.socket, theirs: socket.socket, descriptors: list[int]) -> list[int]:
    send_order(ours, Run((b"/bin/true",), {}, "/", Limits()), descriptors)
    received = receive_order(theirs)
    assert received is not None
    return received[1]


def by_mailbox(ours: socket.socket, theirs: socket.socket, descriptors: list[int]) -> list[int]:
    found = []
    for descriptor in descriptors:
        send_handover(ours, descriptor, Handover(0))
        received = receive_handover(theirs)
        assert received is not None
        found.append(received[1])
    return found


@pytest.mark.parametrize("way", [by_channel, by_order, by_mailbox])
def test_what_comes_is_inherited_by_no_program_from_the_first_moment_on(
    way: Callable[[socket.socket, socket.socket, list[int]], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to say so afterwards: another thread may start a program before that."""
    ours, theirs = channel_pair()
    with open(os.devnull) as null, ours, theirs:
        with monkeypatch.context() as context:
            context.setattr(os, "set_inheritable", None)
            received = way(ours, theirs, [null.fileno()] * 4)
        assert len(received) == 4
        assert not any(os.get_inheritable(descriptor) for descriptor in received)
        for descriptor in received:
            os.close(descriptor)


def test_a_message_that_is_too_long_is_refused() -> None:
    ours, theirs = channel_pair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
    ours.send(b" " * 70_000 + encode(Busy()))
    with pytest.raises(ProtocolError, match="too long"):
        Channel(theirs, (Busy,)).receive()
    ours.close()
    theirs.close()
