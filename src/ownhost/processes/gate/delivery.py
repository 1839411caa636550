"""A gate's way out: connections into mailboxes, in order. A full mailbox never blocks it, and waiting has an end."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from select import EPOLLIN, EPOLLOUT
from socket import SocketType

from ownhost.processes import mailbox
from ownhost.processes.mailbox import Handover
from ownhost.processes.messages import close_at_once

EPOLLEXCLUSIVE = select.EPOLLEXCLUSIVE  # wakes one gate, not all
MAX_WAITING = 1_024  # connections per identity waiting for its mailbox, or for room in it
MAX_WAIT = 10.0  # seconds that one waits before it is answered 503
ASK_AGAIN = 1.0  # seconds between two looks for mailboxes that have not come


@dataclass(slots=True, eq=False)
class Client:
    """A connection that a gate holds: accepted, or returned by a worker."""

    sock: SocketType
    address: str
    port: int
    local: str
    local_port: int
    since: float  # monotonic seconds
    progress: float = 0.0  # when its last bytes came, while its head is not complete
    moves: int = 0
    data: bytes = b""  # read by a worker before it gave the connection back
    ticket: bytes = b""
    seen: int = 0  # bytes peeked at so far
    host: str = ""
    server: int = 0
    refusal: str = ""  # why nobody may serve its request
    encrypted: bool = False  # it is to speak TLS, and nobody has answered it yet
    origin: str = ""  # of a relayed connection (mailbox.Origin, as text)


class Delivery:
    """The mailboxes that are here, and who waits for one, or for room in it.

    `want` asks the supervisor for an identity's mailbox, `overloaded` answers a client that cannot be passed on.
    """

    def __init__(
        self,
        secret: bytes,
        epoll: select.epoll,
        want: Callable[[int], None],
        overloaded: Callable[[Client, int, str], None],
    ) -> None:
        self.secret = secret
        self.epoll = epoll
        self.want = want
        self.overloaded = overloaded
        self.mailboxes: dict[int, SocketType] = {}
        self.waiting: dict[int, deque[Client]] = {}  # identity -> connections for a mailbox not yet here, or full
        self.asks_again = 0.0  # monotonic seconds
        self.deaf_to: set[int] = set()  # identities whose workers are not listened to any more

    def deliver(self, client: Client, identity: int) -> None:
        """Put a connection into an identity's mailbox, or ask for that mailbox first."""
        if identity not in self.mailboxes or identity in self.waiting or not self.put(client, identity):
            self.wait(client, identity)

    def open(self, identity: int, box: SocketType) -> bool:
        """The mailbox that was asked for is here; it may be full of what other gates put into it.

        Whether it is of use: one that was asked for twice is closed.
        """
        if identity in self.mailboxes:
            box.close()
            return False
        self.mailboxes[identity] = box
        self.epoll.register(box.fileno(), self.events(identity))
        self.deliver_waiting(identity)
        return True

    def shut(self, identity: int) -> int | None:
        """Forget a mailbox; who waits for room in it waits for it to be there again. Its descriptor, if it was here."""
        box = self.mailboxes.pop(identity, None)
        if box is None:
            return None
        descriptor = box.fileno()
        self.epoll.unregister(descriptor)
        box.close()
        if identity in self.waiting:
            self.want(identity)
        return descriptor

    def deliver_waiting(self, identity: int) -> None:
        """Put the connections that wait into their mailbox, oldest first, as far as there is room."""
        queue = self.waiting.get(identity)
        while queue:
            if not self.put(queue[0], identity):
                return
            queue.popleft()
        if self.waiting.pop(identity, None) is not None:
            self.watch(identity)

    def events(self, identity: int) -> int:
        """What matters of a mailbox: room where somebody waits for that, what its workers say if they are heard."""
        for_room = EPOLLOUT if identity in self.waiting else EPOLLEXCLUSIVE
        return for_room | (0 if identity in self.deaf_to else EPOLLIN)

    def watch(self, identity: int) -> None:
        """Watch a mailbox anew, as what is watched exclusively cannot be changed."""
        descriptor = self.mailboxes[identity].fileno()
        self.epoll.unregister(descriptor)
        self.epoll.register(descriptor, self.events(identity))

    def ignore(self, identity: int) -> None:
        """Listen to an identity's workers no more; connections still go to them."""
        self.deaf_to.add(identity)
        self.watch(identity)

    def put(self, client: Client, identity: int) -> bool:
        """Put a connection into its mailbox. False where that is full."""
        ticket = client.ticket or mailbox.make_ticket(client.sock, self.secret, client.origin)
        handover = Handover(
            client.server,
            client.moves,
            client.address,
            client.port,
            client.local,
            client.local_port,
            client.host,
            ticket,
            client.data,
            client.refusal,
            client.encrypted,
            client.origin,
        )
        try:
            mailbox.send_handover(self.mailboxes[identity], client.sock.fileno(), handover)
        except BlockingIOError:
            return False
        except OSError as error:
            self.overloaded(client, identity, f" ({error.strerror})")
            return True
        if client.moves:
            close_at_once(client.sock)
        else:
            client.sock.close()
        return True

    def wait(self, client: Client, identity: int) -> None:
        """Queue a connection until its mailbox is here, or takes it: a full one must never block a gate."""
        queue = self.waiting.get(identity)
        if queue is None:
            queue = self.waiting[identity] = deque()
            box = self.mailboxes.get(identity)
            if box is None:
                self.want(identity)
            else:
                self.watch(identity)
        if len(queue) >= MAX_WAITING:
            self.overloaded(client, identity, "")
        else:
            client.since = time.monotonic()
            queue.append(client)

    def expire(self, now: float) -> None:
        """End connections that have waited too long: their owner's processes don't take them.

        A mailbox that is not here yet is asked for again: the supervisor may have been short of descriptors.
        """
        again = now >= self.asks_again
        if again:
            self.asks_again = now + ASK_AGAIN
        for identity, queue in list(self.waiting.items()):
            while queue and now - queue[0].since > MAX_WAIT:
                self.overloaded(queue.popleft(), identity, "")
            if identity in self.mailboxes:
                if not queue:
                    self.deliver_waiting(identity)
            elif not queue:
                del self.waiting[identity]
            elif again and now - queue[0].since >= ASK_AGAIN:
                self.want(identity)
