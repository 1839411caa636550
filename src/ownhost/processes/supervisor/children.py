"""The supervisor's processes, as it knows them: asked for, born, spoken to, ended. The forkserver does the doing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

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
from ownhost.processes.supervisor.bucket import Bucket
from ownhost.processes.supervisor.outbox import Outbox

RELAYS_A_SECOND, RELAYS_AT_ONCE = 1_000.0, 500.0  # pairs that one worker is given
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
    relays: Bucket = field(default_factory=lambda: Bucket(RELAYS_A_SECOND, RELAYS_AT_ONCE))
    waiting: int = 0  # of its questions that wait for their turn
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.channel)

    def hang_up(self) -> None:
        """Close its channel."""
        self.outbox.forget()
        self.channel.close()


class Children:
    """All of them. `control` is the channel to the forkserver."""

    def __init__(self, control: Channel) -> None:
        self.control = control
        self.forkserver = Outbox(control, most=inf)  # what there is to do for so many processes, and no more
        control.sock.setblocking(False)
        self.born: dict[int, Child] = {}  # by pid
        self.unborn: dict[int, Child] = {}  # by serial, until their `Started`
        self.to_fork: deque[tuple[Fork, int]] = deque()  # orders, and the child's end of its channel
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
            os.close(descriptor)

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

    def tell(self, child: Child, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a process a message. One that does not read what it is sent is ended: nobody waits for it."""
        try:
            child.outbox.put(message, descriptors)
        except ConnectionError:
            pass  # its `Exited` follows
        except OSError:
            self.kill(child)

    def kill(self, child: Child) -> None:
        """End a process; one that is being forked, once it is there."""
        child.doomed = True
        if child.pid:
            self._order(Signal(child.pid, signal.SIGKILL))

    def dismiss(self, child: Child) -> None:
        """Have a process end at once, its last lines written: the channel's end says so. `kill` what does not."""
        if child.pid:
            with contextlib.suppress(OSError):
                child.channel.sock.shutdown(socket.SHUT_WR)
        else:
            self.kill(child)

    def _order(self, order: Fork | Signal, descriptors: Sequence[int] = ()) -> None:
        """Have the forkserver do something. Where it is gone, so is all that it forked, as the supervisor will hear."""
        with contextlib.suppress(ConnectionError):
            self.forkserver.put(order, descriptors)
