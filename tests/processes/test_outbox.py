"""What the supervisor tells a process that does not read yet, or never does."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections.abc import Iterator

import pytest

from ownhost.processes.messages import FROM_SUPERVISOR, Channel, Mailbox, Message, Stop, channel_pair
from ownhost.processes.supervisor.outbox import Outbox
from waiting import turns

MANY = 2_000  # messages: more than a channel takes


@pytest.fixture
def ends() -> Iterator[tuple[Outbox, Channel]]:
    """An outbox, and the end that a gate would have."""
    ours, theirs = channel_pair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield Outbox(Channel(ours, [])), Channel(theirs, FROM_SUPERVISOR["gate"])


async def read(gate: Channel, count: int) -> list[tuple[Message, list[int]]]:
    """So many messages."""
    found: list[tuple[Message, list[int]]] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            try:
                received = gate.receive()
            except BlockingIOError:
                await asyncio.sleep(0)
                continue
            assert received is not None
            found.append(received)
    return found


def test_all_arrives_in_order_with_the_descriptors_that_were_meant(ends: tuple[Outbox, Channel]) -> None:
    async def work() -> None:
        outbox, gate = ends
        for number in range(MANY):
            with tempfile.TemporaryFile() as file:  # closed at once: its number is the next one's
                file.write(str(number).encode())
                file.flush()
                outbox.put(Mailbox(number), [file.fileno()])
        outbox.put(Stop())
        assert outbox.waiting
        found = await read(gate, MANY + 1)
        assert found.pop() == (Stop(), [])
        for number, (message, (descriptor,)) in enumerate(found):
            assert message == Mailbox(number)
            assert os.pread(descriptor, 10, 0) == str(number).encode()
            os.close(descriptor)
        outbox.put(Stop())
        assert not outbox.waiting, "it is not sent at once any more"

    asyncio.run(work())


def open_descriptors() -> int:
    gc.collect()  # what tests before this one left is closed now, not while this one counts
    return len(os.listdir("/proc/self/fd"))


def test_whoever_never_reads_is_not_told_for_ever(ends: tuple[Outbox, Channel]) -> None:
    async def work() -> None:
        outbox, _ = ends
        outbox.most = 100
        gc.collect()  # what earlier tests left is closed now, and not below
        before = open_descriptors()
        with tempfile.TemporaryFile() as file:
            while len(outbox.waiting) < outbox.most:
                outbox.put(Mailbox(1), [file.fileno()])
            with pytest.raises(BlockingIOError):
                outbox.put(Mailbox(1), [file.fileno()])
        outbox.forget()
        await turns()
        assert open_descriptors() == before

    asyncio.run(work())


def test_what_waits_for_somebody_who_goes_is_forgotten(ends: tuple[Outbox, Channel]) -> None:
    async def work() -> None:
        outbox, gate = ends
        before = open_descriptors()
        for number in range(MANY):
            outbox.put(Mailbox(number), [0])
        gate.close()
        async with asyncio.timeout(10):
            while outbox.waiting:
                await asyncio.sleep(0)
        assert open_descriptors() == before - 1
        with pytest.raises(ConnectionError):
            outbox.put(Stop())

    asyncio.run(work())
