"""Messages to one process, sent without ever blocking."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Sequence

from ownhost.processes.descriptors import close_all
from ownhost.processes.messages import Channel, Message

AGAIN = 0.05  # seconds until a send that the kernel's limits prevented is tried again
MOST = 8_192  # a process that reads none of so many messages never will


class Outbox:
    """Messages over a non-blocking channel, in order: those without room wait until there is.

    A channel takes a few hundred messages. A process that starts, or serves a crowd, may need more
    at once. At most `most` of them wait.
    """

    def __init__(self, channel: Channel, most: float = MOST) -> None:
        self.channel = channel
        self.most = most
        self.waiting: deque[tuple[Message, list[int]]] = deque()  # with copies of the descriptors, which are ours

    def put(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message, now or later.

        Raises OSError if it cannot be sent: the channel is closed, or its reader reads none.
        """
        if not self.waiting:
            try:
                self.channel.send(message, descriptors)
                return
            except OSError as error:
                self._wait(error)
        if len(self.waiting) >= self.most:
            raise BlockingIOError("too many messages wait already")
        copies: list[int] = []
        try:
            for descriptor in descriptors:
                copies.append(os.dup(descriptor))
        except OSError:
            close_all(copies)
            raise
        self.waiting.append((message, copies))

    def _go_on(self) -> None:
        """There is room again."""
        while self.waiting:
            message, descriptors = self.waiting[0]
            try:
                self.channel.send(message, descriptors)
            except OSError as error:
                try:
                    self._wait(error)
                except OSError:  # it is gone; the reader of the channel notices
                    self.forget()
                return
            self.waiting.popleft()
            close_all(descriptors)
        self._stop_waiting()

    def _wait(self, error: OSError) -> None:
        """Go on when there is room. Raises other errors."""
        if isinstance(error, BlockingIOError):
            asyncio.get_running_loop().add_writer(self.channel.fileno(), self._go_on)
        elif error.errno == errno.ETOOMANYREFS:  # of descriptors in flight, which the channel does not show
            self._stop_waiting()
            asyncio.get_running_loop().call_later(AGAIN, self._go_on)
        else:
            raise error

    def _stop_waiting(self) -> None:
        if self.channel.fileno() >= 0:
            asyncio.get_running_loop().remove_writer(self.channel.fileno())

    def forget(self) -> None:
        """Drop the waiting messages. Call it before the channel is closed."""
        if self.waiting:
            self._stop_waiting()
        while self.waiting:
            close_all(self.waiting.popleft()[1])
