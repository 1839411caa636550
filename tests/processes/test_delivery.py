"""A gate's way out: who waits, for what, and for how long; real mailboxes and sockets."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from ownhost.processes.delivery import MAX_WAIT, MAX_WAITING, Delivery
from ownhost.processes.gate.client import Client, Event, State
from ownhost.processes.gate.held import Held
from ownhost.processes.mailbox import SMALL, mailbox_pair, receive_handover

ALICE, BOB = 1, 2
CAPACITY = 8


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
        self.delivery = Delivery(self.epoll, SMALL, 2_000, self.asked.append, self.refuse)

    def refuse(self, held: Held, _identity: int) -> None:
        held.step(Event.CLOSED)
        held.sock.close()
        self.refused.append(held.client.port)

    def send(self, *numbers: int, to: int = ALICE) -> list[Held]:
        """Have connections delivered; a client's port is its number."""
        sent = []
        for number in numbers:
            self.stack.enter_context(socket.create_connection(self.listener.getsockname()))
            accepted = self.stack.enter_context(self.listener.accept()[0])
            held = Held(accepted, Client("127.0.0.1", number, "127.0.0.1", 80, 0.0))
            held.step(Event.NAMED)
            self.delivery.deliver(held, to, 1.0)
            sent.append(held)
        return sent

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
    def heard(self) -> list[int]:
        return [events for _, events in self.epoll.poll(0)]


@pytest.fixture
def sender() -> Iterator[Sender]:
    with ExitStack() as stack:
        gates, workers = (stack.enter_context(end) for end in mailbox_pair(CAPACITY))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        yield Sender(gates, workers, stack, listener)


def test_a_mailbox_is_asked_for_once_and_then_takes_who_waited(sender: Sender) -> None:
    held = sender.send(1, 2)
    assert [one.client.state for one in held] == [State.QUEUED] * 2
    assert sender.asked == [ALICE]
    sender.delivery.open(ALICE, sender.gates)
    held += sender.send(3)
    assert sender.arrived() == [1, 2, 3]
    assert [one.client.state for one in held] == [State.GONE] * 3
    assert not sender.delivery.waiting
    assert not sender.heard, "there is always room: watching for it would spin"


def test_who_waits_for_room_goes_first_once_there_is_some(sender: Sender) -> None:
    sender.delivery.open(ALICE, sender.gates)
    sender.send(*range(1, CAPACITY + 3))
    assert not sender.heard
    assert sender.arrived() == list(range(1, CAPACITY + 1))
    assert sender.heard == [select.EPOLLOUT]
    sender.send(99)
    sender.delivery.attend(ALICE, select.EPOLLOUT)
    assert sender.arrived() == [CAPACITY + 1, CAPACITY + 2, 99]
    assert not sender.heard


def test_a_mailbox_that_is_shut_down_is_let_go_and_another_one_asked_for(sender: Sender) -> None:
    sender.delivery.open(ALICE, sender.gates)
    sender.send(*range(1, CAPACITY + 3))
    sender.workers.shutdown(socket.SHUT_RD)
    (events,) = sender.heard
    sender.delivery.attend(ALICE, events)
    assert sender.asked == [ALICE]
    assert not sender.heard
    upper, sender.workers = (sender.stack.enter_context(end) for end in mailbox_pair(CAPACITY))
    sender.delivery.open(ALICE, upper)
    assert sender.arrived() == [CAPACITY + 1, CAPACITY + 2]


def test_one_that_turns_out_to_be_shut_down(sender: Sender) -> None:
    sender.delivery.open(ALICE, sender.gates)
    sender.workers.shutdown(socket.SHUT_RDWR)
    sender.send(1)
    assert sender.asked == [ALICE]
    upper, sender.workers = (sender.stack.enter_context(end) for end in mailbox_pair(CAPACITY))
    sender.delivery.open(ALICE, upper)
    assert sender.arrived() == [1]


def test_one_that_nobody_waits_for_is_not_asked_for(sender: Sender) -> None:
    sender.delivery.open(ALICE, sender.gates)
    sender.workers.shutdown(socket.SHUT_RDWR)
    sender.delivery.attend(ALICE, select.EPOLLHUP)
    assert sender.asked == []


def test_waiting_has_an_end(sender: Sender) -> None:
    sender.send(1)
    sender.delivery.expire(1.0 + MAX_WAIT / 2)
    assert sender.refused == []
    sender.delivery.expire(1.0 + MAX_WAIT + 1)
    assert sender.refused == [1]
    assert sender.delivery.count == 0


def test_only_so_many_wait(sender: Sender) -> None:
    sender.send(1)
    queue = sender.delivery.waiting[ALICE]
    queue.extend(queue[0] for _ in range(MAX_WAITING - 1))
    sender.send(2)
    assert sender.refused == [2]
    assert len(queue) == MAX_WAITING


def test_where_too_many_wait_in_all_the_longest_queue_pays(sender: Sender) -> None:
    sender.delivery.most = 5
    sender.send(1, 2, 3, 4)
    sender.send(11, to=BOB)
    assert sender.refused == []
    sender.send(12, to=BOB)
    assert sender.refused == [1]
    sender.send(5)
    assert sender.refused == [1, 2]


def test_a_mailbox_that_does_not_come_is_asked_for_again(sender: Sender) -> None:
    sender.send(1)
    for _ in range(3):
        sender.delivery.expire(1.5)
    assert sender.asked == [ALICE]
    for _ in range(3):
        sender.delivery.expire(2.5)
    assert sender.asked == [ALICE] * 2
    sender.delivery.expire(1.0 + MAX_WAIT + 1)
    assert sender.refused == [1]
    sender.delivery.expire(1.0 + MAX_WAIT + 2)
    assert sender.asked == [ALICE] * 2, "nobody waits for it"
    sender.send(2)
    assert sender.asked == [ALICE] * 3
    for _ in range(2):
        sender.delivery.open(ALICE, sender.stack.enter_context(sender.gates.dup()))
    sender.send(3)
    assert sender.arrived() == [2, 3]
