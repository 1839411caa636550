"""An HTTP/1 connection in a worker: its state, and what comes next. Pure: no socket, no loop, the time is a parameter.

What happens is an event. The table says what is done then. `connection` does it, and returns the
next event, until it must wait. The functions here find the event: whether bytes are a request,
whether the time is up, what happens to a body that nothing has read.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, auto
from math import inf
from typing import Any, Protocol

from ownhost.http.head import head_end, parse_head
from ownhost.http.limits import HeadLimits
from ownhost.http.message import Head, HTTPError, Response
from ownhost.modules.reqtimeout import TOO_LONG, ReadTimeout
from ownhost.processes.worker import misdirected

LAST_MOMENT = 2.0  # seconds for a client to send a request, or to end its handshake, at a stop
DOUBT = 2.0  # seconds that a program goes on for a client that has ended its stream


class State(IntEnum):
    """The states of a connection."""

    NEW = auto()  # no byte of its first request is here
    LAST_CALL = auto()  # the same, and the worker stops
    HEAD = auto()  # a head is incomplete
    IDLE = auto()  # a request was answered; no byte of the next is here
    ANSWERING = auto()  # a request is here, or something that cannot become one: this turn finds and sends a response
    SENDING = auto()  # some of the response waits for room
    WORKING = auto()  # a task reads the request's body, or waits for a program's response
    STREAMING = auto()  # a task sends a program's output, or reads the rest of the request after its response
    RELAYED = auto()  # another identity answers
    TUNNELLED = auto()  # another protocol is spoken
    CLOSED = auto()  # its client may still get time to read the last response (`lingering`)


class Event(IntEnum):
    """The events of a connection."""

    READABLE = auto()  # the client has sent something, or has ended its stream
    WRITABLE = auto()  # there is room for more of the response
    NOTHING = auto()  # no byte of a request is here yet
    MORE = auto()  # more of a head is to come
    REQUEST = auto()  # a request is here
    REFUSED = auto()  # the bytes here are not answered as a request (`error` says why), and nothing follows
    MISDIRECTED = auto()  # the request is another owner's, and its client will repeat it by itself
    OTHER_IDENTITY = auto()  # the request is another identity's
    DEFERRED = auto()  # the response is a program's, and not here yet
    UNREAD = auto()  # the response is here, and must wait until the request's body was read
    ANSWERED = auto()  # the response is here now
    SWITCHED = auto()  # the response starts another protocol
    FULL = auto()  # the client receives no more of the response for now
    PART = auto()  # the part of the response that is here was sent; more of it comes, or of the request
    KEPT = auto()  # the response was sent, and the connection stays open
    LAST = auto()  # nothing more is sent
    GONE = auto()  # the client has left
    EXPIRED = auto()  # its time is up
    DRAIN = auto()  # the worker stops: the current request is finished, and no other begins
    SUPERSEDE = auto()  # a newer worker serves the identity: the same, without the hurry
    FAILED = auto()  # a bug, before any of a response was sent
    BROKEN = auto()  # a bug, when no response can be sent any more


# States in which the client may send something, and in which a response is sent or made.
_LISTENING = (State.NEW, State.LAST_CALL, State.HEAD, State.IDLE)
_BUSY = (State.ANSWERING, State.SENDING, State.WORKING, State.STREAMING, State.RELAYED, State.TUNNELLED)

# Needed for each request: looking up a member of an enumeration costs as much as a call.
READABLE, MORE, REQUEST, KEPT, LAST = Event.READABLE, Event.MORE, Event.REQUEST, Event.KEPT, Event.LAST

# state, event -> next state, and what is done
TABLE: dict[tuple[State, Event], tuple[State, str]] = {
    **{(state, Event.READABLE): (state, "receive") for state in _LISTENING},
    **{(state, Event.NOTHING): (state, "wait") for state in _LISTENING},
    **{(state, Event.MORE): (State.HEAD, "wait_for_rest") for state in _LISTENING},
    **{(state, Event.REQUEST): (State.ANSWERING, "answer") for state in _LISTENING},
    **{(state, Event.REFUSED): (State.ANSWERING, "refuse") for state in (*_LISTENING, State.ANSWERING)},
    **{(state, Event.GONE): (State.CLOSED, "close_at_once") for state in _LISTENING},
    (State.NEW, Event.EXPIRED): (State.CLOSED, "close_gently"),
    (State.LAST_CALL, Event.EXPIRED): (State.CLOSED, "close_gently"),
    (State.HEAD, Event.EXPIRED): (State.ANSWERING, "refuse"),
    (State.IDLE, Event.EXPIRED): (State.CLOSED, "close_gently"),
    # A response that is here
    (State.ANSWERING, Event.FULL): (State.SENDING, "wait_for_room"),
    (State.ANSWERING, Event.PART): (State.STREAMING, "stream"),
    (State.ANSWERING, Event.KEPT): (State.IDLE, "go_on"),
    (State.ANSWERING, Event.LAST): (State.CLOSED, "close_gently"),
    (State.ANSWERING, Event.MISDIRECTED): (State.CLOSED, "end_in_silence"),
    (State.ANSWERING, Event.GONE): (State.CLOSED, "break_off"),
    (State.SENDING, Event.WRITABLE): (State.SENDING, "push"),
    (State.SENDING, Event.FULL): (State.SENDING, "wait_for_room"),
    (State.SENDING, Event.PART): (State.STREAMING, "stream"),
    (State.SENDING, Event.KEPT): (State.IDLE, "listen_again"),
    (State.SENDING, Event.LAST): (State.CLOSED, "close_gently"),
    (State.SENDING, Event.GONE): (State.CLOSED, "break_off"),
    (State.SENDING, Event.EXPIRED): (State.CLOSED, "break_off"),
    # One that must be waited for
    (State.ANSWERING, Event.DEFERRED): (State.WORKING, "work"),
    (State.ANSWERING, Event.UNREAD): (State.WORKING, "read_first"),
    (State.WORKING, Event.READABLE): (State.WORKING, "look_behind"),
    (State.WORKING, Event.ANSWERED): (State.ANSWERING, "send_answer"),
    (State.WORKING, Event.SWITCHED): (State.TUNNELLED, "switch"),
    (State.WORKING, Event.GONE): (State.CLOSED, "give_up"),
    (State.STREAMING, Event.KEPT): (State.IDLE, "go_on"),
    (State.STREAMING, Event.LAST): (State.CLOSED, "close_gently"),
    (State.STREAMING, Event.GONE): (State.CLOSED, "break_off"),
    (State.TUNNELLED, Event.LAST): (State.CLOSED, "close_gently"),
    (State.TUNNELLED, Event.GONE): (State.CLOSED, "break_off"),
    # One of another identity's
    (State.ANSWERING, Event.OTHER_IDENTITY): (State.RELAYED, "pass_on"),
    (State.RELAYED, Event.NOTHING): (State.IDLE, "wait"),  # the asker knows the identity now
    (State.RELAYED, Event.ANSWERED): (State.ANSWERING, "send_answer"),
    (State.RELAYED, Event.KEPT): (State.IDLE, "go_on"),
    (State.RELAYED, Event.LAST): (State.CLOSED, "close_gently"),
    (State.RELAYED, Event.GONE): (State.CLOSED, "close_at_once"),
    # The end of the worker
    (State.NEW, Event.DRAIN): (State.LAST_CALL, "hurry"),
    (State.LAST_CALL, Event.DRAIN): (State.LAST_CALL, "be_last"),
    (State.HEAD, Event.DRAIN): (State.HEAD, "be_last"),
    (State.IDLE, Event.DRAIN): (State.CLOSED, "close_gently"),
    **{(state, Event.DRAIN): (state, "be_last") for state in _BUSY},
    (State.NEW, Event.SUPERSEDE): (State.NEW, "be_last"),
    (State.LAST_CALL, Event.SUPERSEDE): (State.LAST_CALL, "be_last"),
    (State.HEAD, Event.SUPERSEDE): (State.HEAD, "be_last"),
    (State.IDLE, Event.SUPERSEDE): (State.CLOSED, "close_gently"),
    **{(state, Event.SUPERSEDE): (state, "be_last") for state in _BUSY},
    # Bugs
    **{(state, Event.FAILED): (State.ANSWERING, "apologize") for state in _BUSY},
    **{(state, Event.BROKEN): (State.CLOSED, "close_at_once") for state in State},
}


Do = Callable[[Any], Event | None]  # returns the next event; None if it must be waited for


Steps = dict[tuple[State, Event], tuple[State, Do]]


def steps_of(doing: type) -> Steps:
    """The table, for objects with a method for each of its actions."""
    return {key: (state, getattr(doing, name)) for key, (state, name) in TABLE.items()}


class Times(Protocol):
    """How long a client is waited for (service.Service)."""

    timeout: float
    keep_alive_timeout: float
    read_timeout: ReadTimeout


class Conversation:
    """The bytes of a connection, and its state. Times are on one clock that runs evenly; 0 is never."""

    __slots__ = ("buffer", "ended_since", "error", "first_byte", "head", "last", "raw", "state", "waiting_since")

    head: Head  # of the request that is here
    raw: bytes  # the same, as it came

    def __init__(self, last: bool = False) -> None:
        self.state = State.NEW
        self.last = last  # no request follows the current one
        self.buffer = b""  # received and not used
        self.error: HTTPError | None = None  # the answer to an invalid request
        self.waiting_since = 0.0  # when the client last sent or received something
        self.first_byte = 0.0  # of an incomplete head: when it began
        self.ended_since = 0.0  # since when it is known that the client sends no more

    def __repr__(self) -> str:
        last = ", its last request" if self.last else ""
        return f"<a worker's client in {self.state.name}, {len(self.buffer)} bytes unread{last}>"

    # What has happened

    def received(self, data: bytes, limits: HeadLimits) -> Event:
        """The bytes so far, with these new ones: a request, a part of one, or an error."""
        buffer = self.buffer = self.buffer + data if self.buffer else data
        end = head_end(buffer)
        if end < 0:
            if len(buffer) <= limits.total:
                return MORE
            end = len(buffer)  # parsing says which limit it exceeds
        self.raw = buffer[:end]
        try:
            self.head = parse_head(self.raw, limits)
        except HTTPError as error:
            return self.refused(error)
        return REQUEST

    def refused(self, error: HTTPError) -> Event:
        """Note the answer to an invalid request. Nothing follows: what is after it cannot be separated."""
        self.error = error
        return Event.REFUSED

    def ended(self) -> Event:
        """The client has ended its stream. If a request has begun, even with one line, it gets an answer."""
        if b"\n" in self.buffer.lstrip(b"\r\n"):
            return self.refused(HTTPError(400, "the client ended its stream within a request's head"))
        return Event.GONE

    def misdirected(self, *, first: bool) -> Event:
        """The request is for another owner's name; `first`: a gate passed on the connection for it."""
        host = self.head.host
        match misdirected.ending(self.head.method, first=first):
            case misdirected.Ending.DISAGREEMENT:
                return self.refused(HTTPError(400, f"the gate did not read {host!r} as this request's host"))
            case misdirected.Ending.SAID:
                return self.refused(HTTPError(421, f"{host!r} is not served on this connection"))
        return Event.MISDIRECTED

    def waits_for(self, head: Head, response: Response, *, read: bool) -> Event | None:
        """What a response must wait for. `read`: the request's body was read, as far as it is wanted."""
        if response.deferred is not None:
            return Event.DEFERRED
        if read or not head.has_body:
            return None
        if head.expect_continue and not self.buffer:
            response.close = True  # the body may come or not: that is unknown (RFC 9110, 10.1.1)
        elif not response.close and (head.keep_alive or response.status < 400):
            return Event.UNREAD
        return None

    def broken(self, *, asked: bool, begun: bool) -> Event:
        """The event for a bug, depending on whether a request is here (`asked`), and whether some
        of its response was sent (`begun`).
        """
        if self.state is State.CLOSED:
            return Event.BROKEN
        if begun:
            return Event.GONE
        if asked:
            return Event.FAILED
        return self.refused(HTTPError(500)) if self.buffer else Event.GONE

    # The time

    def deadline(self, times: Times) -> float:
        """When to give up waiting for the client; never during a task, which has its own time limits.

        That is KeepAliveTimeout between requests, RequestReadTimeout within a head, and Timeout for
        each step.
        """
        match self.state:
            case State.NEW | State.HEAD:
                begun = self.first_byte or self.waiting_since
                deadline = times.read_timeout.head_deadline(begun, len(self.buffer))
                return min(deadline, self.waiting_since + times.timeout)
            case State.IDLE:
                return self.waiting_since + times.keep_alive_timeout
            case State.LAST_CALL:
                return self.waiting_since + LAST_MOMENT
            case State.SENDING:
                return self.waiting_since + times.timeout
        return inf

    def expired(self) -> Event:
        """The deadline has passed."""
        if self.state is State.HEAD:
            self.error = HTTPError(408, TOO_LONG.format("header"), module="reqtimeout")
        return Event.EXPIRED

    def doubts(self, now: float) -> bool:
        """The client has ended its stream while its response is made: whether it must have left.

        A client that has left looks like one that waits for the response (nc -N), so it gets a
        moment.
        """
        self.ended_since = self.ended_since or now
        return now - self.ended_since >= DOUBT
