"""One stream of an HTTP/2 connection: its state, and what comes next. Pure: the time is a parameter.

An unwanted body is received and dropped before the response is sent, as in Apache: some clients
(curl 7.88) that get the whole response while they send stop sending, and wait for ever. An error
does not wait, and clients handle that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, auto
from math import inf
from typing import Any, Protocol

from ownhost.http.h2_frames import HEAD_SIZE
from ownhost.http.message import Head
from ownhost.modules.mod_http2 import StreamLimits
from ownhost.modules.reqtimeout import ReadTimeout
from ownhost.processes.worker.lingering import IN_ALL, SILENCE


class State(IntEnum):
    """The states of a stream."""

    NEW = auto()  # a request's head is here
    HELD = auto()  # its response waits until all of the body is here
    RUNNING = auto()  # a program is to make its response
    FOUND = auto()  # its response is about to be sent
    REFUSED = auto()  # an error is to be sent instead
    STREAMING = auto()  # the response's head was sent; a program still writes the body
    SENDING = auto()  # all of the response is here
    ANSWERED = auto()  # the response was sent; the request is incomplete
    ABANDONED = auto()  # the response is not wanted any more; its program has not ended
    CLOSED = auto()


class Event(IntEnum):
    """The events of a stream."""

    FOUND = auto()  # the response is known
    EARLY = auto()  # the response is known, before all of an unwanted body is here
    PROGRAM = auto()  # a program makes the response
    DATA = auto()  # some of the body is here
    EXCESS = auto()  # more of it than is allowed
    COMPLETE = auto()  # all of the request is here
    STREAM = auto()  # the response's head is sent; a program writes the body
    SEND = auto()  # the response's head is sent; its body is here
    SAID = auto()  # the program's output has ended
    SENT = auto()  # all of the response was sent
    SENT_EARLY = auto()  # it was, and the request is incomplete
    RESET = auto()  # the client has reset the stream, left, broken a rule, or taken too long
    FAILED = auto()  # the response cannot be completed
    BROKE = auto()  # an unexpected exception
    ENDED = auto()  # the program has ended


_ANSWERS = (Event.STREAM, Event.SEND, Event.SENT, Event.SENT_EARLY, Event.SAID)
_TO_SEND = (State.FOUND, State.REFUSED, State.RUNNING)
_UNSAID = (State.NEW, State.HELD, State.FOUND, State.RUNNING)
_BEGUN = (State.REFUSED, State.STREAMING, State.SENDING)
_ALONE = (State.NEW, State.HELD, State.FOUND, State.REFUSED, State.SENDING)  # without a program at work
_OVER = (State.ANSWERED, State.CLOSED)

# state, event -> next state, and what is done (by `h2_answering`; "drop", "fail" and "reset" by `h2_conversation`)
TABLE: dict[tuple[State, Event], tuple[State, str]] = {
    (State.NEW, Event.FOUND): (State.FOUND, "send"),
    (State.NEW, Event.EARLY): (State.HELD, ""),
    (State.NEW, Event.PROGRAM): (State.RUNNING, "run"),
    (State.HELD, Event.DATA): (State.HELD, "drop"),
    (State.HELD, Event.COMPLETE): (State.FOUND, "send"),
    (State.HELD, Event.EXCESS): (State.REFUSED, "refuse"),
    (State.FOUND, Event.STREAM): (State.STREAMING, "pour"),
    (State.REFUSED, Event.COMPLETE): (State.REFUSED, ""),
    (State.RUNNING, Event.DATA): (State.RUNNING, "deliver"),
    (State.RUNNING, Event.COMPLETE): (State.RUNNING, "wake"),
    (State.RUNNING, Event.STREAM): (State.STREAMING, ""),
    (State.RUNNING, Event.RESET): (State.ABANDONED, "cancel"),
    (State.STREAMING, Event.DATA): (State.STREAMING, "deliver"),
    (State.STREAMING, Event.COMPLETE): (State.STREAMING, "wake"),
    (State.STREAMING, Event.SAID): (State.SENDING, ""),
    (State.STREAMING, Event.RESET): (State.ABANDONED, "cancel"),
    (State.SENDING, Event.DATA): (State.SENDING, "deliver"),
    (State.SENDING, Event.COMPLETE): (State.SENDING, "wake"),
    (State.SENDING, Event.SENT): (State.CLOSED, "finish"),
    (State.SENDING, Event.SENT_EARLY): (State.ANSWERED, "finish"),
    (State.ANSWERED, Event.DATA): (State.ANSWERED, "drop"),
    (State.ANSWERED, Event.COMPLETE): (State.CLOSED, ""),
    (State.ANSWERED, Event.RESET): (State.CLOSED, ""),
    (State.ABANDONED, Event.DATA): (State.ABANDONED, "drop"),
    (State.ABANDONED, Event.RESET): (State.ABANDONED, "cancel"),
    **{(state, Event.SEND): (State.SENDING, "") for state in _TO_SEND},
    **{(state, Event.SENT): (State.CLOSED, "finish") for state in _TO_SEND},
    **{(state, Event.SENT_EARLY): (State.ANSWERED, "finish") for state in _TO_SEND},
    **{(State.ABANDONED, event): (State.ABANDONED, "") for event in _ANSWERS},
    **{(State.ABANDONED, event): (State.CLOSED, "abort") for event in (Event.FAILED, Event.BROKE, Event.ENDED)},
    **{(state, Event.RESET): (State.CLOSED, "abort") for state in _ALONE},
    **{(state, Event.BROKE): (State.REFUSED, "apologize") for state in _UNSAID},
    **{(state, Event.BROKE): (State.CLOSED, "fail") for state in _BEGUN},
    **{(state, Event.FAILED): (State.CLOSED, "fail") for state in (State.RUNNING, *_BEGUN)},
    **{(state, Event.ENDED): (state, "") for state in (State.SENDING, *_OVER)},
    **{(State.ANSWERED, event): (State.CLOSED, "reset") for event in (Event.FAILED, Event.BROKE)},
    **{(State.CLOSED, event): (State.CLOSED, "") for event in (Event.FAILED, Event.BROKE)},
}


class Limits(Protocol):
    """A virtual host's settings for connections and streams."""

    timeout: float
    keep_alive_timeout: float
    read_timeout: ReadTimeout
    streams: StreamLimits


class Content(Protocol):
    """The body after a response's head."""

    @property
    def is_here(self) -> bool:
        """Whether there is something to send, even if only the end."""

    @property
    def is_over(self) -> bool:
        """Whether only the end is left."""

    @property
    def ended(self) -> bool:
        """Whether it is complete."""

    def take(self, size: int) -> bytes:
        """At most this many bytes of it. Raises ClientGone, OSError."""


@dataclass(slots=True, eq=False, repr=False)
class Stream:
    """A stream from its request to its end."""

    id: int
    head_size: int  # bytes of the request's head, compressed
    limits: Limits
    begun: float  # when the head came
    last: float  # when the last piece of the body came, or the response was sent
    complete: bool  # all of the request is here
    state: State = State.NEW
    answering: Any = None  # runs the actions, and knows the request's `timeout` and `body_limit`
    length: int | None = None  # bytes of the body, if announced
    expects: bool = False  # the client waits with the body until it is told to send it
    size: int = 0  # bytes of the body so far
    received: int = 0  # the same with padding and frames' heads
    content: Content | None = None  # the body after the response's head
    sent: int = 0  # bytes of the response
    content_sent: int = 0  # those of them that are content
    stalled_since: float = 0.0  # since when the client's window is closed; 0 while it is open
    drained_until: float = inf

    def __repr__(self) -> str:
        return f"<stream {self.id} in {self.state.name}, request {'complete' if self.complete else 'not complete'}>"

    def read(self, head: Head, limits: Limits) -> None:
        """The request has this head, and is for a virtual host with these limits."""
        self.limits = limits
        self.length = None if head.chunked else head.content_length
        self.expects = head.expect_continue

    def keeps_length(self, more: int, *, last: bool) -> bool:
        """Whether the body has its announced length, with `more` bytes that come next, or can still have it."""
        if self.length is None:
            return True
        size = self.size + more
        return size == self.length or (not last and size < self.length)

    def take(self, size: int, padded: int, now: float) -> None:
        """A piece of the body is here, `padded` bytes with its padding."""
        self.size += size
        self.received += HEAD_SIZE + padded
        self.last = now

    def drain(self, now: float) -> None:
        """The response was sent: the rest of the body is awaited for a while."""
        self.last, self.drained_until = now, now + IN_ALL

    def deadline(self) -> float:
        """When the client has taken too long to send or to receive data."""
        if self.state in (State.ABANDONED, State.CLOSED):
            return inf  # what ends now ends when it does
        if self.state is State.ANSWERED:
            return min(self.drained_until, self.last + SILENCE)
        deadline = inf
        if not self.complete and self.state not in (State.STREAMING, State.SENDING):
            read_timeout = self.limits.read_timeout
            deadline = min(read_timeout.body_deadline(self.begun, self.received), self.last + self.answering.timeout)
        if self.stalled_since:
            deadline = min(deadline, self.stalled_since + self.answering.timeout)
        return deadline
