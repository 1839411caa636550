"""A front.

NAME        keeps the connections of proxies that the administrator lists, and relays each request to its virtual host
TRUSTS      the supervisor, and gates about the client's address. No byte of a request, and no worker
RUNS AS     a uid of its own, no capabilities, undumpable, under an allow-list of system calls
TALKS TO    proxies (their connections come out of its mailbox), workers (over pairs that it makes), the supervisor (to
            ask for a mailbox)
ENDS WHEN   its channel ends, or it was told to stop and has finished

A proxy's kept connection carries requests for many owners. No owner's process ever has it. A front reads
each request and sends it to a worker of the virtual host's own identity. It passes on that worker's
answer: one answer, and no byte more (`answer`).
"""

from __future__ import annotations

import contextlib
import time
from socket import AF_INET, AF_INET6, SOCK_STREAM, SocketType

from ownhost.identity import seccomp
from ownhost.processes.forwarder import run_confined
from ownhost.processes.front.connection import Connection
from ownhost.processes.front.conversation import Conversation
from ownhost.processes.front.pair import Letter
from ownhost.processes.front.shared import Shared
from ownhost.processes.mailbox import Handover, receive_handover
from ownhost.processes.messages import Channel, ProtocolError
from ownhost.processes.relay.records import Origin
from ownhost.processes.slices import receive_slice
from ownhost.request.request import Level

INET, INET6, STREAM = int(AF_INET), int(AF_INET6), int(SOCK_STREAM)
TAKE_BATCH = 16  # connections taken out of the mailbox per turn


def main(channel: Channel) -> None:
    """Run a front: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    run_confined(Front(channel, slice_, descriptors), seccomp.FRONT)


def rehearse() -> None:
    """Prepare, in the forkserver, what every front needs."""
    seccomp.compiled(seccomp.FRONT)


class Front(Shared):
    """A front's life: messages from its mailbox and the supervisor."""

    def begin(self) -> None:
        self.has_room()

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
            if received is None:  # it was shut down: the supervisor makes another one, and other fronts
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

    def overloaded(self, parcel: Letter, _identity: int) -> None:
        """A request has waited too long, or too many wait: only it is answered 503."""
        if parcel.pair.asker is not None:
            parcel.pair.asker.refuse()
        parcel.sock.close()

    def expire(self, now: float) -> None:
        self.delivery.expire(now)
        self.pairs.expire(now)
        for connection in list(self.connections):
            connection.check_time(now)

    def stop(self) -> None:
        """Take what is in the mailbox, finish active requests, end idle connections."""
        with contextlib.suppress(BlockingIOError):
            while received := receive_handover(self.mailbox):
                self.serve(*received)
        if self.takes:
            self.takes = False
            self.forget(self.mailbox.fileno())
        for connection in list(self.connections):
            connection.drain()
        self.pairs.close()
