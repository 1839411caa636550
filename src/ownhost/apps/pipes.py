"""Reading pipes of programs without waiting for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

SIZE = 65_536


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
