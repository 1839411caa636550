"""What a front's connections share: the loop, the pairs that are kept, and how many there may be."""

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
        """Do what more there is to do. Never raises."""

    def check_time(self, now: float) -> None:
        """See whether there is anything that took too long."""

    def drain(self) -> None:
        """The front stops: finish what is begun."""


class Shared(Forwarder[Letter]):
    """The connections that are here, and the pairs that are kept."""

    def __init__(self, channel: Channel, slice_: FrontSlice, descriptors: list[int]) -> None:
        mailbox, log = descriptors
        super().__init__(channel, slice_.main, slice_.handover, log)
        self.slice = slice_
        self.mailbox = SocketType(-1, -1, -1, mailbox)
        self.connections: set[Staying] = set()
        self.most = self.quarter  # connections: each may have a pair, whose other end is on its way at first
        self.takes = False  # the mailbox is watched
        self.pairs = Pairs(self.quarter // 2)
        self.again: deque[Staying] = deque()  # who has more to do than a turn takes
        self.discarded: list[SocketType] = []  # closed at the turn's end: no number is used again before

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
        """Take connections, where there is room for more."""
        if not self.takes and not self.stopping and len(self.connections) < self.most:
            self.takes = True
            self.watch(self.mailbox.fileno(), self.take, EPOLLIN | EPOLLEXCLUSIVE)

    def deliver(self, pair: Pair) -> None:
        """Have a pair's other end come to a worker."""
        self.delivery.deliver(pair.letter, self.slice.own[pair.server], time.monotonic())

    def complain_of(self, server: int) -> None:
        """Log that a virtual host's processes don't keep up, now and then."""
        self.complain(self.slice.own[server], f"server {server}: its processes don't keep up; answered 503")

    def change(self, descriptor: int, events: int) -> None:
        """Watch a descriptor for something else."""
        self.epoll.modify(descriptor, events)

    def discard(self, sock: SocketType) -> None:
        """Close a socket that was watched. Events of this turn that are still to come must find nobody."""
        self.forget(sock.fileno())
        self.discarded.append(sock)

    def end_turn(self) -> None:
        for connection in [self.again.popleft() for _ in range(len(self.again))]:
            connection.go_on()
        while self.discarded:
            self.discarded.pop().close()
        super().end_turn()
