"""What a worker's clients are waited for with: an epoll instance of our own beside the event loop, and one timer.

The loop watches the epoll instance, and that the clients. To wait for one more is one system call, and one not to wait
any more; to add a reader to the loop and to remove it takes seven and a handle, and a timer of the loop another one.
For a client of a few messages that is as much as its request.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from math import inf
from typing import Protocol

BATCH = 64  # descriptors that are looked after per turn of the loop, so that what else it has gets its turn
COARSE = 0.1  # seconds that a deadline may be late: with many clients, each look goes through all of theirs
_READ = int(select.EPOLLIN)


class Readers:
    """Who is to hear of bytes on which descriptor, or of its end: again and again, until they have been read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._turn)

    def add(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Begin to watch. Raises OSError where there is no memory for it."""
        self._epoll.register(descriptor, _READ)
        self._callbacks[descriptor] = callback

    def replace(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Have somebody else hear of a descriptor that is watched."""
        self._callbacks[descriptor] = callback

    def remove(self, descriptor: int) -> None:
        """Stop. It must be open still: what others hold open, too, would be watched for ever."""
        del self._callbacks[descriptor]
        self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Stop all."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _turn(self) -> None:
        callbacks = self._callbacks
        for descriptor, _ in self._epoll.poll(0, BATCH):
            callback = callbacks.get(descriptor)  # None where somebody before in this turn has removed it
            if callback is not None:
                try:
                    callback()
                except Exception as error:
                    context = {"message": f"Exception in callback {callback!r}", "exception": error}
                    self._loop.call_exception_handler(context)


class Timed(Protocol):
    """Somebody with deadlines."""

    def check_time(self) -> None:
        """The moment that was set is here."""


class Deadlines:
    """When somebody has waited for long enough. At most one moment for each, in loop time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._moments: dict[Timed, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = inf  # when the timer is due

    def set(self, whom: Timed, moment: float) -> None:
        """Have the time checked at this moment, and at no other."""
        self._moments[whom] = moment
        if moment < self._next:
            self._look_at(moment)

    def drop(self, whom: Timed) -> None:
        """Forget it."""
        self._moments.pop(whom, None)

    def moment(self, whom: Timed) -> float:
        """What is set; infinite for nothing."""
        return self._moments.get(whom, inf)

    def _look_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = moment
        self._timer = self._loop.call_later(max(0.0, moment - self._loop.time()), self._look)

    def _look(self) -> None:
        self._timer, self._next = None, inf
        now = self._loop.time()
        for whom in [whom for whom, moment in self._moments.items() if moment <= now]:
            if self._moments.pop(whom, None) is not None:  # else somebody before has dropped it
                whom.check_time()
        if self._moments:
            moment = max(min(self._moments.values()), now + COARSE)
            if moment < self._next:
                self._look_at(moment)
