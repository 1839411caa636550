"""Reading pipes of programs without waiting for them."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable

SIZE = 65_536
LOOK_AGAIN = 0.02  # seconds


async def read(descriptor: int) -> bytes:
    """Some bytes of a non-blocking descriptor; b"" at its end. Raises OSError."""
    while True:
        try:
            return os.read(descriptor, SIZE)
        except BlockingIOError:
            await readable(descriptor)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def readable(descriptor: int) -> None:
    """Wait until there is something to read, or the end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _wake, future)
    try:
        await future
    finally:
        loop.remove_reader(descriptor)


async def closes(descriptor: int, patience: float) -> bool:
    """Whether whoever writes into a pipe closes it within so many seconds. Nothing is read."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    poll = select.poll()
    poll.register(descriptor, 0)  # the other end's closing is told without being asked for
    while not poll.poll(0):
        if loop.time() >= end:
            return False
        await asyncio.sleep(LOOK_AGAIN)
    return True


async def read_lines(descriptor: int, take: Callable[[str], None], longest: int = 8_192) -> None:
    """Hand on each line of a descriptor, until its end."""
    rest = b""
    while data := await read(descriptor):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > longest:
            lines.append(rest)
            rest = b""
        for line in lines:
            take(line.decode("utf-8", "backslashreplace").rstrip("\r"))
    if rest:
        take(rest.decode("utf-8", "backslashreplace"))
