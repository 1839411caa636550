"""How gates and fronts put connections into mailboxes, in order.

A full mailbox blocks no process, and no connection waits for ever.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from select import EPOLLHUP, EPOLLOUT
from socket import SocketType
from typing import Generic, Protocol, TypeVar

from ownhost.processes.mailbox import Broken, Full, Handover, send_handover

MAX_WAITING = 1_024  # connections per identity waiting for its mailbox, or for room in it
MAX_WAIT = 10.0  # seconds that one waits before it is answered 503
ASK_AGAIN = 1.0  # seconds between checks for mailboxes that have not come, or that the kernel let nothing into


class Parcel(Protocol):
    """A socket on its way into a mailbox."""

    since: float  # monotonic seconds: since when it waits

    def fileno(self) -> int:
        """The socket's descriptor; -1 if it is not to be delivered any more."""

    def handover(self) -> Handover:
        """The data that goes with it."""

    def kept(self) -> None:
        """Its mailbox is full for now: it waits."""

    def taken(self) -> None:
        """It is in the mailbox: close the local copy."""


P = TypeVar("P", bound=Parcel)


class Delivery(Generic[P]):
    """The known mailboxes, and the connections that wait for one, or for room in it.

    `want` asks the supervisor for an identity's mailbox; `overloaded` answers a client that cannot
    be passed on. At most `most` wait in all. Beyond that, clients of the identity with the longest
    queue are refused.
    """

    def __init__(
        self,
        epoll: select.epoll,
        size: int,
        most: int,
        want: Callable[[int], None],
        overloaded: Callable[[P, int], None],
    ) -> None:
        self.epoll = epoll
        self.size = size  # bytes of a handover
        self.most = most
        self.want = want
        self.overloaded = overloaded
        self.mailboxes: dict[int, SocketType] = {}
        self.waiting: dict[int, deque[P]] = {}  # identity -> connections for a mailbox not yet here, or full
        self.count = 0  # of all that wait
        self.asks_again = 0.0  # monotonic seconds

    def deliver(self, parcel: P, identity: int, now: float) -> None:
        """Put a connection into an identity's mailbox, or ask for that mailbox first."""
        if identity not in self.mailboxes or identity in self.waiting or not self.put(parcel, identity):
            self.wait(parcel, identity, now)

    def open(self, identity: int, box: SocketType) -> bool:
        """The requested mailbox has arrived; other gates may have filled it already.

        Returns whether it is used: a duplicate is closed.
        """
        if identity in self.mailboxes:
            box.close()
            return False
        self.mailboxes[identity] = box
        self.epoll.register(box.fileno(), 0)  # the kernel says by itself when it is shut down
        self.deliver_waiting(identity)
        return True

    def attend(self, identity: int, events: int) -> None:
        """There is room in a mailbox, or it is shut down."""
        if events & EPOLLHUP:
            self.lose(identity)
        else:
            self.deliver_waiting(identity)

    def lose(self, identity: int) -> None:
        """A mailbox is broken: ask for its replacement, if a connection waits."""
        box = self.mailboxes.pop(identity, None)
        if box is None:
            return
        self.epoll.unregister(box.fileno())
        box.close()
        if self.waiting.get(identity):
            self.want(identity)

    def deliver_waiting(self, identity: int) -> None:
        """Put waiting connections into their mailbox, oldest first, while there is room."""
        queue = self.waiting.get(identity)
        if queue is None:
            return
        while queue:
            if not self.put(queue[0], identity):
                if identity in self.mailboxes:
                    self.epoll.modify(self.mailboxes[identity].fileno(), EPOLLOUT)
                return
            queue.popleft()
            self.count -= 1
        del self.waiting[identity]
        self.epoll.modify(self.mailboxes[identity].fileno(), 0)

    def put(self, parcel: P, identity: int) -> bool:
        """Put a connection into its mailbox. False if the mailbox is full for now."""
        descriptor = parcel.fileno()
        if descriptor < 0:
            return True
        try:
            send_handover(self.mailboxes[identity], descriptor, parcel.handover(), self.size)
        except Full:
            parcel.kept()
            return False
        except Broken:
            parcel.kept()
            self.lose(identity)
            return False
        parcel.taken()
        return True

    def wait(self, parcel: P, identity: int, now: float) -> None:
        """Queue a connection until its mailbox arrives or has room: a full one must never block a gate."""
        queue = self.waiting.get(identity)
        if queue is None:
            queue = self.waiting[identity] = deque()
            box = self.mailboxes.get(identity)
            if box is None:
                self.want(identity)
            else:
                self.epoll.modify(box.fileno(), EPOLLOUT)
        if len(queue) >= MAX_WAITING:
            self.overloaded(parcel, identity)
            return
        parcel.since = now
        queue.append(parcel)
        self.count += 1
        if self.count > self.most:
            greediest = max(self.waiting, key=lambda one: len(self.waiting[one]))
            self.give_up(greediest)

    def give_up(self, identity: int) -> None:
        """Give up the connection that has waited longest for an identity."""
        parcel = self.waiting[identity].popleft()
        self.count -= 1
        self.overloaded(parcel, identity)

    def expire(self, now: float) -> None:
        """End connections that have waited too long: their owner's processes don't take them.

        A missing mailbox is requested again: the supervisor may have been short of descriptors. A
        known one is tried again: the kernel's limit on descriptors in flight may have kept it from
        taking anything.
        """
        again = now >= self.asks_again
        if again:
            self.asks_again = now + ASK_AGAIN
        for identity, queue in list(self.waiting.items()):
            while queue and now - queue[0].since > MAX_WAIT:
                self.give_up(identity)
            if identity in self.mailboxes:
                if again or not queue:
                    self.deliver_waiting(identity)
            elif not queue:
                del self.waiting[identity]
            elif again and now - queue[0].since >= ASK_AGAIN:
                self.want(identity)
