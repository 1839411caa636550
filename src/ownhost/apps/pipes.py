"""Waiting for programs' sockets and pipes, and reading them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Callable

SIZE = 65_536
LOOK_AGAIN = 0.02  # seconds
NEVER = float("inf")
_READ_ONCE = select.EPOLLIN | select.EPOLLONESHOT


class Waiting:
    """What one event loop waits for, beside its own: descriptors that are waited for once, as a rule, and then closed.

    The loop watches an epoll instance, and that the descriptors. One more is one system call, and one that was closed
    is gone by itself; to add a reader to the loop and to remove it takes seven, for the loop cannot rely on either.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._futures: dict[int, tuple[asyncio.Future[None], float]] = {}  # by descriptor, and until when
        self._known: set[int] = set()  # numbers that were watched before
        self._timer: asyncio.TimerHandle | None = None  # for the first deadline, or before it
        self._timer_at = NEVER
        loop.add_reader(self._epoll.fileno(), self._wake)

    async def readable(self, descriptor: int, deadline: float) -> None:
        """Wait until there is something to read, or the end. Raises TimeoutError at a deadline (monotonic time)."""
        future = self.loop.create_future()
        self._watch(descriptor)
        self._futures[descriptor] = future, deadline
        if deadline < self._timer_at:
            self._look_at(deadline)
        try:
            await future
        except BaseException:
            if self._futures.pop(descriptor, None) is not None:
                with contextlib.suppress(OSError):
                    self._epoll.unregister(descriptor)
            raise

    def _watch(self, descriptor: int) -> None:
        """Have the kernel tell once. It forgets what is closed, without a word: a number may be another one by now."""
        if descriptor in self._known:
            with contextlib.suppress(FileNotFoundError):
                self._epoll.modify(descriptor, _READ_ONCE)
                return
        self._known.add(descriptor)
        self._epoll.register(descriptor, _READ_ONCE)

    def _wake(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            future, _ = self._futures.pop(descriptor, (None, 0.0))
            if future is not None and not future.done():
                future.set_result(None)

    def _look_at(self, deadline: float) -> None:
        """Have deadlines looked at when the first of them may be over: one timer for all that wait."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self.loop.call_at(deadline, self._look) if deadline < NEVER else None

    def _look(self) -> None:
        now = self.loop.time()
        for future, deadline in self._futures.values():
            if deadline <= now and not future.done():
                future.set_exception(TimeoutError())
        self._look_at(min((deadline for _, deadline in self._futures.values() if deadline > now), default=NEVER))


_waiting: Waiting | None = None  # of the event loop that runs


async def readable(descriptor: int, deadline: float = NEVER) -> None:
    """Wait until there is something to read, or the end. Raises TimeoutError at a deadline (monotonic time)."""
    global _waiting
    if _waiting is None or not _waiting.loop.is_running():  # to ask which one runs is a system call
        _waiting = Waiting(asyncio.get_running_loop())
    await _waiting.readable(descriptor, deadline)


async def read(descriptor: int, deadline: float = NEVER) -> bytes:
    """Some bytes of a non-blocking descriptor; b"" at its end. Raises OSError, TimeoutError at a deadline."""
    while True:
        try:
            return os.read(descriptor, SIZE)
        except BlockingIOError:
            await readable(descriptor, deadline)


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
