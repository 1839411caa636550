"""The common part of gates and fronts: a bare epoll loop, a channel to the supervisor, and mailboxes.

They do so little per connection that an event-loop library would cost more than all of it.
"""

from __future__ import annotations

import gc
import select
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from resource import RLIMIT_NOFILE, getrlimit
from select import EPOLLIN
from socket import SocketType
from typing import Generic

from ownhost.config.model import VirtualHost
from ownhost.identity import landlock, seccomp
from ownhost.identity.bpf import Policy
from ownhost.processes.delivery import Delivery, P
from ownhost.processes.heartbeat import OWN
from ownhost.processes.logwriter import LogWriter
from ownhost.processes.messages import Channel, Mailbox, Message, Shut, Stop, Want
from ownhost.request.errorlog import ErrorLog
from ownhost.request.request import Level

SAY_AGAIN = 0.01  # seconds until a full channel is tried again
LOOK_AGAIN = 0.25  # seconds between checks for connections that wait too long: there may be thousands


def run_confined(forwarder: Forwarder[P], policy: Policy) -> None:
    """Run a gate or a front. It needs no file and no other process, and may make only a policy's system calls."""
    gc.collect()
    gc.freeze()
    landlock.restrict(landlock.NOTHING)
    seccomp.install(policy)
    forwarder.run()


class Forwarder(ABC, Generic[P]):
    """The loop and its state. `main` has the main server's settings; `handover` is the size of one."""

    def __init__(self, channel: Channel, main: VirtualHost, handover: int, log: int) -> None:
        self.channel = channel
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[int], None]] = {}
        self.quarter = getrlimit(RLIMIT_NOFILE)[0] // 4  # half of the open files are for connections in flight
        self.delivery: Delivery[P] = Delivery(
            self.epoll, handover, self.quarter, lambda one: self.say(Want(one)), self.overloaded
        )
        self.backlog: deque[Message] = deque()  # messages for which the channel has no room yet
        self.turn_end: list[Callable[[], None]] = []
        self.log = ErrorLog(main, LogWriter(log, self.turn_end.append, to_logger=True).write, shared=True)
        self.next_look = 0.0  # monotonic seconds
        self.stopping = False
        self.complained: dict[int, float] = {}  # identity -> when its overload was last logged

    def run(self) -> None:
        """Serve until told to stop."""
        self.channel.sock.setblocking(False)
        self.watch(self.channel.fileno(), self.on_message, EPOLLIN)
        self.begin()
        heartbeat = OWN.heartbeat
        while not (self.stopping and not self.holds_clients):
            heartbeat.busy_since = 0.0
            ready = self.epoll.poll(self.patience)
            heartbeat.busy_since = time.monotonic()
            for descriptor, events in ready:
                # A handler earlier in this turn may have closed this event's descriptor.
                handler = self.handlers.get(descriptor)
                if handler is not None:
                    handler(events)
            if self.holds_clients and (now := time.monotonic()) >= self.next_look:
                self.next_look = now + LOOK_AGAIN
                self.expire(now)
            while self.backlog and self.said(self.backlog[0]):
                self.backlog.popleft()
            self.end_turn()

    @abstractmethod
    def begin(self) -> None:
        """Start to accept connections."""

    @abstractmethod
    def stop(self) -> None:
        """Accept no more connections; finish those that are here."""

    @property
    @abstractmethod
    def holds_clients(self) -> bool:
        """Whether there are connections here."""

    @abstractmethod
    def expire(self, now: float) -> None:
        """End connections that take too long."""

    @abstractmethod
    def overloaded(self, parcel: P, identity: int) -> None:
        """A connection has waited too long, or too many wait."""

    def end_turn(self) -> None:
        """Do the work that waits for the end of a turn."""
        while self.turn_end:
            self.turn_end.pop()()

    @property
    def patience(self) -> float:
        """Seconds to wait for an event; -1 is for ever."""
        return SAY_AGAIN if self.backlog else 1.0 if self.holds_clients else -1

    def say(self, message: Message) -> None:
        """Send the supervisor a message, in order: a burst of new names may be more than the channel takes at once."""
        if self.backlog or not self.said(message):
            self.backlog.append(message)

    def said(self, message: Message) -> bool:
        """Send a message, if there is room."""
        try:
            self.channel.send(message)
        except BlockingIOError:
            return False
        return True

    def on_message(self, _events: int) -> None:
        """Handle one message. The end of the channel is the end of this process."""
        received = self.channel.receive()
        if received is None:
            self.end_turn()
            raise SystemExit(0)
        message, descriptors = received
        match message:
            case Mailbox():
                self.open_mailbox(message.identity, descriptors[0])
            case Shut():
                self.delivery.lose(message.identity)
            case Stop():
                self.stopping = True
                self.stop()

    def open_mailbox(self, identity: int, descriptor: int) -> None:
        """The requested mailbox has arrived."""
        box = SocketType(-1, -1, -1, descriptor)
        if self.delivery.open(identity, box):
            self.handlers[descriptor] = lambda events: self.delivery.attend(identity, events)

    def complain(self, identity: int, message: str) -> None:
        """Log a warning, at most once a second for each identity."""
        now = time.monotonic()
        if now - self.complained.get(identity, -1.0) >= 1.0:
            self.complained[identity] = now
            self.log.log(Level.WARN, "core", message)

    def watch(self, descriptor: int, handler: Callable[[int], None], events: int) -> None:
        """Register a handler for a descriptor's events."""
        self.handlers[descriptor] = handler
        self.epoll.register(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor that is still open."""
        self.handlers.pop(descriptor, None)
        self.epoll.unregister(descriptor)
