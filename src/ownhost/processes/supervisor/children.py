"""The supervisor's processes: requested, started, told, ended. The forkservers do the forking."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from ownhost.http.bucket import Bucket
from ownhost.identity.identity import Identity
from ownhost.identity.shedding.line import UMASK
from ownhost.processes.descriptors import close_all
from ownhost.processes.heartbeat import Watched, new_page
from ownhost.processes.messages import (
    TO_SUPERVISOR,
    UNCONFINED,
    Channel,
    Exited,
    Fork,
    Message,
    Sender,
    Signal,
    Started,
    channel_pair,
)
from ownhost.processes.scoreboard import Board
from ownhost.processes.slices import send_slice
from ownhost.processes.supervisor.outbox import Outbox
from ownhost.processes.supervisor.words import bucket_of

BRIEF = ("examiner", "sweeper")  # roles that only `Examination` waits for
PATIENCE = 1.0  # seconds for a worker to leave after it was asked to
RELAYS_A_SECOND, RELAYS_AT_ONCE = 1_000.0, 500.0  # pairs that one worker may have
FORKS_AT_ONCE = 64  # forks requested and not yet answered


@dataclass(frozen=True, slots=True)
class LogSender:
    """A sender's place in a shared log: what the logger is told, the logger's end, and the process's."""

    what: Sender
    receiving: int
    sending: int


@dataclass(slots=True, eq=False)
class Child:
    """A process that the forkserver made for us, or is about to."""

    role: str
    number: int  # of its identity, or of the gate
    channel: Channel
    heartbeat: Watched
    since: float
    pid: int = 0  # until `Started`
    log_senders: list[LogSender] = field(default_factory=list)  # its senders for shared logs
    pages: list[tuple[Board, int]] = field(default_factory=list)  # its pages for counting clients
    programs: list[Child] = field(default_factory=list)  # programs that run only for it
    stopping: bool = False
    asked_to_leave: float = -inf  # when, if it has nothing to do: monotonic seconds
    doomed: bool = False  # it must be ended as soon as it has a pid
    gone: bool = False  # it has ended, or counts as ended
    bucket: Bucket = field(init=False)  # limits its messages
    relays: Bucket = field(default_factory=lambda: Bucket(RELAYS_A_SECOND, RELAYS_AT_ONCE))
    waiting: int = 0  # its questions that wait for their turn
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.channel)
        self.bucket = bucket_of(self.role)

    def is_leaving(self, now: float) -> bool:
        """Whether it was asked to leave just now. One that does not leave has work, or does not obey."""
        return now - self.asked_to_leave < PATIENCE

    def hang_up(self) -> None:
        """Close its channel, and stop reading its page."""
        self.outbox.forget()
        self.channel.close()
        self.heartbeat.close()


class Children:
    """All of them. `control` is the channel to the forkserver, `confined` that to the confined one below it."""

    def __init__(self, control: Channel, confined: Channel, umask: int = UMASK) -> None:
        self.controls = control, confined
        self.umask = umask
        # The work for so many processes, and no more.
        self.forkserver, self.confined = (Outbox(channel, most=inf) for channel in self.controls)
        for channel in self.controls:
            channel.sock.setblocking(False)
        self.born: dict[int, Child] = {}  # by pid
        self.unborn: dict[int, Child] = {}  # by serial, until their `Started`
        self.to_fork: deque[tuple[Fork, list[int]]] = deque()  # orders, and what goes with them
        self.serial = 0

    def __iter__(self) -> Iterator[Child]:
        return iter([child for child in (*self.born.values(), *self.unborn.values()) if not child.gone])

    def of(self, role: str, number: int | None = None) -> list[Child]:
        """Those of a role, or of one identity; gates and fronts have numbers of their own."""
        return [child for child in self if child.role == role and number in (None, child.number)]

    def fork(
        self,
        role: str,
        number: int,
        who: Identity,
        content: object,
        descriptors: list[int],
        processes: Sequence[int] = (),
    ) -> Child:
        """Have a process forked; its slice waits for it in its channel. `processes` is RLIMIT_NPROC, soft and hard."""
        page = new_page()
        ours, theirs = channel_pair()
        ours.setblocking(False)
        child = Child(role, number, Channel(ours, TO_SUPERVISOR[role]), Watched(page), time.monotonic())
        send_slice(child.channel, content, descriptors)
        self.serial += 1
        order = Fork(
            self.serial, role, who.uid, who.gid, list(who.groups), who.name, who.nice, list(processes), self.umask
        )
        self.to_fork.append((order, [theirs.detach(), page]))
        self.unborn[self.serial] = child
        self.send_forks()
        return child

    def send_forks(self) -> None:
        """Pass on orders to the forkserver, a limited number at a time, so that it never has to wait for us."""
        while self.to_fork and len(self.unborn) - len(self.to_fork) < FORKS_AT_ONCE:
            order, descriptors = self.to_fork.popleft()
            self._order(order.role, order, descriptors)
            close_all(descriptors)

    def started(self, started: Started) -> Child:
        """A child has a pid now, or could not be forked."""
        child = self.unborn.pop(started.serial)
        child.pid = started.pid
        if started.pid:
            self.born[started.pid] = child
            if child.doomed:
                self.kill(child)
        self.send_forks()
        return child

    def exited(self, exited: Exited) -> Child | None:
        """A child is gone; None for one that was already given up."""
        child = self.born.pop(exited.pid)
        return child if child.role not in BRIEF else None

    def tell(self, child: Child, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a process a message. One that does not read its messages is ended: nothing waits for it."""
        try:
            child.outbox.put(message, descriptors)
        except ConnectionError:
            pass  # its `Exited` follows
        except OSError:
            self.kill(child)

    def kill(self, child: Child) -> None:
        """End a process; one that is being forked, as soon as it has a pid."""
        child.doomed = True
        if child.pid:
            self._order(child.role, Signal(child.pid, signal.SIGKILL))

    def dismiss(self, child: Child) -> None:
        """Let a process end at once, after its last lines: closing the channel tells it. `kill` does the rest."""
        if child.pid:
            with contextlib.suppress(OSError):
                child.channel.sock.shutdown(socket.SHUT_WR)
        else:
            self.kill(child)

    def _order(self, role: str, order: Fork | Signal, descriptors: Sequence[int] = ()) -> None:
        """Send a role's forkserver an order.

        If the forkserver is gone, so is all that it forked; its end is noticed elsewhere.
        """
        forkserver = self.forkserver if role in UNCONFINED else self.confined
        with contextlib.suppress(ConnectionError):
            forkserver.put(order, descriptors)
