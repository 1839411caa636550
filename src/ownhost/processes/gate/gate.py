"""A gate.

NAME        accepts connections and passes each to the identity that it is for
TRUSTS      the supervisor; no byte of a client. It hears nothing of workers
RUNS AS     a uid of its own, no capabilities, undumpable, under an allow-list of system calls
TALKS TO    clients (it looks at what they sent, and leaves it there for the worker), the supervisor (to ask for a
            mailbox); it puts connections into mailboxes
ENDS WHEN   its channel ends, or it was told to stop and nothing waits any more

A bare epoll loop over descriptors: a gate does so little per connection that an event-loop library would cost more
than all of it.
"""

from __future__ import annotations

import contextlib
import gc
import select
import time
from collections import deque
from collections.abc import Callable
from resource import RLIMIT_NOFILE, getrlimit
from select import EPOLLEXCLUSIVE, EPOLLIN, EPOLLRDHUP
from socket import MSG_DONTWAIT, MSG_PEEK, SO_RCVLOWAT, SOCK_STREAM, SOL_SOCKET, SocketType

from ownhost.http.limits import TIMEOUT
from ownhost.identity import landlock, seccomp
from ownhost.modules.reqtimeout import REQUEST_READ_TIMEOUT, TOO_LONG
from ownhost.processes.gate.client import PEEK_SIZE, TOO_SLOW, Client, Event, broken, look, overloaded
from ownhost.processes.gate.delivery import Delivery, Held
from ownhost.processes.logwriter import LogWriter
from ownhost.processes.messages import Channel, Mailbox, Message, Ready, Shut, Stop, Want
from ownhost.processes.pulse import OWN
from ownhost.processes.slices import GateSlice, receive_slice
from ownhost.request import bugs
from ownhost.request.errorlog import ErrorLog
from ownhost.request.hosts import NameTable
from ownhost.request.request import Level

STREAM = int(SOCK_STREAM)
LOOK = int(MSG_PEEK | MSG_DONTWAIT)
DROPS = 8  # of so many bytes that are read of a client who is given up
ACCEPT_BATCH = 32  # connections taken per turn, so that other descriptors get theirs
MAX_PENDING = 8_192  # connections whose head is not complete
SAY_AGAIN = 0.01  # seconds until a full channel is tried again
LOOK_AGAIN = 0.25  # seconds between two looks at who has waited for too long: there may be thousands, in each turn


def main(channel: Channel) -> None:
    """Run a gate: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    gate = Gate(channel, slice_, descriptors)
    gc.collect()
    gc.freeze()
    landlock.restrict(landlock.NOTHING)
    seccomp.install(seccomp.GATE)
    gate.run()


def rehearse() -> None:
    """Have in the forkserver what every gate needs."""
    seccomp.compiled(seccomp.GATE)


class Gate:
    """The loop, and what it knows."""

    def __init__(self, channel: Channel, slice_: GateSlice, descriptors: list[int]) -> None:
        self.channel = channel
        self.slice = slice_
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[int], None]] = {}
        self.names: dict[tuple[str, int], NameTable] = {}
        quarter = getrlimit(RLIMIT_NOFILE)[0] // 4  # half of what may be open is for who is in flight
        self.max_pending = min(MAX_PENDING, quarter)
        self.delivery = Delivery(self.epoll, slice_.handover, quarter, lambda one: self.say(Want(one)), self.overloaded)
        self.unsaid: deque[Message] = deque()  # what the channel has no room for yet
        self.pending: dict[int, Held] = {}  # descriptor -> connection with an incomplete head, oldest first
        self.read_timeout = self.slice.main.settings[REQUEST_READ_TIMEOUT]
        self.timeout = self.slice.main.settings[TIMEOUT]
        self.turn_end: list[Callable[[], None]] = []
        *listeners, log = descriptors
        self.log = ErrorLog(self.slice.main, LogWriter(log, self.turn_end.append, to_logger=True).write, shared=True)
        self.listeners = [SocketType(-1, -1, -1, descriptor) for descriptor in listeners]
        self.batch = 1  # connections to accept per turn: more while there are more, as finding none costs, too
        self.next_look = 0.0  # monotonic seconds
        self.stopping = False
        self.complained: dict[int, float] = {}  # identity -> when its overload was last logged

    def run(self) -> None:
        """Serve until told to stop."""
        channel = self.channel.fileno()
        self.channel.sock.setblocking(False)
        self.epoll.register(channel, EPOLLIN)
        self.handlers[channel] = self.take_message
        for listener, address in zip(self.listeners, self.slice.listeners, strict=True):
            listener.setblocking(False)
            self.handlers[listener.fileno()] = self._acceptor(listener, address.host, address.port)
            self.epoll.register(listener.fileno(), EPOLLIN | EPOLLEXCLUSIVE)
        self.channel.send(Ready())
        pulse = OWN.pulse
        while not (self.stopping and not self.holds_clients):
            pulse.busy_since = 0.0
            ready = self.epoll.poll(self.patience)
            pulse.busy_since = time.monotonic()
            for descriptor, events in ready:
                # A handler earlier in this turn may have closed what this event was for.
                handler = self.handlers.get(descriptor)
                if handler is not None:
                    handler(events)
            if self.holds_clients and (now := time.monotonic()) >= self.next_look:
                self.next_look = now + LOOK_AGAIN
                self.expire(now)
            while self.unsaid and self.said(self.unsaid[0]):
                self.unsaid.popleft()
            self.end_turn()

    def end_turn(self) -> None:
        """Do what waits for the end of a turn."""
        while self.turn_end:
            self.turn_end.pop()()

    @property
    def patience(self) -> float:
        """Seconds to wait for something to happen; -1 is for ever."""
        return SAY_AGAIN if self.unsaid else 1.0 if self.holds_clients else -1

    def say(self, message: Message) -> None:
        """Tell the supervisor something, in order: a burst of new names may be more than the channel takes at once."""
        if self.unsaid or not self.said(message):
            self.unsaid.append(message)

    def said(self, message: Message) -> bool:
        """Send a message, if there is room."""
        try:
            self.channel.send(message)
        except BlockingIOError:
            return False
        return True

    @property
    def holds_clients(self) -> bool:
        """Whether there are connections here that are not passed on yet."""
        return bool(self.pending or self.delivery.waiting)

    # Messages of the supervisor

    def take_message(self, _events: int) -> None:
        """Take one message; the end of the channel is the end of the gate."""
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
                self.stop()

    def stop(self) -> None:
        """Accept nothing more; what is already here is still passed on."""
        self.stopping = True
        for listener in self.listeners:
            self.forget(listener.fileno())
            listener.close()
        self.listeners = []

    def open_mailbox(self, identity: int, descriptor: int) -> None:
        """The mailbox that was asked for is here."""
        box = SocketType(-1, -1, -1, descriptor)
        if self.delivery.open(identity, box):
            self.handlers[descriptor] = lambda events: self.delivery.attend(identity, events)

    # Connections

    def _acceptor(self, listener: SocketType, local: str, local_port: int) -> Callable[[int], None]:
        family = int(listener.family)
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
                self.look(Held(sock, client))
            self.batch = min(2 * self.batch, ACCEPT_BATCH)

        return accept

    def accept_failed(self, error: OSError) -> None:
        """No descriptor, no memory: log it, and give those that we have a moment to be used up."""
        self.complain(-1, f"accept failed: {error.strerror}; clients wait until there is room again")
        time.sleep(0.01)

    def look(self, held: Held) -> None:
        """See whether a client has said whom it is for. What is raised ends this client alone."""
        client = held.client
        try:
            data: bytes | None
            try:
                data = held.sock.recv(PEEK_SIZE, LOOK)
            except BlockingIOError:
                data = None
            except OSError:
                self.close(held)
                return
            if not client.seen:
                client.encrypted = self.speaks_tls(client.local, client.local_port)
            found = look(client, data)
            what = client.step(found.event)
            if what == "watch":
                self.wait_for_more(held, found.seen)
            elif what == "deliver":
                self.deliver(held, found.host)
            else:
                self.let_go(held, found.answer)
        except Exception as error:
            bugs.report(self.log.log, error)
            self.let_go(held, broken(client))

    def speaks_tls(self, local: str, port: int) -> bool:
        """Whether what comes to an address is encrypted."""
        return bool(self.slice.tls) and self.names_at(local, port).default in self.slice.tls

    def wait_for_more(self, held: Held, seen: int) -> None:
        """Sleep until more bytes are here than have been seen: without the low-water mark, epoll would spin."""
        descriptor = held.sock.fileno()
        held.client.seen = seen
        held.client.progress = time.monotonic()
        held.sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, seen + 1)
        if descriptor not in self.pending:
            if len(self.pending) >= self.max_pending:
                self.close(next(iter(self.pending.values())))
            self.pending[descriptor] = held
            self.handlers[descriptor] = lambda _: self.look(held)
            self.epoll.register(descriptor, EPOLLIN | EPOLLRDHUP)

    def deliver(self, held: Held, host: str) -> None:
        """Choose the virtual host by name, and pass the connection on to its identity: now, or when there is room."""
        self.unwatch(held)
        client = held.client
        names = self.names_at(client.local, client.local_port)
        client.host, client.server = host, names.find(host)
        if client.encrypted and client.server not in self.slice.tls:
            client.server = names.default  # it has the key of the address, and will say that this is not its name
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
        """The head is here: wait for no more of it."""
        descriptor = held.sock.fileno()
        if self.pending.pop(descriptor, None) is not None:
            # A descriptor that was passed on stays in epoll until it is unregistered, even when closed here.
            self.forget(descriptor)
            held.sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 1)

    def overloaded(self, held: Held, identity: int) -> None:
        """Answer 503."""
        self.complain(identity, f"server {held.client.server}: its processes don't keep up; answered 503")
        self.close(held, overloaded(held.client))

    def complain(self, identity: int, message: str) -> None:
        """Log a warning, at most once a second for each identity."""
        now = time.monotonic()
        if now - self.complained.get(identity, -1.0) >= 1.0:
            self.complained[identity] = now
            self.log.log(Level.WARN, "core", message)

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
        """Give a client up, and say why if there is anything to say."""
        held.step(Event.CLOSED)
        self.let_go(held, answer)

    def let_go(self, held: Held, answer: bytes) -> None:
        """Close a connection. What was sent is read first: else the client would see a reset, and no answer."""
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

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor that is still open."""
        self.handlers.pop(descriptor, None)
        self.epoll.unregister(descriptor)


def unmapped(address: str) -> str:
    """An IPv4 client of a dual-stack listener, as IPv4."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address
