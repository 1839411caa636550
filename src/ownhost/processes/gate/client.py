"""A gate's client: where it stands, and what comes next. Pure: no socket, no loop, and the time is given.

A gate looks at what a client says first, and leaves it where it is. It needs no more than a name: Host, or the server
name of a ClientHello.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, auto
from typing import NamedTuple

from ownhost.http.peek import Peek, peek
from ownhost.http.tls import INTERNAL_ERROR
from ownhost.processes.gate import client_hello, proxy_protocol
from ownhost.processes.gate.client_hello import ClientHello
from ownhost.processes.gate.proxy_protocol import Announced, NoHeader
from ownhost.processes.states import follow

PEEK_SIZE = 32_768  # bytes of a head that a gate looks at

NO_TLS = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"  # for a ClientHello
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
OVERLOADED = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 32\r\n\r\nThis site is busy. Try it later.\n"[:-1]
)


class State(IntEnum):
    """Where a client stands."""

    ANNOUNCED = auto()  # accepted from a front proxy that is to say first who its client is
    NEW = auto()  # accepted
    SPEAKING = auto()  # its head, or its ClientHello, is not complete
    QUEUED = auto()  # it is known whose it is: it waits for a mailbox, or for room in one
    GONE = auto()  # a worker has it, or it is closed


class Event(IntEnum):
    """What happens to a client."""

    MET = auto()  # the proxy has said who its client is
    MORE = auto()  # there is to be more of its head
    NAMED = auto()  # it has said whom it is for
    FULL = auto()  # its mailbox is not here, or takes nothing for now
    TAKEN = auto()  # its mailbox has it
    CLOSED = auto()  # it has left, or is given up


# state, event -> next state, and what is done
TABLE: dict[tuple[State, Event], tuple[State, str]] = {
    (State.ANNOUNCED, Event.MORE): (State.ANNOUNCED, "watch"),
    (State.ANNOUNCED, Event.MET): (State.NEW, "meet"),
    (State.ANNOUNCED, Event.CLOSED): (State.GONE, "close"),
    (State.NEW, Event.MORE): (State.SPEAKING, "watch"),
    (State.NEW, Event.NAMED): (State.QUEUED, "deliver"),
    (State.NEW, Event.CLOSED): (State.GONE, "close"),
    (State.SPEAKING, Event.MORE): (State.SPEAKING, "watch"),
    (State.SPEAKING, Event.NAMED): (State.QUEUED, "deliver"),
    (State.SPEAKING, Event.CLOSED): (State.GONE, "close"),
    (State.QUEUED, Event.FULL): (State.QUEUED, "wait"),
    (State.QUEUED, Event.TAKEN): (State.GONE, "close"),
    (State.QUEUED, Event.CLOSED): (State.GONE, "close"),
}


@dataclass(slots=True, eq=False)
class Client:
    """A connection that a gate has accepted, as far as it decides anything."""

    address: str
    port: int
    local: str
    local_port: int
    since: float  # monotonic seconds: when it came, then since when it waits for its mailbox
    encrypted: bool = False  # it is to speak TLS
    state: State = State.NEW
    progress: float = 0.0  # when its last bytes came, while its head is not complete
    seen: int = 0  # bytes looked at so far
    host: str = ""
    server: int = 0
    proxy: bool = False  # it is a listed front proxy
    peer: str = ""  # the front proxy that the connection is from, where that has said who its client is
    peer_port: int = 0

    def meet(self, announced: Announced) -> None:
        """Be the client that a front proxy has announced, and have said nothing yet."""
        self.peer, self.peer_port, self.seen = self.address, self.port, 0
        if announced.client:
            self.address, self.port = announced.client, announced.client_port

    def step(self, event: Event) -> str:
        """Be in the next state; what is to be done. Raises Unexpected."""
        self.state, what = follow(TABLE, self, event)
        return what


class Look(NamedTuple):
    """What a client's first bytes say: an event, and what goes with it."""

    event: Event
    host: str = ""  # of NAMED
    answer: bytes = b""  # of CLOSED: what the client is told
    seen: int = 0  # of MORE: bytes that are here
    announced: Announced | None = None  # of MET
    problem: str = ""  # of CLOSED: what a front proxy did wrong


def look(client: Client, data: bytes | None) -> Look:
    """Look at all that a client has said so far; None where that is nothing, b"" where it has left.

    An end of the stream shows as no progress: nothing more will come.
    """
    if data is None:
        return Look(Event.MORE, seen=0)
    if client.state is State.ANNOUNCED:
        return _look_at_announcement(client, data)
    cut = len(data) >= PEEK_SIZE
    found: Peek | ClientHello
    if client.encrypted:  # what is no TLS gets no name
        found = client_hello.look(data, cut=cut or not client_hello.is_tls(data))
    else:
        found = peek(data, cut=cut)
    if found.complete:
        return Look(Event.NAMED, found.host)
    if not data or (client.seen and len(data) <= client.seen):
        return _cut_off(client, data)
    if not client.encrypted and client_hello.is_tls(data):
        return Look(Event.CLOSED, answer=NO_TLS)
    return Look(Event.MORE, seen=len(data))


def _look_at_announcement(client: Client, data: bytes) -> Look:
    """What a front proxy says of its client, before anything of the client's."""
    try:
        announced = proxy_protocol.read(data)
    except NoHeader as error:
        return Look(Event.CLOSED, problem=f"its connection does not begin with the PROXY protocol: {error}")
    if announced is not None:
        return Look(Event.MET, announced=announced)
    if not data or (client.seen and len(data) <= client.seen):
        return Look(Event.CLOSED)
    return Look(Event.MORE, seen=len(data))


def _cut_off(client: Client, data: bytes) -> Look:
    """A client has ended its stream within a head. Where it said a line of one, a worker tells it so."""
    if client.encrypted or b"\n" not in data.lstrip(b"\r\n"):
        return Look(Event.CLOSED)
    return Look(Event.NAMED, peek(data, cut=True).host)


def overloaded(client: Client) -> bytes:
    """What a client is told whose owner's processes don't keep up."""
    return INTERNAL_ERROR if client.encrypted else OVERLOADED


def broken(client: Client) -> bytes:
    """What a client is told where the gate has a bug."""
    return INTERNAL_ERROR if client.encrypted else BROKEN
