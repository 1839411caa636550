"""How tests wait: for what is to come, with a bound. No other file of the tests sleeps (test_no_sleeps.py)."""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import sys
import termios
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
# Much of what tests wait for tells nobody: a line in a log, a process that is gone. So they look again and again.
_PAUSE = 0.02
_SHORT = 0.001  # in the process under test a look costs little


def eventually(what: Callable[[], Found], seconds: float = 10.0, message: str = "") -> Found:
    """Wait until `what()` is true, and return what it is; fail after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        result = what()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(message or f"not within {seconds} s: {what}")
        time.sleep(_PAUSE)


async def comes(what: Callable[[], object], seconds: float) -> bool:
    """Whether `what()` is true within so many seconds, while the event loop goes on."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(_SHORT)
    return True


async def soon(what: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `what()` is true, while the event loop goes on; fail after `seconds`."""
    assert await comes(what, seconds), f"not within {seconds} s: {what}"


async def turns(number: int = 10) -> None:
    """Let the event loop go round, so that all that can be done at once is."""
    for _ in range(number):
        await asyncio.sleep(0)


def is_silent(source: socket.socket | int, seconds: float) -> bool:
    """Whether nothing comes for so long, and no end either. It is a socket, or a descriptor: a process's, too."""
    return not select.select([source], [], [], seconds)[0]


def unread(sock: socket.socket) -> int:
    """Bytes that have come, and that nobody has read."""
    return int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), sys.byteorder)


class Still:
    """Something that is looked at over and over: whether it has been the same for `looks` looks."""

    def __init__(self, look: Callable[[], object], looks: int = 20) -> None:
        self.look, self.looks = look, looks
        self.seen, self.times = look(), 0

    def __call__(self) -> bool:
        """Look once more."""
        before, self.seen = self.seen, self.look()
        self.times = self.times + 1 if self.seen == before else 0
        return self.times >= self.looks
