"""Connections into mailboxes: at once where there is room, in order and in time where there is none."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from ownhost.processes.gate.delivery import MAX_WAIT, MAX_WAITING, Client, Delivery
from ownhost.processes.mailbox import mailbox_pair, receive_handover

ALICE = 1


@dataclass
class Sender:
    """A delivery, real sockets for it to pass on, and what it asked for."""

    gates: socket.socket
    workers: socket.socket
    stack: ExitStack
    listener: socket.socket
    asked: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.epoll = self.stack.enter_context(select.epoll())
        self.delivery = Delivery(
            b"s" * 32, self.epoll, self.asked.append, lambda client, _number, _why: self.refused.append(client.port)
        )

    def send(self, *numbers: int) -> None:
        """Have connections delivered; a client's port is its number."""
        for number in numbers:
            peer = self.stack.enter_context(socket.create_connection(self.listener.getsockname()))
            accepted = self.stack.enter_context(self.listener.accept()[0])
            assert peer.fileno() >= 0
            self.delivery.deliver(Client(accepted, "127.0.0.1", number, "127.0.0.1", 80, 0.0), ALICE)

    def arrived(self) -> list[int]:
        """The numbers of the connections that a worker finds."""
        found = []
        try:
            while received := receive_handover(self.workers):
                os.close(received[1])
                found.append(received[0].client_port)
        except BlockingIOError:
            pass
        return found

    @property
    def may_write(self) -> bool:
        return any(events & select.EPOLLOUT for _, events in self.epoll.poll(0))

    def fill(self) -> int:
        """Fill the mailbox, as another gate may. With how many messages."""
        count = 0
        try:
            while True:
                self.gates.send(b"x" * 4096, socket.MSG_DONTWAIT)
                count += 1
        except BlockingIOError:
            return count

    def drain(self, count: int) -> None:
        for _ in range(count):
            self.workers.recv(8192)


@pytest.fixture
def sender() -> Iterator[Sender]:
    with ExitStack() as stack:
        gates, workers = (stack.enter_context(end) for end in mailbox_pair(65_536))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        yield Sender(gates, workers, stack, listener)


def test_a_mailbox_is_asked_for_once_and_then_takes_who_waited(sender: Sender) -> None:
    sender.send(1, 2)
    assert sender.asked == [ALICE]
    sender.delivery.open(ALICE, sender.gates)
    sender.send(3)
    assert sender.arrived() == [1, 2, 3]
    assert not sender.delivery.waiting
    assert not sender.may_write, "there is always room: watching for it would spin"


@pytest.mark.parametrize("waits_before", [True, False])
def test_who_waits_for_room_goes_first_once_there_is_some(sender: Sender, waits_before: bool) -> None:
    """A mailbox may be full already when it comes."""
    if waits_before:
        sender.send(1)
    count = sender.fill()
    sender.delivery.open(ALICE, sender.gates)
    if not waits_before:
        sender.send(1)
    sender.send(2)
    assert not sender.may_write
    sender.drain(count)
    assert sender.may_write
    sender.send(3)
    sender.delivery.deliver_waiting(ALICE)
    assert sender.arrived() == [1, 2, 3]
    assert not sender.may_write


def test_waiting_has_an_end(sender: Sender) -> None:
    sender.send(1)
    (one,) = sender.delivery.waiting[ALICE]
    sender.delivery.expire(one.since + MAX_WAIT / 2)
    assert sender.refused == []
    sender.delivery.expire(one.since + MAX_WAIT + 1)
    assert sender.refused == [1]


def test_only_so_many_wait(sender: Sender) -> None:
    sender.send(1)
    queue = sender.delivery.waiting[ALICE]
    queue.extend(queue[0] for _ in range(MAX_WAITING - 1))
    sender.send(2)
    assert sender.refused == [2]
    assert len(queue) == MAX_WAITING


def test_a_mailbox_that_does_not_come_is_asked_for_again(sender: Sender) -> None:
    sender.send(1)
    (one,) = sender.delivery.waiting[ALICE]
    for _ in range(3):
        sender.delivery.expire(one.since + 0.5)
    assert sender.asked == [ALICE]
    for _ in range(3):
        sender.delivery.expire(one.since + 1.5)
    assert sender.asked == [ALICE] * 2
    sender.delivery.expire(one.since + MAX_WAIT + 1)
    assert sender.refused == [1]
    sender.delivery.expire(one.since + MAX_WAIT + 2)
    assert sender.asked == [ALICE] * 2, "nobody waits for it"
    sender.send(2)
    assert sender.asked == [ALICE] * 3
    for _ in range(2):
        sender.delivery.open(ALICE, sender.stack.enter_context(sender.gates.dup()))
    sender.send(3)
    assert sender.arrived() == [2, 3]
