"""Mailboxes: connections on their way down, how many of them, and that nothing ever comes up."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ownhost.processes.mailbox import (
    LONGEST_HOST,
    MOST,
    Broken,
    Full,
    Handover,
    credits_for,
    handover_size,
    has_mail,
    is_broken,
    mailbox_pair,
    receive_handover,
    send_handover,
)
from ownhost.processes.messages import ProtocolError

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def connection() -> Iterator[Pair]:
    """A client and the accepted end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    with client, accepted:
        yield client, accepted


@pytest.fixture
def box() -> Iterator[Pair]:
    upper, workers = mailbox_pair()
    with upper, workers:
        yield upper, workers


HANDOVER = Handover(7, "127.0.0.1", 5, "::1", 80, "a.test")


@pytest.mark.parametrize(
    "sent",
    [
        HANDOVER,
        replace(HANDOVER, encrypted=True),
        replace(HANDOVER, host=""),
        replace(HANDOVER, host="ü.test"),
        replace(HANDOVER, host="x" * LONGEST_HOST, client="fe80::1%eth0", local="2001:db8:" + ":".join(["ffff"] * 6)),
        Handover(3, relay=True),
    ],
)
def test_a_connection_arrives_with_all_that_was_said_of_it(connection: Pair, box: Pair, sent: Handover) -> None:
    client, accepted = connection
    send_handover(box[0], accepted.fileno(), sent)
    accepted.close()
    received = receive_handover(box[1])
    assert received is not None
    assert received[0] == sent
    with socket.socket(fileno=received[1]) as moved:
        client.sendall(b"ping")
        assert moved.recv(4) == b"ping"


def test_a_long_host_is_cut(connection: Pair, box: Pair) -> None:
    send_handover(box[0], connection[1].fileno(), replace(HANDOVER, host="y" * 5_000 + "\0z"))
    received = receive_handover(box[1])
    assert received is not None
    os.close(received[1])
    assert received[0].host == "y" * LONGEST_HOST


def fill(box: Pair, connection: Pair, size: int) -> int:
    """Put connections into a mailbox until it is full: how many."""
    count = 0
    with contextlib.suppress(Full):
        while count < 1_000:
            send_handover(box[0], connection[1].fileno(), HANDOVER, size)
            count += 1
    return count


@pytest.mark.parametrize("capacity", [1, 2, 3, 4, 5, 17, MOST])
def test_a_mailbox_takes_just_so_many(connection: Pair, capacity: int) -> None:
    upper, workers = mailbox_pair(capacity)
    size = handover_size(capacity)
    with upper, workers:
        assert fill((upper, workers), connection, size) == capacity
        received = receive_handover(workers)
        assert received is not None
        os.close(received[1])
        assert fill((upper, workers), connection, size) == 1


@pytest.mark.parametrize(("identities", "expected"), [(1, 64), (1_000, 8), (8_192, 1), (100_000, 1)])
def test_all_mailboxes_together_hold_half_of_what_may_be_in_flight(
    monkeypatch: pytest.MonkeyPatch, identities: int, expected: int
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (16_384, 16_384))
    assert credits_for(identities) == expected


def test_room_is_heard_of(connection: Pair, box: Pair) -> None:
    fill(box, connection, handover_size(MOST))
    with select.epoll() as epoll:
        epoll.register(box[0].fileno(), select.EPOLLOUT)
        assert not epoll.poll(0)
        for _ in range(MOST):
            received = receive_handover(box[1])
            assert received is not None
            os.close(received[1])
        assert [events for _, events in epoll.poll(0)] == [select.EPOLLOUT]


def test_an_empty_mailbox_says_so(box: Pair) -> None:
    with pytest.raises(BlockingIOError):
        receive_handover(box[1])
    assert not has_mail(box[1])
    box[0].send(b"x")
    assert has_mail(box[1])


def test_nothing_comes_up(connection: Pair, box: Pair) -> None:
    """The kernel refuses what a worker writes, with and without descriptors."""
    with pytest.raises(BrokenPipeError):
        box[1].send(b"x")
    with pytest.raises(BrokenPipeError):
        socket.send_fds(box[1], [b"x"], [connection[1].fileno()])
    assert not is_broken(box[0])


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_RDWR])
def test_one_that_is_shut_down_below_is_broken_for_all_who_have_it(connection: Pair, box: Pair, how: int) -> None:
    send_handover(box[0], connection[1].fileno(), HANDOVER)
    with select.epoll() as epoll, box[0].dup() as gates:
        epoll.register(gates.fileno(), 0)
        assert not epoll.poll(0)
        box[1].shutdown(how)
        assert [events for _, events in epoll.poll(0)] == [select.EPOLLHUP]
    assert is_broken(box[0])
    with pytest.raises(Broken):
        send_handover(box[0], connection[1].fileno(), HANDOVER)
    received = receive_handover(box[1])
    assert received is not None, "what was in it can be had still"
    os.close(received[1])
    assert receive_handover(box[1]) is None


def test_one_that_a_worker_stops_writing_to_is_as_before(connection: Pair, box: Pair) -> None:
    box[1].shutdown(socket.SHUT_WR)
    assert not is_broken(box[0])
    send_handover(box[0], connection[1].fileno(), HANDOVER)


def test_the_end_of_a_mailbox(box: Pair) -> None:
    box[0].close()
    assert receive_handover(box[1]) is None


@pytest.mark.parametrize("count", [0, 2, 3])
def test_any_other_number_of_descriptors_is_refused_and_leaks_none(connection: Pair, box: Pair, count: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(box[0], [b"\0" * 64], [connection[1].fileno()] * count)
    with pytest.raises(ProtocolError):
        receive_handover(box[1])
    assert len(os.listdir("/proc/self/fd")) == before
