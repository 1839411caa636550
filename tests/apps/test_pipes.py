"""Waiting for programs' descriptors, and for their deadlines."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from ownhost.apps import pipes


def test_whoever_waits_hears_of_words_and_of_the_end() -> None:
    async def scenario() -> list[bytes]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            heard = []
            for data in (b"one", b"two", b""):
                reading = asyncio.ensure_future(pipes.read(ours.fileno()))
                await asyncio.sleep(0)
                if data:
                    theirs.send(data)
                else:
                    theirs.close()
                heard.append(await reading)
            return heard

    assert asyncio.run(scenario()) == [b"one", b"two", b""]


def test_each_has_its_own_deadline() -> None:
    async def scenario() -> list[str]:
        ended: list[str] = []
        loop = asyncio.get_running_loop()

        async def wait(name: str, descriptor: int, seconds: float) -> None:
            try:
                await pipes.readable(descriptor, loop.time() + seconds)
                ended.append(f"{name} heard")
            except TimeoutError:
                ended.append(f"{name} late")

        pairs = [socket.socketpair() for _ in range(4)]
        work = [
            asyncio.ensure_future(wait(name, ours.fileno(), seconds))
            for (ours, _), name, seconds in zip(pairs, "abcd", (0.3, 0.1, 60.0, 0.2), strict=True)
        ]
        await asyncio.gather(*(work[place] for place in (0, 1, 3)))
        pairs[2][1].send(b"x")
        await work[2]
        for pair in pairs:
            for end in pair:
                end.close()
        return ended

    assert asyncio.run(scenario()) == ["b late", "d late", "a late", "c heard"]


def test_a_descriptor_that_nobody_waits_for_any_more_is_another_ones_next() -> None:
    async def scenario() -> bytes:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        waiting = asyncio.ensure_future(pipes.read(reading))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        os.close(reading)
        os.close(writing)
        again, other = os.pipe()
        assert again == reading, "the number is to be the same"
        os.set_blocking(again, False)
        waiting = asyncio.ensure_future(pipes.read(again))
        await asyncio.sleep(0)
        os.write(other, b"x")
        try:
            return await waiting
        finally:
            os.close(again)
            os.close(other)

    assert asyncio.run(scenario()) == b"x"
