"""A front.

NAME        keeps the connections of proxies that the administrator lists, and relays each request to its virtual host
TRUSTS      the supervisor, and gates on who the client is. No byte of a request, and no worker
RUNS AS     a uid of its own, no capabilities, undumpable, under an allow-list of system calls
TALKS TO    proxies (their connections come out of its mailbox), workers (over pairs that it makes), the supervisor (to
            ask for a mailbox)
ENDS WHEN   its channel ends, or it was told to stop and is done

A proxy's kept connection carries requests of many owners. No owner's process ever has it: here each request is read,
asked of a worker of the virtual host's own identity, and answered with what that one says, which is one answer and no
byte more (`answer`).
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from select import EPOLLEXCLUSIVE, EPOLLIN
from socket import AF_INET, AF_INET6, SOCK_STREAM, SocketType

from ownhost.identity import seccomp
from ownhost.processes.forwarder import Forwarder, run_fenced
from ownhost.processes.front.connection import Connection
from ownhost.processes.front.conversation import Conversation
from ownhost.processes.front.pair import Letter, Pair, Pairs
from ownhost.processes.mailbox import Handover, receive_handover
from ownhost.processes.messages import Channel, ProtocolError
from ownhost.processes.relay.records import Origin
from ownhost.processes.slices import FrontSlice, receive_slice
from ownhost.request.request import Level

INET, INET6, STREAM = int(AF_INET), int(AF_INET6), int(SOCK_STREAM)
TAKE_BATCH = 16  # connections taken out of the mailbox per turn


def main(channel: Channel) -> None:
    """Run a front: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    run_fenced(Front(channel, slice_, descriptors), seccomp.FRONT)


def rehearse() -> None:
    """Have in the forkserver what every front needs."""
    seccomp.compiled(seccomp.FRONT)


class Front(Forwarder[Letter]):
    """The connections that are here, and the pairs that are kept."""

    def __init__(self, channel: Channel, slice_: FrontSlice, descriptors: list[int]) -> None:
        mailbox, log = descriptors
        super().__init__(channel, slice_.main, slice_.handover, log)
        self.slice = slice_
        self.mailbox = SocketType(-1, -1, -1, mailbox)
        self.connections: set[Connection] = set()
        self.most = self.quarter  # connections: each may have a pair, whose other end is on its way at first
        self.takes = False  # the mailbox is watched
        self.pairs = Pairs(self.quarter // 2)
        self.again: deque[Connection] = deque()  # who has more to do than a turn takes
        self.discarded: list[SocketType] = []  # closed at the turn's end: no number is used again before

    @property
    def holds_clients(self) -> bool:
        return bool(self.connections or self.pairs)

    @property
    def patience(self) -> float:
        return 0.0 if self.again else super().patience

    def begin(self) -> None:
        self.has_room()

    def has_room(self) -> None:
        """Take connections, where there is room for more."""
        if not self.takes and not self.stopping and len(self.connections) < self.most:
            self.takes = True
            self.watch(self.mailbox.fileno(), self.take, EPOLLIN | EPOLLEXCLUSIVE)

    def take(self, _events: int = 0) -> None:
        """Take connections out of the mailbox."""
        for _ in range(TAKE_BATCH):
            try:
                received = receive_handover(self.mailbox)
            except BlockingIOError:
                return
            except ProtocolError as error:
                self.log.log(Level.CRIT, "core", f"a gate spoke nonsense: {error}")
                continue
            if received is None:  # it is shut down: the supervisor makes another one, and other fronts
                raise SystemExit(1)
            self.serve(*received)
        if len(self.connections) >= self.most and self.takes:
            self.takes = False
            self.forget(self.mailbox.fileno())

    def serve(self, handover: Handover, descriptor: int) -> None:
        """Serve a connection that a gate hands over."""
        sock = SocketType(INET6 if ":" in handover.local else INET, STREAM, 0, descriptor)
        client, local, port = handover.client, handover.local, handover.local_port
        talk = Conversation(
            Origin(client, handover.client_port, local, port, peer=handover.peer, peer_port=handover.peer_port),
            self.slice.index.names(local, port),
            self.slice.limits,
            time.monotonic(),
        )
        Connection(self, sock, talk, f"{client}:{handover.client_port}").go_on()

    def deliver(self, pair: Pair) -> None:
        """Have a pair's other end come to a worker."""
        self.delivery.deliver(pair.letter, self.slice.own[pair.server], time.monotonic())

    def overloaded(self, parcel: Letter, _identity: int) -> None:
        """A request has waited for too long, or too many wait: it alone is answered 503."""
        connection = parcel.pair.connection
        if connection is not None:
            connection.do(connection.talk.refused(time.monotonic()))
            self.again.append(connection)
        parcel.sock.close()

    def complain_of(self, server: int) -> None:
        """Log that a virtual host's processes don't keep up, now and then."""
        self.complain(self.slice.own[server], f"server {server}: its processes don't keep up; answered 503")

    def expire(self, now: float) -> None:
        self.delivery.expire(now)
        self.pairs.expire(now)
        for connection in list(self.connections):
            connection.check_time(now)

    def end_turn(self) -> None:
        for connection in [self.again.popleft() for _ in range(len(self.again))]:
            connection.go_on()
        while self.discarded:
            self.discarded.pop().close()
        super().end_turn()

    def stop(self) -> None:
        """Take what is in the mailbox, finish what is begun, end what is idle."""
        with contextlib.suppress(BlockingIOError):
            while received := receive_handover(self.mailbox):
                self.serve(*received)
        if self.takes:
            self.takes = False
            self.forget(self.mailbox.fileno())
        for connection in list(self.connections):
            connection.then(connection.talk.drain)
        self.pairs.close()

    # What is watched

    def watch(self, descriptor: int, handler: Callable[[int], None], events: int) -> None:
        """Have a handler called with what happens to a descriptor."""
        self.handlers[descriptor] = handler
        self.epoll.register(descriptor, events)

    def discard(self, sock: SocketType) -> None:
        """Close a socket that was watched. Events of this turn that are still to come must find nobody."""
        self.forget(sock.fileno())
        self.discarded.append(sock)

    def change(self, descriptor: int, events: int) -> None:
        """Watch a descriptor for something else."""
        self.epoll.modify(descriptor, events)
