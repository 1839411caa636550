"""Waiting for programs' sockets and pipes, and reading them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Callable

from ownhost.apps.complaints import Lines
from ownhost.http.deadlines import Deadlines

SIZE = 65_536
LOOK_AGAIN = 0.02  # seconds
NEVER = float("inf")
_READ_ONCE = select.EPOLLIN | select.EPOLLONESHOT


class _Wait:
    """A task that waits for a descriptor."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future

    def check_time(self) -> None:
        """It has waited long enough."""
        if not self.future.done():
            self.future.set_exception(TimeoutError())


class Waiting:
    """The descriptors that one event loop waits for, usually once each before they are closed.

    The loop watches an epoll instance, which watches the descriptors. Adding one is one system
    call, and a closed one disappears by itself. To add a reader to the loop and remove it takes
    seven calls, as the loop cannot rely on either.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._waits: dict[int, _Wait] = {}  # by descriptor
        self._deadlines = Deadlines(loop)
        self._known: set[int] = set()  # numbers that were watched before
        loop.add_reader(self._epoll.fileno(), self._wake)

    async def readable(self, descriptor: int, deadline: float) -> None:
        """Wait until there is something to read, or the end. Raises TimeoutError at a deadline (monotonic time)."""
        wait = _Wait(self.loop.create_future())
        self._watch(descriptor)
        self._waits[descriptor] = wait
        self._deadlines.set(wait, deadline)
        try:
            await wait.future
        except BaseException:
            self._deadlines.drop(wait)
            if self._waits.pop(descriptor, None) is not None:
                with contextlib.suppress(OSError):
                    self._epoll.unregister(descriptor)
            raise

    def _watch(self, descriptor: int) -> None:
        """Have the kernel report once.

        It silently forgets closed descriptors, so a number may mean another one by now.
        """
        if descriptor in self._known:
            with contextlib.suppress(FileNotFoundError):
                self._epoll.modify(descriptor, _READ_ONCE)
                return
        self._known.add(descriptor)
        self._epoll.register(descriptor, _READ_ONCE)

    def _wake(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            wait = self._waits.pop(descriptor, None)
            if wait is not None:
                self._deadlines.drop(wait)
                if not wait.future.done():
                    wait.future.set_result(None)


_waiting: Waiting | None = None  # of the event loop that runs


async def readable(descriptor: int, deadline: float = NEVER) -> None:
    """Wait until there is something to read, or the end. Raises TimeoutError at a deadline (monotonic time)."""
    global _waiting
    if _waiting is None or not _waiting.loop.is_running():  # to ask which one runs is a system call
        _waiting = Waiting(asyncio.get_running_loop())
    await _waiting.readable(descriptor, deadline)


async def read(descriptor: int, deadline: float = NEVER) -> bytes:
    """A piece from a non-blocking descriptor; b"" at its end. Raises OSError, TimeoutError at a deadline."""
    while True:
        try:
            return os.read(descriptor, SIZE)
        except BlockingIOError:
            await readable(descriptor, deadline)


async def closes(descriptor: int, patience: float) -> bool:
    """Whether the writer of a pipe closes it within so many seconds. Nothing is read."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    poll = select.poll()
    poll.register(descriptor, 0)  # the other end's closing is reported without being asked for
    while not poll.poll(0):
        if loop.time() >= end:
            return False
        await asyncio.sleep(LOOK_AGAIN)
    return True


async def read_lines(descriptor: int, take: Callable[[str], None]) -> None:
    """Pass on each line of a descriptor, until its end."""
    lines = Lines()
    while data := await read(descriptor):
        for line in lines.feed(data):
            take(line)
    for line in lines.end():
        take(line)
