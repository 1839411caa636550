"""A gate.

NAME        accepts connections and passes each to the identity that it is for
TRUSTS      the supervisor; no byte of a client, no word of a worker
RUNS AS     a uid of its own, no capabilities, undumpable, under an allow-list of system calls
TALKS TO    clients (it looks at what they sent, and leaves it there for the worker), workers (through mailboxes),
            the supervisor (to ask for a mailbox)
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
from select import EPOLLIN, EPOLLRDHUP
from socket import MSG_DONTWAIT, MSG_PEEK, SO_RCVLOWAT, SOCK_STREAM, SOL_SOCKET, SocketType

from ownhost.http import client_hello
from ownhost.http.client_hello import ClientHello
from ownhost.http.limits import TIMEOUT
from ownhost.http.peek import Peek, peek
from ownhost.http.tls import INTERNAL_ERROR
from ownhost.identity import landlock, seccomp
from ownhost.identity.identity import Assignment
from ownhost.modules.reqtimeout import REQUEST_READ_TIMEOUT, TOO_LONG
from ownhost.processes import mailbox
from ownhost.processes.gate import returns
from ownhost.processes.gate.assignments import Assignments, Name
from ownhost.processes.gate.choosing import Chooser, TooSlow, install_alarm
from ownhost.processes.gate.delivery import EPOLLEXCLUSIVE, MAX_WAIT, MAX_WAITING, Client, Delivery
from ownhost.processes.gate.returns import unmapped
from ownhost.processes.logwriter import LogWriter
from ownhost.processes.mailbox import NotASocket, Question
from ownhost.processes.messages import (
    Channel,
    Mailbox,
    Message,
    Named,
    ProtocolError,
    Ready,
    Shut,
    Stop,
    Want,
    close_at_once,
)
from ownhost.processes.pulse import OWN
from ownhost.processes.slices import GateSlice, receive_slice
from ownhost.request import bugs
from ownhost.request.errorlog import ErrorLog
from ownhost.request.hosts import NameTable
from ownhost.request.request import Endpoints, Level

STREAM = int(SOCK_STREAM)
LOOK = int(MSG_PEEK | MSG_DONTWAIT)
PEEK_SIZE = 32_768  # bytes of a head that a gate looks at
DROPS = 8  # of so many bytes that are read of a client who is given up
ACCEPT_BATCH = 32  # connections taken per turn, so that other descriptors get theirs
MAX_PENDING = 8_192  # connections whose head is not complete
SAY_AGAIN = 0.01  # seconds until a full channel is tried again
LOOK_AGAIN = 0.25  # seconds between two looks at who has waited for too long: there may be thousands, in each turn

OVERLOADED = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 32\r\n\r\nThis site is busy. Try it later.\n"[:-1]
)
NO_TLS = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"  # for a ClientHello
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def main(channel: Channel) -> None:
    """Run a gate: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    gate = Gate(channel, slice_, descriptors)
    install_alarm()
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
        self.handlers: dict[int, Callable[[], None]] = {}
        self.names: dict[tuple[str, int], NameTable] = {}
        self.delivery = Delivery(slice_.secret, self.epoll, lambda number: self.say(Want(number)), self.overloaded)
        self.choosers = {id_: Chooser(view) for id_, view in slice_.views.items()}
        self.assignments = Assignments(slice_, self.say)
        self.unsaid: deque[Message] = deque()  # what the channel has no room for yet
        self.unnamed: dict[Name, deque[Client]] = {}  # whom the supervisor is asked about -> who waits for it
        self.pending: dict[int, Client] = {}  # descriptor -> connection with an incomplete head, oldest first
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
            events = self.epoll.poll(self.patience)
            pulse.busy_since = time.monotonic()
            for descriptor, _ in events:
                # A handler earlier in this turn may have closed what this event was for.
                handler = self.handlers.get(descriptor)
                if handler is not None:
                    handler()
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
        return bool(self.pending or self.delivery.waiting or self.unnamed)

    # Messages of the supervisor

    def take_message(self) -> None:
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
                self.shut_mailbox(message.identity)
            case Named():
                self.take_name(message)
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
            self.handlers[descriptor] = lambda: self.attend(identity, box)

    def shut_mailbox(self, identity: int) -> None:
        """Nobody reads a mailbox any more: the next connection asks for it."""
        if (descriptor := self.delivery.shut(identity)) is not None:
            del self.handlers[descriptor]

    def attend(self, identity: int, box: SocketType) -> None:
        """Something is in a mailbox for us, or there is room in it again."""
        self.delivery.deliver_waiting(identity)
        self.take_return(identity, box)

    # Connections

    def _acceptor(self, listener: SocketType, local: str, local_port: int) -> Callable[[], None]:
        family = int(listener.family)
        fixed = bool(local) and local not in ("::", "0.0.0.0")  # noqa: S104 - compared, not bound

        def accept() -> None:
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
                client = Client(sock, unmapped(address[0]), address[1], here, local_port, time.monotonic())
                self.look(client)
            self.batch = min(2 * self.batch, ACCEPT_BATCH)

        return accept

    def accept_failed(self, error: OSError) -> None:
        """No descriptor, no memory: log it, and give those that we have a moment to be used up."""
        self.complain(-1, f"accept failed: {error.strerror}; clients wait until there is room again")
        time.sleep(0.01)

    def look(self, client: Client) -> None:
        """See whether the head is complete; if so, pass the connection on. What is raised ends this client alone."""
        try:
            self.pass_on(client)
        except Exception as error:
            bugs.report(self.log.log, error)
            self.answer_and_drop(client, INTERNAL_ERROR if client.encrypted else BROKEN)

    def pass_on(self, client: Client) -> None:
        """Look at the head, and go by what it says."""
        data = client.data
        if data:
            found: Peek | ClientHello = peek(data, cut=True)
        else:
            try:
                data = client.sock.recv(PEEK_SIZE, LOOK)
            except BlockingIOError:
                client.encrypted = self.is_to_speak_tls(client)
                self.wait_for_more(client, 0)
                return
            except OSError:
                self.drop(client)
                return
            found = self.glance(client, data)
            if not found.complete:
                # An end of the stream shows as no progress: nothing more will come.
                if not data or (client.seen and len(data) <= client.seen):
                    self.cut_off(client, data)
                elif not client.encrypted and client_hello.is_tls(data):
                    self.answer_and_drop(client, NO_TLS)
                else:
                    self.wait_for_more(client, len(data))
                return
        client.host = found.host
        self.route(client, data)

    def cut_off(self, client: Client, data: bytes) -> None:
        """A client has ended its stream within a head. Where it said a line of one, it is told so."""
        if client.encrypted or b"\n" not in data.lstrip(b"\r\n"):
            self.drop(client)
        else:
            client.host = peek(data, cut=True).host
            self.route(client, data)

    def glance(self, client: Client, data: bytes) -> Peek | ClientHello:
        """What the first bytes say of whom they are for. What is no TLS where it should be gets no name."""
        cut = len(data) >= PEEK_SIZE
        client.encrypted = self.is_to_speak_tls(client)
        if not client.encrypted:
            return peek(data, cut=cut)
        return client_hello.look(data, cut=cut or not client_hello.is_tls(data))

    def is_to_speak_tls(self, client: Client) -> bool:
        """Whether a client's stream is encrypted, and not by another worker already."""
        return not client.origin and self.speaks_tls(client.local, client.local_port)

    def speaks_tls(self, local: str, port: int) -> bool:
        """Whether what comes to an address is encrypted."""
        return bool(self.slice.tls) and self.names_at(local, port).default in self.slice.tls

    def wait_for_more(self, client: Client, seen: int) -> None:
        """Sleep until more bytes are here than have been seen: without the low-water mark, epoll would spin."""
        descriptor = client.sock.fileno()
        client.seen = seen
        client.progress = time.monotonic()
        client.sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, seen + 1)
        if descriptor not in self.pending:
            if len(self.pending) >= MAX_PENDING:
                self.drop(next(iter(self.pending.values())))
            self.pending[descriptor] = client
            self.handlers[descriptor] = lambda: self.look(client)
            self.epoll.register(descriptor, EPOLLIN | EPOLLRDHUP)

    def route(self, client: Client, data: bytes, whose: Assignment | None = None) -> None:
        """Choose virtual host and identity, and deliver. `data` has the head, `whose` is what a worker thinks."""
        names = self.names_at(client.local, client.local_port)
        server = names.find(client.host)
        if client.encrypted and server not in self.slice.tls:
            server = names.default  # it has the key of the address, and will say that this is not its name
        client.server = server
        chooser = None if client.encrypted else self.choosers.get(server)
        if chooser is not None:
            whose = whose or self.choose(chooser, client, data)
            if whose is not None:
                self.deliver_to(client, whose)
                return
        client.refusal = self.slice.refused.get(server, "")
        self.deliver(client, self.slice.own[server])

    def names_at(self, local: str, port: int) -> NameTable:
        """The virtual hosts at an address."""
        names = self.names.get((local, port))
        if names is None:
            names = self.slice.index.names(local, port)
            if len(self.names) < MAX_PENDING:
                self.names[local, port] = names
        return names

    def choose(self, chooser: Chooser, client: Client, data: bytes) -> Assignment | None:
        """Whose a request is, where the virtual host lets it choose. None: its own worker will tell."""
        try:
            ends = (client.address, client.port, client.local, client.local_port)
            return chooser.choose(data, Endpoints(*ends, secure=bool(client.origin)))
        except TooSlow:
            why = "choosing an identity takes long; from now on its own workers do it"
            self.log.log(Level.WARN, "core", f"server {client.server}: {why}")
        except Exception as error:
            chooser.too_slow = True
            bugs.report(self.log.log, error, f"choosing an identity for server {client.server}")
        return None

    def deliver_to(self, client: Client, whose: Assignment) -> None:
        """Pass a connection on to whoever an assignment means; ask the supervisor who that is, if need be."""
        name = (client.server, whose)
        match self.assignments.look_up(name):
            case int(identity):
                self.deliver(client, identity)
            case str(reason):
                self.refuse(client, reason)
            case _:
                self.wait_for_name(client, name)

    def wait_for_name(self, client: Client, name: Name) -> None:
        """Queue a connection until the supervisor has said who that is."""
        self.unwatch(client)
        if name not in self.unnamed:
            self.unnamed[name] = deque()
            self.assignments.ask(name)
        queue = self.unnamed[name]
        client.since = time.monotonic()
        queue.append(client)
        if len(queue) > MAX_WAITING:
            self.overloaded(queue.popleft(), self.slice.own[client.server])

    def take_name(self, answer: Named) -> None:
        """The supervisor says who somebody is: those who wait for that go on."""
        for client in self.unnamed.pop(self.assignments.take(answer), ()):
            if answer.identity >= 0:
                self.deliver(client, answer.identity)
            else:
                self.refuse(client, answer.reason)

    def refuse(self, client: Client, reason: str) -> None:
        """Have the virtual host's own worker answer 500 and log why."""
        client.refusal = reason
        self.deliver(client, self.slice.own[client.server])

    def deliver(self, client: Client, identity: int) -> None:
        """Pass a connection on, now or as soon as there is room for it."""
        self.unwatch(client)
        self.delivery.deliver(client, identity)

    def unwatch(self, client: Client) -> None:
        """The head is here: wait for no more of it."""
        descriptor = client.sock.fileno()
        if descriptor in self.pending:
            # A descriptor that was passed on stays in epoll until it is unregistered, even when closed here.
            self.forget(descriptor)
            del self.pending[descriptor]
            client.sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 1)

    def overloaded(self, client: Client, identity: int, why: str = "") -> None:
        """Answer 503."""
        self.complain(identity, f"server {client.server}: its processes don't keep up{why}; answered 503")
        self.answer_and_drop(client, INTERNAL_ERROR if client.encrypted else OVERLOADED)

    def answer_and_drop(self, client: Client, answer: bytes) -> None:
        """Say why, and close."""
        with contextlib.suppress(OSError):
            client.sock.send(answer, MSG_DONTWAIT)
        self.drop(client)

    def complain(self, identity: int, message: str) -> None:
        """Log a warning, at most once a second for each identity."""
        now = time.monotonic()
        if now - self.complained.get(identity, -1.0) >= 1.0:
            self.complained[identity] = now
            self.log.log(Level.WARN, "core", message)

    # What workers give back

    def take_return(self, identity: int, box: SocketType) -> None:
        """Take one connection back from an identity's workers, and pass it to where it belongs."""
        if identity in self.delivery.deaf_to:
            return
        try:
            received = mailbox.receive_return(box)
        except BlockingIOError:
            return
        except NotASocket as error:
            self.complain(identity, f"a worker of identity {identity} is hostile, and no longer listened to: {error}")
            self.delivery.ignore(identity)  # as each such message costs a descriptor
            return
        except ProtocolError as error:
            self.complain(identity, f"a worker of identity {identity} spoke nonsense: {error}")
            return
        if received is None:
            return
        message, descriptors = received
        if isinstance(message, Question):
            # Not by `names_at`, which remembers addresses: there are as many as a worker makes up.
            names = self.slice.index.names(message.local, message.local_port)
            mailbox.send_answer(descriptors[0], names.find(message.host))
            return
        client = returns.check(message, descriptors, self.slice, identity, self.speaks_tls)
        if client is None:
            self.complain(identity, f"a worker of identity {identity} gave back something that no gate accepted")
        elif message.whose is not None:
            client.host = peek(client.data, cut=True).host
            self.route(client, client.data, message.whose)
        else:
            self.look(client)

    # Connections that end here

    def expire(self, now: float) -> None:
        """End connections whose head takes too long (RequestReadTimeout header=), or whose owner's processes do."""
        self.delivery.expire(now)
        for (server, _), unnamed in self.unnamed.items():
            while unnamed and now - unnamed[0].since > MAX_WAIT:
                self.overloaded(unnamed.popleft(), self.slice.own[server])
        for client in list(self.pending.values()):
            stage = self.read_timeout.handshake if client.encrypted else self.read_timeout.header
            deadline = stage.deadline(client.since, client.seen)
            if now < min(deadline, client.progress + self.timeout):
                continue
            if client.seen:
                who = f"{client.address}:{client.port}"
                what = "handshake" if client.encrypted else "header"
                self.log.log(Level.INFO, "reqtimeout", TOO_LONG.format(what), who)
                if not client.encrypted:
                    self.answer_and_drop(client, TOO_SLOW)
                    continue
            self.drop(client)

    def drop(self, client: Client) -> None:
        """Close a connection. What was sent is read first: else the client would see a reset, and no answer."""
        descriptor = client.sock.fileno()
        with contextlib.suppress(OSError):
            for _ in range(DROPS):
                if len(client.sock.recv(PEEK_SIZE, MSG_DONTWAIT)) < PEEK_SIZE:
                    break
        if self.pending.pop(descriptor, None) is not None:
            self.forget(descriptor)
        if client.moves:
            close_at_once(client.sock)
        else:
            client.sock.close()

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor that is still open."""
        self.handlers.pop(descriptor, None)
        self.epoll.unregister(descriptor)
