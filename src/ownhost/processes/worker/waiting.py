"""What a worker's clients are waited for with: an epoll instance of our own beside the event loop.

The loop watches the epoll instance, and that the clients. To wait for one more is one system call, and one not to wait
any more; to add a reader to the loop and to remove it takes seven and a handle. For a client of a few messages that is
as much as its request. (Programs are waited for once and in tasks: `apps.pipes`.)
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

READ = int(select.EPOLLIN)
WRITE = int(select.EPOLLOUT)
BATCH = 64  # descriptors that are looked after per turn of the loop, so that what else it has gets its turn


class Waiting:
    """Who is to hear of bytes on which descriptor, or of room in it: again and again, while there is any.

    Who hears of it raises nothing (client.guarded).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._turn)

    def add(self, descriptor: int, callback: Callable[[], None], event: int = READ) -> None:
        """Begin to watch for bytes (READ) or room (WRITE). Raises OSError where there is no memory for it."""
        self._epoll.register(descriptor, event)
        self._callbacks[descriptor] = callback

    def change(self, descriptor: int, callback: Callable[[], None], event: int) -> None:
        """Watch a descriptor for something else."""
        self._epoll.modify(descriptor, event)
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
                callback()
