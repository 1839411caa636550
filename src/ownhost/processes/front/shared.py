"""What a front's connections share: the loop, the kept pairs, and the limit on both."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import deque
from select import EPOLLEXCLUSIVE, EPOLLIN
from socket import SocketType
from typing import Protocol

from ownhost.processes.forwarder import Forwarder
from ownhost.processes.front.pair import Letter, Pair, Pairs
from ownhost.processes.messages import Channel
from ownhost.processes.slices import FrontSlice


class Staying(Protocol):
    """A proxy's connection."""

    def go_on(self) -> None:
        """Do more of the work. Never raises."""

    def check_time(self, now: float) -> None:
        """Check whether anything took too long."""

    def drain(self) -> None:
        """The front stops: finish active requests."""


class Shared(Forwarder[Letter]):
    """The connections, and the kept pairs."""

    def __init__(self, channel: Channel, slice_: FrontSlice, descriptors: list[int]) -> None:
        mailbox, log = descriptors
        super().__init__(channel, slice_.main, slice_.handover, log)
        self.slice = slice_
        self.mailbox = SocketType(-1, -1, -1, mailbox)
        self.connections: set[Staying] = set()
        self.most = self.quarter  # connections: each may have a pair, whose other end is in flight at first
        self.takes = False  # the mailbox is watched
        self.pairs = Pairs(self.quarter // 2)
        self.again: deque[Staying] = deque()  # those with more to do than one turn allows
        self.discarded: list[SocketType] = []  # closed at the turn's end: no descriptor number is used again before

    @property
    def holds_clients(self) -> bool:
        return bool(self.connections or self.pairs)

    @property
    def patience(self) -> float:
        return 0.0 if self.again else super().patience

    @abstractmethod
    def take(self, _events: int = 0) -> None:
        """Take connections out of the mailbox."""

    def has_room(self) -> None:
        """Take connections, if there is room for more."""
        if not self.takes and not self.stopping and len(self.connections) < self.most:
            self.takes = True
            self.watch(self.mailbox.fileno(), self.take, EPOLLIN | EPOLLEXCLUSIVE)

    def deliver(self, pair: Pair) -> None:
        """Send a pair's other end to a worker."""
        self.delivery.deliver(pair.letter, self.slice.own[pair.server], time.monotonic())

    def complain_of(self, server: int) -> None:
        """Log that a virtual host's processes don't keep up, with a limited rate."""
        self.complain(self.slice.own[server], f"server {server}: its processes don't keep up; answered 503")

    def change(self, descriptor: int, events: int) -> None:
        """Watch a descriptor for other events."""
        self.epoll.modify(descriptor, events)

    def discard(self, sock: SocketType) -> None:
        """Close a watched socket. Later events of this turn must not find it."""
        self.forget(sock.fileno())
        self.discarded.append(sock)

    def end_turn(self) -> None:
        for connection in [self.again.popleft() for _ in range(len(self.again))]:
            connection.go_on()
        while self.discarded:
            self.discarded.pop().close()
        super().end_turn()
