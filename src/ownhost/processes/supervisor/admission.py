"""Admission of workers: whose worker starts while there is room, and who leaves or waits if there is none.

`room` decides, and is pure. The workers' pages say which are idle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ownhost.processes.messages import Leave, Mailbox, Message, Shut
from ownhost.processes.supervisor.children import Children
from ownhost.processes.supervisor.room import Room, longest_idle

LOOK_AGAIN = 0.1  # seconds between two checks for a worker that could leave
SAY_AGAIN = 60.0  # seconds


class Admission:
    """The limit on workers, and those that wait.

    `attend` starts an identity's worker as soon as something waits for one, `welcome` does so when
    there is room for it, and `warn` writes to the log.
    """

    def __init__(
        self,
        room: Room,
        children: Children,
        attend: Callable[[int], None],
        welcome: Callable[[int], None],
        warn: Callable[[str], None],
    ) -> None:
        self.room = room
        self.children = children
        self.attend = attend
        self.welcome = welcome
        self.warn = warn
        self.warned = -SAY_AGAIN  # monotonic seconds

    @property
    def is_full(self) -> bool:
        """Whether no worker can be admitted for now."""
        return self.room.is_full

    def admit(self, number: int) -> bool:
        """Whether an identity may have one more worker now. It is counted then; else it waits for room."""
        if self.room.is_full:
            self.wait(number)
            return False
        self.room.workers += 1
        return True

    def wait(self, number: int) -> None:
        """The limit is reached: an identity waits until an idle worker has left."""
        now = time.monotonic()
        if not self.room.waiting:
            asyncio.get_running_loop().call_later(LOOK_AGAIN, self._look)
        self.room.wait(number, now)
        self._make_room(now)
        if now - self.warned >= SAY_AGAIN:
            self.warned = now
            self.warn(f"MaxWorkers {self.room.most} are there: others wait until one can leave")

    def left(self) -> None:
        """A worker is gone: there is room for the identity that has waited longest."""
        self.room.workers -= 1
        while (following := self.room.next()) is not None:
            self.welcome(following)

    def tell_gates(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        """Send a message to all gates and fronts."""
        for child in (*self.children.of("gate"), *self.children.of("front")):
            self.children.tell(child, message, descriptors)

    def shut(self, number: int) -> None:
        """An identity's last worker is gone. Gates must ask for its mailbox again, and may have to wait."""
        self.tell_gates(Shut(number))

    def open(self, number: int, mailbox: int) -> None:
        """There is room for an identity that gates have asked for: they get its mailbox."""
        self.tell_gates(Mailbox(number), (mailbox,))

    def _make_room(self, now: float) -> None:
        """Ask as many idle workers to leave as identities wait."""
        workers = self.children.of("worker")
        leaving = sum(child.is_leaving(now) for child in workers)
        idle = ((child, child.heartbeat.idle_for(now)) for child in workers if not child.is_leaving(now))
        for child in longest_idle(idle, len(self.room.waiting) - leaving):
            child.asked_to_leave = now
            self.children.tell(child, Leave())

    def _look(self) -> None:
        """While an identity waits, check again: a worker may have become idle."""
        now = time.monotonic()
        for number in self.room.give_up(now):
            self.attend(number)
        if self.room.waiting:
            self._make_room(now)
            asyncio.get_running_loop().call_later(LOOK_AGAIN, self._look)
