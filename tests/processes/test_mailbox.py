"""Mailboxes: connections that move between gates and workers, and the ticket that proves where one came from."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ownhost.identity.identity import Assignment
from ownhost.processes.mailbox import (
    MAX_READ_AHEAD,
    Handover,
    Return,
    mailbox_pair,
    make_ticket,
    receive_handover,
    receive_return,
    send_handover,
    send_return,
    ticket_is_good,
)
from ownhost.processes.messages import ProtocolError

SECRET = b"s" * 32
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
    gates, workers = mailbox_pair()
    with gates, workers:
        yield gates, workers


def handover(data: bytes = b"", **values: object) -> Handover:
    return replace(Handover(7, 1, "127.0.0.1", 5, "::1", 80, "a.test", b"t" * 16, data), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("refusal", ["", "there is no user named 'über'"])
@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n\r\n", b"x" * MAX_READ_AHEAD])
def test_a_connection_arrives_with_all_that_was_said_of_it(
    connection: Pair, box: Pair, data: bytes, refusal: str
) -> None:
    client, accepted = connection
    sent = handover(data, refusal=refusal)
    send_handover(box[0], accepted.fileno(), sent)
    accepted.close()
    received = receive_handover(box[1])
    assert received is not None
    assert received[0] == sent
    with socket.socket(fileno=received[1]) as moved:
        client.sendall(b"ping")
        assert moved.recv(4) == b"ping"


@pytest.mark.parametrize(
    "whose", [None, Assignment("alice", None, -5), Assignment(None, "staff"), Assignment("\udcff", "#50")]
)
def test_a_connection_goes_back(connection: Pair, box: Pair, whose: Assignment | None) -> None:
    _, accepted = connection
    sent = Return(whose, 2, make_ticket(accepted, SECRET), b"GET / HTTP/1.1\r\n")
    send_return(box[1], [accepted.fileno()], sent)
    received = receive_return(box[0])
    assert received is not None
    assert received[0] == sent
    with socket.socket(fileno=received[1][0]) as moved:
        assert ticket_is_good(moved, SECRET, sent.ticket), "the socket is the same one, whichever descriptor it has"


def test_a_ticket_is_good_for_one_socket_and_one_secret(connection: Pair) -> None:
    client, accepted = connection
    ticket = make_ticket(accepted, SECRET)
    assert ticket_is_good(accepted, SECRET, ticket)
    assert not ticket_is_good(client, SECRET, ticket)
    assert not ticket_is_good(accepted, b"x" * 32, ticket)
    assert not ticket_is_good(accepted, SECRET, b"\0" * 16)


def test_an_empty_mailbox_says_so(box: Pair) -> None:
    with pytest.raises(BlockingIOError):
        receive_handover(box[1])
    with pytest.raises(BlockingIOError):
        receive_return(box[0])


def test_a_full_mailbox_never_blocks(connection: Pair, box: Pair) -> None:
    _, accepted = connection
    count = 0
    # BlockingIOError, or too many descriptors in flight
    with contextlib.suppress(OSError):
        while count < 100_000:
            send_handover(box[0], accepted.fileno(), handover())
            count += 1
    assert 100 <= count < 100_000


def test_the_end_of_a_mailbox(box: Pair) -> None:
    box[0].close()
    assert receive_handover(box[1]) is None


@pytest.mark.parametrize("count", [0, 2, 3])
def test_a_worker_that_sends_any_other_number_of_descriptors_is_refused_and_leaks_none(
    connection: Pair, box: Pair, count: int
) -> None:
    _, accepted = connection
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(box[1], [b"\0" * 64], [accepted.fileno()] * count)
    with pytest.raises(ProtocolError):
        receive_return(box[0])
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_return_too_short_to_be_one_is_refused(connection: Pair, box: Pair) -> None:
    _, accepted = connection
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(box[1], [b"abc"], [accepted.fileno()])
    with pytest.raises(ProtocolError):
        receive_return(box[0])
    assert len(os.listdir("/proc/self/fd")) == before
