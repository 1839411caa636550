"""A gate.

NAME        accepts connections and passes each to the identity that it is for
TRUSTS      the supervisor; no byte of a client. It hears nothing of workers
RUNS AS     a uid of its own, no capabilities, undumpable, under an allow-list of system calls
TALKS TO    clients (it looks at their bytes, and leaves them in the socket for the worker), the supervisor (to
            ask for a mailbox); it puts connections into mailboxes
ENDS WHEN   its channel ends, or it was told to stop and nothing waits any more
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from select import EPOLLEXCLUSIVE, EPOLLIN, EPOLLRDHUP
from socket import MSG_DONTWAIT, MSG_PEEK, SO_RCVLOWAT, SOCK_STREAM, SOL_SOCKET, SocketType

from ownhost.http.limits import TIMEOUT
from ownhost.identity import seccomp
from ownhost.modules.reqtimeout import REQUEST_READ_TIMEOUT, TOO_LONG
from ownhost.processes.forwarder import Forwarder, run_confined
from ownhost.processes.gate.client import PEEK_SIZE, TOO_SLOW, Client, Event, State, broken, look, overloaded
from ownhost.processes.gate.held import Held
from ownhost.processes.messages import Channel, Ready
from ownhost.processes.slices import FRONTS, GateSlice, receive_slice
from ownhost.request import bugs
from ownhost.request.hosts import NameTable
from ownhost.request.request import Level

STREAM = int(SOCK_STREAM)
LOOK = int(MSG_PEEK | MSG_DONTWAIT)
DROPS = 8  # that are read at a time from a client that is given up
ACCEPT_BATCH = 32  # connections accepted per turn, so that other descriptors have their turn
MAX_PENDING = 8_192  # connections whose head is not complete


def main(channel: Channel) -> None:
    """Run a gate: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    run_confined(Gate(channel, slice_, descriptors), seccomp.GATE)


def rehearse() -> None:
    """Prepare, in the forkserver, what every gate needs."""
    seccomp.compiled(seccomp.GATE)


class Gate(Forwarder[Held]):
    """A gate's listeners, and the clients whose name is not known yet."""

    def __init__(self, channel: Channel, slice_: GateSlice, descriptors: list[int]) -> None:
        *listeners, log = descriptors
        super().__init__(channel, slice_.main, slice_.handover, log)
        self.slice = slice_
        self.names: dict[tuple[str, int], NameTable] = {}
        self.max_pending = min(MAX_PENDING, self.quarter)
        self.pending: dict[int, Held] = {}  # descriptor -> connection with an incomplete head, oldest first
        self.read_timeout = self.slice.main.settings[REQUEST_READ_TIMEOUT]
        self.timeout = self.slice.main.settings[TIMEOUT]
        self.listeners = [SocketType(-1, -1, -1, descriptor) for descriptor in listeners]
        self.batch = 1  # connections to accept per turn: more while there are more, as finding none costs time, too

    def begin(self) -> None:
        """Start to listen, and tell the supervisor."""
        for listener, address in zip(self.listeners, self.slice.listeners, strict=True):
            listener.setblocking(False)
            acceptor = self._acceptor(listener, address.host, address.port)
            self.watch(listener.fileno(), acceptor, EPOLLIN | EPOLLEXCLUSIVE)
        self.channel.send(Ready())

    @property
    def holds_clients(self) -> bool:
        """Whether there are connections that are not passed on yet."""
        return bool(self.pending or self.delivery.waiting)

    def stop(self) -> None:
        """Accept nothing more; connections that are here are still passed on."""
        for listener in self.listeners:
            self.forget(listener.fileno())
            listener.close()
        self.listeners = []

    # Connections

    def _acceptor(self, listener: SocketType, local: str, local_port: int) -> Callable[[int], None]:
        family, fronts = int(listener.family), self.slice.fronts
        listed = fronts.listed if fronts else None
        fixed = bool(local) and local not in ("::", "0.0.0.0")  # noqa: S104 - compared, not bound

        def accept(_events: int) -> None:
            for _ in range(self.batch):
                try:
                    descriptor, address = listener._accept()  # type: ignore[attr-defined]
                except BlockingIOError:
                    self.batch = 1
                    return
                except OSError as error:
                    self.accept_failed(error)
                    return
                sock = SocketType(family, STREAM, 0, descriptor)
                try:
                    here = local if fixed else unmapped(sock.getsockname()[0])
                except OSError:
                    sock.close()
                    continue
                client = Client(unmapped(address[0]), address[1], here, local_port, time.monotonic())
                if listed is not None and listed.covers(client.address):
                    client.proxy = True
                    if fronts.announces(client.address, here, local_port):
                        client.state = State.ANNOUNCED
                self.look(Held(sock, client))
            self.batch = min(2 * self.batch, ACCEPT_BATCH)

        return accept

    def accept_failed(self, error: OSError) -> None:
        """No descriptor, no memory: log it, and wait a moment, so that the ones in use are freed."""
        self.complain(-1, f"accept failed: {error.strerror}; clients wait until there is room again")
        time.sleep(0.01)

    def look(self, held: Held) -> None:
        """Check whether a client's name is known. An exception ends only this client."""
        client = held.client
        try:
            if not client.seen:
                client.encrypted = self.speaks_tls(client.local, client.local_port)
                if client.proxy and not client.encrypted and client.state is State.NEW:
                    self.unwatch(held)
                    held.step(Event.NAMED)
                    self.delivery.deliver(held, FRONTS, time.monotonic())
                    return
            data: bytes | None
            try:
                data = held.sock.recv(PEEK_SIZE, LOOK)
            except BlockingIOError:
                data = None
            except OSError:
                self.close(held)
                return
            found = look(client, data)
            what = client.step(found.event)
            if what == "watch":
                self.wait_for_more(held, found.seen)
            elif what == "deliver":
                self.deliver(held, found.host)
            elif found.announced is not None:
                held.sock.recv(found.announced.size, MSG_DONTWAIT)  # the bytes so far are not the client's
                client.meet(found.announced)
                self.look(held)
            else:
                if found.problem:
                    self.complain(-2, f"front proxy {client.address}: {found.problem}")
                self.let_go(held, found.answer)
        except Exception as error:
            bugs.report(self.log.log, error)
            self.let_go(held, broken(client))

    def speaks_tls(self, local: str, port: int) -> bool:
        """Whether an address speaks TLS."""
        return bool(self.slice.tls) and self.names_at(local, port).default in self.slice.tls

    def wait_for_more(self, held: Held, seen: int) -> None:
        """Sleep until there are more bytes than seen so far: without the low-water mark, epoll would spin."""
        descriptor = held.sock.fileno()
        held.client.seen = seen
        held.client.progress = time.monotonic()
        held.sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, seen + 1)
        if descriptor not in self.pending:
            if len(self.pending) >= self.max_pending:
                self.close(next(iter(self.pending.values())))
            self.pending[descriptor] = held
            self.watch(descriptor, lambda _: self.look(held), EPOLLIN | EPOLLRDHUP)

    def deliver(self, held: Held, host: str) -> None:
        """Choose the virtual host by name, and pass the connection to its identity: now, or when there is room."""
        self.unwatch(held)
        client = held.client
        names = self.names_at(client.local, client.local_port)
        client.host, client.server = host, names.find(host)
        if client.encrypted and client.server not in self.slice.tls:
            client.server = names.default  # it has the key of the address, and will answer that the name is not its own
        self.delivery.deliver(held, self.slice.own[client.server], time.monotonic())

    def names_at(self, local: str, port: int) -> NameTable:
        """The virtual hosts at an address."""
        names = self.names.get((local, port))
        if names is None:
            names = self.slice.index.names(local, port)
            if len(self.names) < MAX_PENDING:
                self.names[local, port] = names
        return names

    def unwatch(self, held: Held) -> None:
        """The head is complete: stop waiting for more of it."""
        if held.client.progress:
            descriptor = held.sock.fileno()
            del self.pending[descriptor]
            # A descriptor that was passed on stays in epoll until it is unregistered, even after it
            # is closed here.
            self.forget(descriptor)
            held.sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 1)

    def overloaded(self, held: Held, identity: int) -> None:
        """Answer 503."""
        who = "front proxies" if identity == FRONTS else f"server {held.client.server}"
        self.complain(identity, f"{who}: the processes for it don't keep up; answered 503")
        self.close(held, overloaded(held.client))

    # Connections that end here

    def expire(self, now: float) -> None:
        """End connections whose head takes too long (RequestReadTimeout header=), or whose owner's processes do."""
        self.delivery.expire(now)
        for held in list(self.pending.values()):
            client = held.client
            stage = self.read_timeout.handshake if client.encrypted else self.read_timeout.header
            deadline = stage.deadline(client.since, client.seen)
            if now < min(deadline, client.progress + self.timeout):
                continue
            if client.seen:
                who = f"{client.address}:{client.port}"
                what = "handshake" if client.encrypted else "header"
                self.log.log(Level.INFO, "reqtimeout", TOO_LONG.format(what), who)
            self.close(held, TOO_SLOW if client.seen and not client.encrypted else b"")

    def close(self, held: Held, answer: bytes = b"") -> None:
        """Give up a client, with a response if there is one."""
        held.step(Event.CLOSED)
        self.let_go(held, answer)

    def let_go(self, held: Held, answer: bytes) -> None:
        """Close a connection. Its bytes are read first: otherwise the client would see a reset, and no response."""
        with contextlib.suppress(OSError):
            if answer:
                held.sock.send(answer, MSG_DONTWAIT)
            for _ in range(DROPS):
                if len(held.sock.recv(PEEK_SIZE, MSG_DONTWAIT)) < PEEK_SIZE:
                    break
        descriptor = held.sock.fileno()
        if self.pending.pop(descriptor, None) is not None:
            self.forget(descriptor)
        held.sock.close()


def unmapped(address: str) -> str:
    """An IPv4 client of a dual-stack listener, as IPv4."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address
