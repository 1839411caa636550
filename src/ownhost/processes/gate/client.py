"""A gate's client: its state, and what comes next. Pure: no socket, no loop, and the time is a parameter.

A gate looks at a client's first bytes, and leaves them in the socket. It needs only a name: Host,
or the server name of a ClientHello.
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
    """The states of a client."""

    ANNOUNCED = auto()  # accepted from a front proxy that must first say who its client is
    NEW = auto()  # accepted
    SPEAKING = auto()  # its head, or its ClientHello, is incomplete
    QUEUED = auto()  # its identity is known: it waits for a mailbox, or for room in one
    GONE = auto()  # a worker has it, or it is closed


class Event(IntEnum):
    """The events of a client."""

    MET = auto()  # the proxy has said who its client is
    MORE = auto()  # more of its head is to come
    NAMED = auto()  # its name is known
    FULL = auto()  # its mailbox is missing or full
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
    """A connection that a gate has accepted, without the socket."""

    address: str
    port: int
    local: str
    local_port: int
    since: float  # monotonic seconds: when it came, later since when it waits for its mailbox
    encrypted: bool = False  # it is to speak TLS
    state: State = State.NEW
    progress: float = 0.0  # when its last bytes came, while its head is incomplete
    seen: int = 0  # bytes looked at so far
    host: str = ""
    server: int = 0
    proxy: bool = False  # it is a listed front proxy
    peer: str = ""  # the front proxy of the connection, if it has said who its client is
    peer_port: int = 0

    def meet(self, announced: Announced) -> None:
        """Become the client that a front proxy has announced, without any bytes yet."""
        self.peer, self.peer_port, self.seen = self.address, self.port, 0
        if announced.client:
            self.address, self.port = announced.client, announced.client_port

    def step(self, event: Event) -> str:
        """Go to the next state; returns what is to be done. Raises Unexpected."""
        self.state, what = follow(TABLE, self, event)
        return what


class Look(NamedTuple):
    """The meaning of a client's first bytes: an event, and its details."""

    event: Event
    host: str = ""  # of NAMED
    answer: bytes = b""  # of CLOSED: the response to the client
    seen: int = 0  # of MORE: bytes received
    announced: Announced | None = None  # of MET
    problem: str = ""  # of CLOSED: what the front proxy did wrong


def look(client: Client, data: bytes | None) -> Look:
    """Look at all of a client's bytes so far; None if there are none, b"" if it has left.

    The end of a stream shows as no progress: nothing more will come.
    """
    if data is None:
        return Look(Event.MORE, seen=0)
    if client.state is State.ANNOUNCED:
        return _look_at_announcement(client, data)
    cut = len(data) >= PEEK_SIZE
    found: Peek | ClientHello
    if client.encrypted:  # bytes that are not TLS get no name
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
    """The header of a front proxy, before any bytes of the client."""
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
    """A client has ended its stream within a head. If it sent a first line, a worker answers."""
    if client.encrypted or b"\n" not in data.lstrip(b"\r\n"):
        return Look(Event.CLOSED)
    return Look(Event.NAMED, peek(data, cut=True).host)


def overloaded(client: Client) -> bytes:
    """The response to a client whose owner's processes don't keep up."""
    return INTERNAL_ERROR if client.encrypted else OVERLOADED


def broken(client: Client) -> bytes:
    """The response to a client if the gate has a bug."""
    return INTERNAL_ERROR if client.encrypted else BROKEN
