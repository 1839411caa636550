"""The supervisor's list of its children, with a forkserver that only listens."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from ownhost.identity.identity import Identity
from ownhost.processes.heartbeat import Watched, new_page
from ownhost.processes.messages import FROM_SUPERVISOR, Channel, Fork, Message, Signal, Started, channel_pair
from ownhost.processes.slices import ProgramSlice
from ownhost.processes.supervisor.children import Child, Children

WHO = Identity(1234, 1234, (), "somebody")


@pytest.fixture
def ends() -> Iterator[tuple[Children, Channel]]:
    """The list, and the forkserver's end of its channel."""
    control, theirs = channel_pair()
    confined, other = channel_pair()
    theirs.setblocking(False)
    with control, theirs, confined, other:
        yield Children(Channel(control, []), Channel(confined, [])), Channel(theirs, FROM_SUPERVISOR["forkserver"])


def orders(forkserver: Channel) -> list[Message]:
    found = []
    try:
        while received := forkserver.receive():
            found.append(received[0])
            for descriptor in received[1]:
                os.close(descriptor)
    except BlockingIOError:
        pass
    return found


def fork(children: Children, forkserver: Channel) -> tuple[Child, int]:
    """A child that is being forked, and the number of the order."""
    child = children.fork("program", 1, WHO, ProgramSlice(("/bin/true",)), [])
    child.channel.close()
    (order,) = orders(forkserver)
    assert isinstance(order, Fork)
    return child, order.serial


def test_a_child_is_killed_by_its_pid(ends: tuple[Children, Channel]) -> None:
    children, forkserver = ends
    child, serial = fork(children, forkserver)
    assert children.started(Started(serial, 4321)) is child
    assert orders(forkserver) == []
    children.kill(child)
    assert orders(forkserver) == [Signal(4321, signal.SIGKILL)]


def test_one_that_is_being_forked_is_killed_once_it_has_a_pid(ends: tuple[Children, Channel]) -> None:
    children, forkserver = ends
    child, serial = fork(children, forkserver)
    children.kill(child)
    assert orders(forkserver) == []
    children.started(Started(serial, 4321))
    assert orders(forkserver) == [Signal(4321, signal.SIGKILL)]


def test_one_that_could_not_be_forked_is_not(ends: tuple[Children, Channel]) -> None:
    children, forkserver = ends
    child, serial = fork(children, forkserver)
    children.kill(child)
    children.started(Started(serial, 0))
    assert orders(forkserver) == []
    assert list(children) == []


def test_more_orders_than_the_channel_has_room_for_come_in_their_order(ends: tuple[Children, Channel]) -> None:
    async def work() -> None:
        children, forkserver = ends
        wanted, found = [Signal(pid, signal.SIGKILL) for pid in range(1, 3_000)], list[object]()
        page = new_page()
        for order in wanted:
            children.kill(Child("launcher", 1, forkserver, Watched(page), 0.0, pid=order.pid))
        assert children.forkserver.waiting, "there was room for all of them"
        async with asyncio.timeout(10):
            while len(found) < len(wanted):
                found += orders(forkserver)
                await asyncio.sleep(0)
        assert found == wanted

    asyncio.run(work())


def test_orders_to_a_forkserver_that_is_gone_leave_nothing_open(ends: tuple[Children, Channel]) -> None:
    children, forkserver = ends
    forkserver.close()
    child = children.fork("program", 1, WHO, ProgramSlice(("/bin/true",)), [])
    assert child.channel.receive() is None, "its end is open still"
    child.channel.close()
