"""A proxy's connection to a front: its state, and what comes next. Pure: no socket, no loop, the time is a parameter.

Events go in: bytes of the client (the proxy), a worker's records, the time. Commands come out. A
worker of the virtual host's own identity gets each request, over a pair (`processes.relay`). There
is one request at a time: those after it stay unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, auto
from math import inf
from typing import NamedTuple

from ownhost.http.body import BodyReader
from ownhost.http.head import head_end, parse_head
from ownhost.http.level import Level
from ownhost.http.message import Head, HTTPError
from ownhost.http.peek import peek
from ownhost.modules.reqtimeout import TOO_LONG
from ownhost.processes.front.answer import Answer, AnswerError
from ownhost.processes.relay.records import Asked, Origin
from ownhost.processes.relay.records import End as AnswerEnd
from ownhost.processes.slices import Limits
from ownhost.processes.states import Unexpected, follow
from ownhost.request.hosts import NameTable

MAX_WAIT = 10.0  # seconds until a request that no worker takes is answered 503
MAX_ASKED = 3  # pairs with a request that may be lost before it is taken
LINGER = 2.0  # seconds that a client has to read the last answer, and to close


class State(IntEnum):
    """The states of a client."""

    IDLE = auto()  # nothing of a request is here
    HEAD = auto()  # its head is not complete
    ASKED = auto()  # a worker must still take it
    ANSWERED = auto()  # a worker has taken it: body and answer go both ways
    COMPLETE = auto()  # the answer is out; the worker has not sent END yet
    TUNNELLED = auto()  # another protocol goes both ways
    ENDING = auto()  # the last bytes for the client are being sent
    LINGERING = auto()  # it has them: further bytes are dropped
    CLOSED = auto()


class Event(IntEnum):
    """The events of a client."""

    MORE = auto()  # more of its head is to come
    REQUEST = auto()  # a request is here, or something that cannot become one
    AGAIN = auto()  # a pair is lost, and nothing of the request was taken
    TAKEN = auto()  # a worker has taken the request
    SAID = auto()  # all of the answer is here
    SWITCHED = auto()  # another protocol follows
    KEPT = auto()  # the request is over, and the connection goes on
    LAST = auto()  # nothing more is sent to the client
    SENT = auto()  # it has received everything
    GONE = auto()  # it has left, or is given up


# state, event -> next state
TABLE: dict[tuple[State, Event], State] = {
    (State.IDLE, Event.MORE): State.HEAD,
    (State.IDLE, Event.REQUEST): State.ASKED,
    (State.HEAD, Event.MORE): State.HEAD,
    (State.HEAD, Event.REQUEST): State.ASKED,
    (State.ASKED, Event.AGAIN): State.ASKED,
    (State.ASKED, Event.TAKEN): State.ANSWERED,
    (State.ASKED, Event.KEPT): State.IDLE,
    (State.ANSWERED, Event.SAID): State.COMPLETE,
    (State.ANSWERED, Event.SWITCHED): State.TUNNELLED,
    (State.COMPLETE, Event.KEPT): State.IDLE,
    (State.ENDING, Event.SENT): State.LINGERING,
    **{(state, Event.LAST): State.ENDING for state in State if state not in (State.LINGERING, State.CLOSED)},
    **{(state, Event.GONE): State.CLOSED for state in State if state is not State.CLOSED},
}


# Commands


class Ask(NamedTuple):
    """Ask a worker of a virtual host's own identity to take a request."""

    server: int
    asked: Asked
    fresh: bool = False  # over a pair that has not been used


class Pass(NamedTuple):
    """Send the worker some of what follows the head."""

    data: bytes


class EndInput(NamedTuple):
    """Tell the worker that the client sends no more."""


class Done(NamedTuple):
    """The pair is not needed any more. `again`: it may serve another request."""

    again: bool


class Send(NamedTuple):
    """Send the client some bytes."""

    data: bytes


class Finish(NamedTuple):
    """End this side's stream after all bytes are sent, and then report it (`Conversation.sent`)."""


class Close(NamedTuple):
    """Close the client's socket."""


class Overloaded(NamedTuple):
    """Log that a virtual host's processes don't keep up."""

    server: int


class Log(NamedTuple):
    """Write to the error log."""

    level: Level
    module: str
    message: str


Command = Ask | Pass | EndInput | Done | Send | Finish | Close | Overloaded | Log
Commands = list[Command]


class Conversation:
    """A client's connection. `names` are those of its local address, `limits` those of all servers."""

    __slots__ = (
        "_answer",
        "_asked",
        "_body",
        "_buffer",
        "_draining",
        "_ended",
        "_ends",
        "_first_byte",
        "_handled",
        "_last",
        "_limits",
        "_names",
        "_progress",
        "_server",
        "_since",
        "_times",
        "_told",
        "deadline",
        "state",
    )

    def __init__(self, ends: Origin, names: NameTable, limits: Mapping[int, Limits], now: float) -> None:
        """`ends` is who the client is, and where it connected to."""
        self.state = State.IDLE
        self._ends = ends
        self._names = names
        self._limits = limits
        self._server = names.default
        self._buffer = b""  # received and not used
        self._handled = 0  # requests answered on this connection
        self._asked: Ask | None = None  # the request that is asked or answered
        self._times = 0  # that it was asked
        self._body: BodyReader | None = None  # of that request, while it is not complete
        self._answer = Answer(None)  # to that request
        self._last = False  # no request can follow it
        self._ended = False  # the client has ended its stream
        self._told = False  # the worker knows that no more of the request comes
        self._draining = False  # the front stops: what is begun is finished
        self._since = now  # since when the first byte is waited for
        self._first_byte = 0.0  # when it came; 0 if it has not
        self.deadline = inf
        self._wait(now)

    def __repr__(self) -> str:
        return f"<a front's client in {self.state.name}, request {self._handled} of {self._ends.client}, {self._asked}>"

    @property
    def reads(self) -> bool:
        """Whether more bytes of the client are wanted now."""
        match self.state:
            case State.ANSWERED:
                return self._body is not None and not self._told
            case State.TUNNELLED:
                return not self._told
            case State.ASKED | State.CLOSED | State.ENDING:
                return False
        return True

    @property
    def patience(self) -> float:
        """Seconds for the client to receive some of the bytes."""
        return self._limits[self._server].timeout

    # The client

    def received(self, data: bytes, now: float) -> Commands:
        """Bytes of the client; b"" is the end of its stream."""
        match self.state:
            case State.IDLE | State.HEAD:
                if not data:
                    return self._cut_off(now)
                self._buffer = self._buffer + data if self._buffer else data
                return self._read(now)
            case State.ANSWERED if data:
                return self._upload(data, now)
            case State.TUNNELLED if data:
                return [Pass(data)]
            case State.ANSWERED | State.TUNNELLED:
                return self.ended()
            case State.COMPLETE:
                self._buffer += data
                self._ended = not data
                return self.settle(now) if data else [Done(again=False), *self._over(now, keep=False)]
            case State.LINGERING:
                return [] if data else self._close()
        raise Unexpected(f"{len(data)} bytes for {self!r}")

    def ended(self) -> Commands:
        """The client has ended its stream; some of its bytes may not be read yet."""
        if self._buffer or self.state not in (State.ASKED, State.ANSWERED, State.TUNNELLED):
            return []  # another request is here; or it is seen when more is read
        self._ended = True
        return self._end_input()

    def gone(self) -> Commands:
        """The client has left, and reads no answer."""
        return self._close()

    def sent(self, now: float) -> Commands:
        """All bytes were sent (`Finish`)."""
        self._step(Event.SENT)
        self.deadline = now + LINGER
        return self._close() if self._ended else []

    # The worker

    def taken(self, now: float) -> Commands:
        """A worker has taken the request."""
        self._step(Event.TAKEN)
        self.deadline = inf
        return self._upload(b"", now) if self._body is not None and self._buffer else []

    def answered(self, data: bytes, now: float) -> Commands:
        """A worker has sent some bytes for the client."""
        try:
            if self.state is State.TUNNELLED:
                passed = data if self._answer.begun else self._answer.feed_switched(data)
            elif self.state is State.ANSWERED:
                passed = self._answer.feed(data)
                self._see_complete(now)
            else:
                raise AnswerError("more than an answer")
        except AnswerError as error:
            return self.broken(str(error), now)
        return [Send(passed)] if passed else []

    def answered_whole(self, data: bytes, end: AnswerEnd, now: float) -> Commands:
        """A worker has taken the request, and this is all for the client."""
        commands = [*self.taken(now), *self.answered(data, now)]
        if self.state in (State.ANSWERED, State.COMPLETE):  # else it was not an answer
            commands += self.finished(end, now)
        return commands

    def switched(self, now: float) -> Commands:
        """A worker switches to another protocol."""
        try:
            if self._body is not None:
                raise AnswerError("a switch of protocols within a request")
            self._answer.switch()
        except AnswerError as error:
            return self.broken(str(error), now)
        self._step(Event.SWITCHED)
        data, self._buffer = self._buffer, b""
        return [Pass(data)] if data else []

    def finished(self, end: AnswerEnd, now: float) -> Commands:
        """A worker has finished the request."""
        if self.state is State.ANSWERED and not self._answer.complete and not self._answer.ends_with_stream:
            return self.broken("its answer is not complete", now)
        whole = self._body is None and not self._told
        return [Done(again=end.again and whole), *self._over(now, keep=end.keep and whole)]

    def settle(self, now: float) -> Commands:
        """All of the worker's records so far are handled. If the next request waits, END is not needed."""
        if self.state is State.COMPLETE and self._buffer:
            return [Done(again=False), *self._over(now, keep=True)]
        return []

    def lost(self, reason: str, now: float) -> Commands:
        """The pair has ended. A request that no worker has taken is sent again: nothing was done with it."""
        if self.state is State.ASKED and self._times < MAX_ASKED:
            assert self._asked is not None
            self._step(Event.AGAIN)
            self._times += 1
            again: Commands = [Done(again=False), self._asked._replace(fresh=True)]
            return [*again, EndInput()] if self._told else again
        if self.state is State.TUNNELLED and self._answer.begun:
            return [Done(again=False), *self._finish()]
        if self.state is State.COMPLETE:
            return [Done(again=False), *self._over(now, keep=True)]
        if self.state is State.ANSWERED and self._ended:  # the worker believed that the client had left
            return self._close()
        return self.broken(reason, now)

    def broken(self, reason: str, now: float) -> Commands:
        """A worker's records make no sense, or it has left within its answer: only this request fails."""
        said = Log(Level.ERROR, "core", f"a request that the front passed on was not answered: {reason}")
        if self.state is State.COMPLETE:
            return [said, Done(again=False), *self._over(now, keep=True)]
        if self._answer.begun:
            return [said, *self._close()]  # the client sees that something is missing
        return [said, Done(again=False), self._say(BAD_GATEWAY), *self._finish()]

    def refused(self, now: float) -> Commands:
        """No worker has taken the request in time: only this request fails."""
        if self.state is not State.ASKED:
            return []
        keep = self._body is None and not self._told and self._answer.keeps
        busy: Commands = [Overloaded(self._server), Done(again=False)]
        return [*busy, self._say(BUSY if keep else BUSY_LAST), *self._over(now, keep=keep)]

    # The time, and the end

    def expired(self, now: float) -> Commands:
        """The `deadline` has passed."""
        match self.state:
            case State.ASKED:
                return self.refused(now)
            case State.HEAD:
                said = Log(Level.INFO, "reqtimeout", TOO_LONG.format("header"))
                return [said, Send(TOO_SLOW), *self._finish()]
            case State.COMPLETE:
                return [Done(again=False), *self._finish()]
            case State.IDLE if self._handled:
                return self._finish()
        return self._close()

    def drain(self, now: float) -> Commands:
        """The front stops: finish active requests, end idle connections; new ones may still send one request."""
        self._draining = True
        if self.state is State.IDLE and self._handled:
            return self._finish()
        if self.state is State.IDLE:
            self.deadline = min(self.deadline, now + LINGER)
        return []

    # Within

    def _step(self, event: Event) -> None:
        self.state = follow(TABLE, self, event)

    def _finish(self) -> Commands:
        self._step(Event.LAST)
        self._asked = self._body = None
        self.deadline = inf  # that of sending holds, and then `sent` says
        return [Finish()]

    def _close(self) -> Commands:
        self._step(Event.GONE)
        self.deadline = inf
        return [Done(again=False), Close()]

    def _wait(self, now: float) -> None:
        """Set the time until which more must come."""
        limits = self._limits[self._server]
        if self._first_byte or not self._handled:
            begun = self._first_byte or self._since
            self.deadline = min(limits.read_timeout.head_deadline(begun, len(self._buffer)), now + limits.timeout)
        else:
            self.deadline = self._since + limits.keep_alive_timeout

    def _over(self, now: float, *, keep: bool) -> Commands:
        """A request is over: the next one, or the end."""
        self._asked = self._body = None
        self._told = False
        self._handled += 1
        if not keep or self._last or self._draining or not self._answer.keeps:
            return self._finish()
        self._step(Event.KEPT)
        self._since, self._first_byte = now, 0.0
        if self._buffer:
            return self._read(now)
        self._wait(now)
        return []

    def _read(self, now: float) -> Commands:
        """Send what is here to a worker, if it is a request, or can't become one."""
        end = head_end(self._buffer)
        if end < 0 and len(self._buffer) <= self._limits[self._server].head.total:
            if self._buffer:
                self._step(Event.MORE)
                self._first_byte = self._first_byte or now
            self._wait(now)
            return []
        raw = self._buffer[:end] if end >= 0 else self._buffer
        head = self._choose(raw)
        if head is None or end < 0:
            return self._ask_unreadable(raw, now)
        self._buffer = self._buffer[end:]
        self._body = BodyReader(head, self._limits[self._server].head) if head.has_body else None
        return self._ask(Answer(head), raw, now)

    def _choose(self, raw: bytes) -> Head | None:
        """The head of a request, and its virtual host.

        A malformed one goes to the virtual host that it seems to name.
        """
        server = self._server
        head: Head | None = None
        for _ in range(3):
            limits = self._limits[server].head
            try:
                head = parse_head(raw, limits)
                self._server = self._names.find(head.host)
            except HTTPError:
                head = None
                self._server = self._names.find(peek(raw, cut=True).host)
            if self._limits[self._server].head == limits or self._server == server:
                break
            server = self._server  # its own limits are others
        return head

    def _cut_off(self, now: float) -> Commands:
        """The client has ended its stream. If a line of a head is here, a worker answers."""
        self._ended = True
        if self.state is State.HEAD and b"\n" in self._buffer.lstrip(b"\r\n"):
            self._choose(self._buffer)
            return self._ask_unreadable(self._buffer, now)
        return self._finish()

    def _ask_unreadable(self, raw: bytes, now: float) -> Commands:
        """Have a worker refuse an invalid request, and log it. Nothing after it can be separated."""
        self._buffer, self._body, self._last = b"", None, True
        return [*self._ask(Answer(None), raw, now), *self._end_input()]

    def _end_input(self) -> Commands:
        """Tell the worker, once."""
        if self._told:
            return []
        self._told = True
        return [EndInput()]

    def _ask(self, answer: Answer, raw: bytes, now: float) -> Commands:
        self._step(Event.REQUEST)
        asked = Asked.of(self._ends, self._handled, raw)
        self._answer, self._asked, self._times = answer, Ask(self._server, asked), 1
        self.deadline = now + MAX_WAIT
        return [self._asked]

    def _see_complete(self, now: float) -> None:
        """If request and answer are complete, only the worker's END is missing."""
        if self._answer.complete and self._body is None:
            self._step(Event.SAID)
            self.deadline = now + self._limits[self._server].keep_alive_timeout

    def _say(self, answer: bytes) -> Send:
        """An answer of the front's own, as the request needs it."""
        return Send(answer if self._answer.has_body else answer[: answer.index(b"\r\n\r\n") + 4])

    def _upload(self, data: bytes, now: float) -> Commands:
        """Pass on the body. The worker sees errors in it, too, and answers."""
        data = self._buffer + data
        self._buffer = b""
        assert self._body is not None
        try:
            self._body.feed(data)
        except HTTPError:
            self._last = True
            return [Pass(data), *self._end_input()]
        if self._body.complete:
            self._buffer = self._body.leftover
            self._body = None
            self._see_complete(now)
        return [Pass(data[: len(data) - len(self._buffer)])]


def _plain(status: int, reason: str, fields: str = "Connection: close\r\n") -> bytes:
    """A short answer of the front's own."""
    text = f"{reason}\n"
    kind = "Content-Type: text/plain; charset=utf-8"
    return f"HTTP/1.1 {status} {reason}\r\n{fields}{kind}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


BUSY = _plain(503, "Service Unavailable", "Retry-After: 1\r\n")
BUSY_LAST = _plain(503, "Service Unavailable", "Retry-After: 1\r\nConnection: close\r\n")
BAD_GATEWAY = _plain(502, "Bad Gateway")
TOO_SLOW = _plain(408, "Request Timeout")
