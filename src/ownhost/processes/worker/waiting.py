"""How a worker waits for its clients: an epoll instance of its own beside the event loop.

The loop watches the epoll instance, which watches the clients. To watch one more is one system
call, and to stop is one; adding a reader to the loop and removing it takes seven and a handle. For
a client of a few messages that is as much as its request. (Programs are waited for once and in
tasks: `apps.pipes`.)
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

READ = int(select.EPOLLIN)
WRITE = int(select.EPOLLOUT)
BATCH = 64  # descriptors handled per turn of the loop, so that its other work has its turn


class Waiting:
    """The handlers of descriptors, for bytes or for room: called as long as there is any.

    Handlers raise nothing (client.guarded).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._turn)

    def add(self, descriptor: int, callback: Callable[[], None], event: int = READ) -> None:
        """Begin to watch for bytes (READ) or room (WRITE). Raises OSError if there is no memory for it."""
        self._epoll.register(descriptor, event)
        self._callbacks[descriptor] = callback

    def change(self, descriptor: int, callback: Callable[[], None], event: int) -> None:
        """Watch a descriptor for another event."""
        self._epoll.modify(descriptor, event)
        self._callbacks[descriptor] = callback

    def replace(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Replace the handler of a watched descriptor."""
        self._callbacks[descriptor] = callback

    def remove(self, descriptor: int) -> None:
        """Stop.

        The descriptor must still be open: if another process has it open, too, it would be watched
        for ever.
        """
        del self._callbacks[descriptor]
        self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Stop all."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _turn(self) -> None:
        callbacks = self._callbacks
        for descriptor, _ in self._epoll.poll(0, BATCH):
            callback = callbacks.get(descriptor)  # None if an earlier handler of this turn has removed it
            if callback is not None:
                callback()
