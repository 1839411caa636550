"""What clients are waited for with: descriptors beside the event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest
import uvloop

from ownhost.processes.worker.waiting import Waiting
from waiting import turns

Loop = asyncio.AbstractEventLoop
MakePair = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = uvloop.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def pairs() -> Iterator[MakePair]:
    """Makes pairs of sockets."""
    made: list[socket.socket] = []

    def make() -> tuple[socket.socket, socket.socket]:
        made.extend(socket.socketpair())
        return made[-2], made[-1]

    yield make
    for sock in made:
        sock.close()


class Pair:
    """A socket that is watched, and its other end."""

    def __init__(
        self, ends: tuple[socket.socket, socket.socket], waiting: Waiting, heard: list[str], name: str
    ) -> None:
        self.sock, self.other = ends
        self.heard = heard
        self.name = name
        waiting.add(self.sock.fileno(), self.hear)

    def hear(self) -> None:
        self.heard.append(self.name + self.sock.recv(10).decode())


def test_bytes_and_the_end_are_heard_of(loop: Loop, pairs: MakePair) -> None:
    waiting, heard = Waiting(loop), list[str]()
    pair = Pair(pairs(), waiting, heard, "a")
    loop.run_until_complete(turns())
    assert heard == []
    pair.other.send(b"1")
    loop.run_until_complete(turns())
    assert heard == ["a1"]
    pair.other.close()
    loop.run_until_complete(turns(1))
    assert set(heard[1:]) == {"a"}
    waiting.remove(pair.sock.fileno())
    del heard[:]
    loop.run_until_complete(turns())
    assert heard == []


def test_what_was_not_read_is_told_again(loop: Loop, pairs: MakePair) -> None:
    waiting, heard = Waiting(loop), list[str]()
    pair = Pair(pairs(), waiting, heard, "a")
    pair.other.send(b"x" * 25)
    loop.run_until_complete(turns(5))
    assert heard == ["a" + "x" * 10] * 2 + ["a" + "x" * 5]


def test_somebody_else_may_go_on(loop: Loop, pairs: MakePair) -> None:
    waiting, heard = Waiting(loop), list[str]()
    pair = Pair(pairs(), waiting, heard, "a")
    waiting.replace(pair.sock.fileno(), lambda: heard.append("b" + pair.sock.recv(10).decode()))
    pair.other.send(b"1")
    loop.run_until_complete(turns())
    assert heard == ["b1"]


def test_who_was_removed_in_the_same_turn_hears_nothing(loop: Loop, pairs: MakePair) -> None:
    waiting, heard = Waiting(loop), list[str]()
    socks = [pairs() for _ in range(2)]

    def first_come(own: socket.socket) -> Callable[[], None]:
        def hear() -> None:
            heard.append("once")
            for sock, _ in socks:
                waiting.remove(sock.fileno())

        return hear

    for sock, other in socks:
        waiting.add(sock.fileno(), first_come(sock))
        other.send(b"1")
    loop.run_until_complete(turns())
    assert heard == ["once"]


def test_a_bug_in_one_is_told_and_the_others_go_on(loop: Loop, pairs: MakePair) -> None:
    waiting, heard, told = Waiting(loop), list[str](), list[object]()
    loop.set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    broken, other = pairs()

    def fail() -> None:
        waiting.remove(broken.fileno())
        raise ZeroDivisionError

    waiting.add(broken.fileno(), fail)
    pair = Pair(pairs(), waiting, heard, "a")
    other.send(b"1")
    pair.other.send(b"1")
    loop.run_until_complete(turns())
    assert heard == ["a1"]
    assert [type(error) for error in told] == [ZeroDivisionError]


def test_a_descriptor_that_was_removed_can_be_added_again(loop: Loop, pairs: MakePair) -> None:
    waiting, heard = Waiting(loop), list[str]()
    pair = Pair(pairs(), waiting, heard, "a")
    for number in range(3):
        waiting.remove(pair.sock.fileno())
        pair.other.send(str(number).encode())
        loop.run_until_complete(turns())
        assert len(heard) == number
        waiting.add(pair.sock.fileno(), pair.hear)
        loop.run_until_complete(turns())
        assert heard[-1] == f"a{number}"
