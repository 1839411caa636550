"""The supervisor's processes, as it knows them: asked for, born, spoken to, ended. The forkserver does the doing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ownhost.identity.identity import Identity
from ownhost.processes.messages import (
    TO_SUPERVISOR,
    Channel,
    Exited,
    Fork,
    Message,
    Signal,
    Started,
    channel_pair,
)
from ownhost.processes.scoreboard import Board
from ownhost.processes.slices import send_slice

FORKS_AT_ONCE = 64  # forks asked for and not yet answered


@dataclass(slots=True, eq=False)
class Child:
    """A process that the forkserver made for us, or is about to."""

    role: str
    number: int  # of its identity, or of the gate
    channel: Channel
    since: float
    pid: int = 0  # until `Started`
    senders: list[tuple[int, int]] = field(default_factory=list)  # its lines' receiving ends: log, descriptor
    pages: list[tuple[Board, int]] = field(default_factory=list)  # where it counts clients
    programs: list[Child] = field(default_factory=list)  # that run for it alone
    stopping: bool = False
    doomed: bool = False  # it is to be ended as soon as it has a pid


class Children:
    """All of them. `control` is the channel to the forkserver."""

    def __init__(self, control: Channel) -> None:
        self.control = control
        control.sock.setblocking(False)
        self.born: dict[int, Child] = {}  # by pid
        self.unborn: dict[int, Child] = {}  # by serial, until their `Started`
        self.to_fork: deque[tuple[Fork, int]] = deque()  # orders, and the child's end of its channel
        self.orders: deque[tuple[Message, Sequence[int]]] = deque()  # that the channel has had no room for
        self.serial = 0

    def __iter__(self) -> Iterator[Child]:
        return iter((*self.born.values(), *self.unborn.values()))

    def fork(self, role: str, number: int, who: Identity, content: object, descriptors: list[int]) -> Child:
        """Have a process forked; its slice waits in its channel for it."""
        ours, theirs = channel_pair()
        ours.setblocking(False)
        child = Child(role, number, Channel(ours, TO_SUPERVISOR[role]), time.monotonic())
        send_slice(child.channel, content, descriptors)
        self.serial += 1
        order = Fork(self.serial, role, who.uid, who.gid, list(who.groups), who.name, who.nice)
        self.to_fork.append((order, theirs.detach()))
        self.unborn[self.serial] = child
        self.send_forks()
        return child

    def send_forks(self) -> None:
        """Pass orders on to the forkserver, a bounded number at a time, so that it never has to wait for us."""
        while self.to_fork and len(self.unborn) - len(self.to_fork) < FORKS_AT_ONCE:
            order, descriptor = self.to_fork.popleft()
            self._order(order, [descriptor])

    def started(self, started: Started) -> Child:
        """A child has a pid now, or none: it could not be forked."""
        child = self.unborn.pop(started.serial)
        child.pid = started.pid
        if started.pid:
            self.born[started.pid] = child
            if child.doomed:
                self.kill(child)
        self.send_forks()
        return child

    def exited(self, exited: Exited) -> Child:
        """A child is gone."""
        return self.born.pop(exited.pid)

    def tell(self, child: Child, message: Message, descriptors: list[int]) -> None:
        """Send a process a message. One that does not read what it is sent is ended: nobody waits for it."""
        try:
            child.channel.send(message, descriptors)
        except BlockingIOError:
            self.kill(child)
        except OSError:
            pass  # its `Exited` follows

    def kill(self, child: Child) -> None:
        """End a process; one that is being forked, once it is there."""
        child.doomed = True
        if child.pid:
            self._order(Signal(child.pid, signal.SIGKILL))

    def _order(self, order: Fork | Signal, descriptors: Sequence[int] = ()) -> None:
        """Have the forkserver do something, after what it was told before; the descriptors are closed."""
        self.orders.append((order, descriptors))
        if len(self.orders) == 1:
            self._send_orders()

    def _send_orders(self) -> None:
        """Say what there is room for; the rest once there is more."""
        while self.orders:
            order, descriptors = self.orders[0]
            try:
                self.control.send(order, descriptors)
            except BlockingIOError:
                asyncio.get_running_loop().add_writer(self.control.fileno(), self._go_on)
                return
            except OSError:
                pass  # the forkserver is gone, and all that it forked: the supervisor hears of that
            self.orders.popleft()
            for descriptor in descriptors:
                os.close(descriptor)

    def _go_on(self) -> None:
        """There is room again."""
        asyncio.get_running_loop().remove_writer(self.control.fileno())
        self._send_orders()
