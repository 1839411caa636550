"""The spare process: what it is given, and what becomes of it when it is not needed."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from ownhost.processes.messages import Fork
from ownhost.processes.spare import Spare

ORDER = Fork(7, "worker", 1, 2, [3], "name", 0, [], 0o22)


def cold() -> Iterator[None]:
    yield


def endless() -> Iterator[None]:
    while True:
        yield


def say(order: Fork, control: int, page: int) -> NoReturn:
    """What a spare process does in these tests: say what it was given, and what it has open."""
    found = set(map(int, os.listdir("/proc/self/fd")))
    with socket.socket(fileno=control) as sock:
        sock.send(repr((order, os.read(page, 10), len(found - {0, 1, 2, 3, control, page}))).encode())
    os._exit(0)


def wait_for_end(spare: Spare) -> None:
    """Wait until it is a zombie."""
    descriptor = os.pidfd_open(spare.pid)
    try:
        assert select.select([descriptor], [], [], 20)[0]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("warm_up", [cold, endless], ids=["warm", "while it warms up"])
def test_it_obeys_an_order_and_has_nothing_else(warm_up: Callable[[], Iterator[None]]) -> None:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    ours.settimeout(20)
    with ours, theirs:
        spare = Spare(warm_up, say)
        os.write(writing, b"the page")
        assert spare.give(ORDER, theirs.fileno(), reading)
        # One more than is known is open: the folder that it reads.
        assert ours.recv(1_000).decode() == repr((ORDER, b"the page", 1))
        wait_for_end(spare)
        assert spare.has_ended()
    os.close(reading)
    os.close(writing)


def test_one_that_was_killed_takes_no_order() -> None:
    spare = Spare(cold, say)
    os.kill(spare.pid, signal.SIGKILL)
    wait_for_end(spare)
    assert not spare.give(ORDER, 0, 1)
    assert spare.has_ended()


def test_it_ends_where_nobody_can_ask_it_any_more() -> None:
    spare = Spare(cold, say)
    assert not spare.has_ended()
    spare.close()
    wait_for_end(spare)
    assert spare.has_ended()
