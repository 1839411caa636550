"""A client's HTTP/2 connection: its state, and what comes next. Pure: no socket, no loop, the time is a parameter.

Bytes of the client, responses and the time go in. Commands come out; bytes to send wait in
`output`. The protocol is h2's, a library without input or output. Frames are counted before it sees
them (processes.worker.h2_budget).
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from enum import IntEnum, auto
from math import inf
from typing import Any

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error

from ownhost.http.h2_frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEAD_SIZE,
    HEADERS,
    PADDED,
    Frame,
    FrameError,
    Frames,
)
from ownhost.http.level import Level
from ownhost.http.message import ClientGone
from ownhost.http.tls import TLSFacts
from ownhost.processes.states import Unexpected, follow
from ownhost.processes.worker.h2_budget import Budget, Flood
from ownhost.processes.worker.h2_head import RawFields
from ownhost.processes.worker.h2_output import HIGH_WATER, Output
from ownhost.processes.worker.h2_session import Session
from ownhost.processes.worker.h2_stream import TABLE as STREAM_TABLE
from ownhost.processes.worker.h2_stream import Content, Limits, Stream
from ownhost.processes.worker.h2_stream import Event as StreamEvent
from ownhost.processes.worker.h2_stream import State as StreamState
from ownhost.processes.worker.lingering import IN_ALL

STOP_READING = 4 * HIGH_WATER  # bytes of output beyond which nothing more is read: responses would only add to it
CONTINUE = [(b":status", b"100")]


class State(IntEnum):
    """The states of a connection."""

    OPEN = auto()  # requests are taken
    DESERTED = auto()  # the client has sent GOAWAY: it leaves once it has its responses
    DRAINING = auto()  # this side has: active streams are finished, new ones refused
    SUPERSEDED = auto()  # the same, as a newer worker gets the client's next requests
    PARTING = auto()  # both sides have
    CLOSING = auto()  # the socket is closed; programs of its streams have not ended yet
    CLOSED = auto()


class Event(IntEnum):
    """The events of a connection."""

    REQUEST = auto()  # a request's head is here
    EXCESS = auto()  # it exceeds the number of active ones
    GOODBYE = auto()  # the client sends GOAWAY
    STOP = auto()  # the worker stops
    SUPERSEDE = auto()  # a newer worker is there
    EXPIRED = auto()  # the client has sent no request for too long
    DONE = auto()  # no stream is left, and nothing to send
    VIOLATION = auto()  # the client breaks the protocol, or costs too much; or there is a bug
    GONE = auto()  # the client has closed, or receives nothing for too long


_SERVING = (State.OPEN, State.DESERTED)
_REFUSING = (State.DRAINING, State.SUPERSEDED, State.PARTING)
_ENDED = (State.CLOSING, State.CLOSED)
_LATE = (Event.STOP, Event.SUPERSEDE, Event.EXPIRED, Event.VIOLATION, Event.GONE)

# state, event -> next state, and what is done (by `Conversation`, in commands)
TABLE: dict[tuple[State, Event], tuple[State, str]] = {
    (State.OPEN, Event.GOODBYE): (State.DESERTED, ""),
    (State.OPEN, Event.STOP): (State.DRAINING, "say goaway"),
    (State.OPEN, Event.SUPERSEDE): (State.SUPERSEDED, "say goaway"),
    (State.OPEN, Event.EXPIRED): (State.DRAINING, "say goaway"),
    (State.OPEN, Event.DONE): (State.OPEN, "wait"),
    (State.DESERTED, Event.GOODBYE): (State.DESERTED, ""),
    (State.DESERTED, Event.STOP): (State.PARTING, "say goaway"),
    (State.DESERTED, Event.SUPERSEDE): (State.PARTING, "say goaway"),
    (State.DESERTED, Event.EXPIRED): (State.PARTING, "say goaway"),
    (State.DESERTED, Event.DONE): (State.CLOSING, "close"),
    (State.DRAINING, Event.GOODBYE): (State.PARTING, ""),
    (State.DRAINING, Event.SUPERSEDE): (State.SUPERSEDED, ""),
    (State.DRAINING, Event.DONE): (State.CLOSING, "linger"),
    (State.SUPERSEDED, Event.GOODBYE): (State.PARTING, ""),
    (State.SUPERSEDED, Event.STOP): (State.DRAINING, ""),
    (State.SUPERSEDED, Event.DONE): (State.CLOSING, "linger"),
    (State.PARTING, Event.GOODBYE): (State.PARTING, ""),
    (State.PARTING, Event.DONE): (State.CLOSING, "close"),
    (State.CLOSING, Event.DONE): (State.CLOSED, "forget"),
    **{(state, Event.REQUEST): (state, "serve") for state in _SERVING},
    **{(state, Event.EXCESS): (state, "refuse, and count") for state in _SERVING},
    **{(state, event): (state, "refuse") for state in _REFUSING for event in (Event.REQUEST, Event.EXCESS)},
    **{(state, Event.STOP): (state, "") for state in (State.DRAINING, State.PARTING)},
    **{(state, Event.SUPERSEDE): (state, "") for state in (State.SUPERSEDED, State.PARTING)},
    **{(state, Event.EXPIRED): (state, "") for state in _REFUSING},
    **{(state, Event.VIOLATION): (State.CLOSING, "say why") for state in (*_SERVING, *_REFUSING)},
    **{(state, Event.GONE): (State.CLOSING, "close") for state in (*_SERVING, *_REFUSING)},
    **{(state, event): (state, "") for state in _ENDED for event in _LATE},
}


# The commands, for the object that answers a stream or the connection itself, and their arguments.
Command = tuple[str, Stream | None, tuple[Any, ...]]
Commands = list[Command]


class Conversation:
    """A connection, with the limits of the virtual host that was asked last."""

    __slots__ = (
        "_blocked_since",
        "_budget",
        "_frames",
        "_idle_since",
        "_served",
        "_unread",
        "alarm",
        "limits",
        "output",
        "section_size",
        "session",
        "state",
        "streams",
    )

    def __init__(self, limits: Limits, now: float) -> None:
        self.state = State.OPEN
        self.limits = limits
        self.session = Session(limits.streams.streams, limits.streams.window)
        self._budget = Budget()
        self._frames = Frames()
        self._unread: deque[Frame] = deque()  # that were not handled yet
        self.output = Output(self.session, self._budget)
        self.section_size = 0  # bytes of the current or last field section
        self.streams: dict[int, Stream] = {}  # that are not closed, by number
        self._served = False  # a request has been answered
        self._idle_since = now  # since when there is no stream
        self._blocked_since = 0.0  # when the socket last took something, while it takes no more; else 0
        self.alarm = inf
        self._watch(self._deadline())

    def __repr__(self) -> str:
        waiting = len(self.output.waiting)
        return f"<HTTP/2 in {self.state.name}, {waiting} bytes wait, {list(self.streams.values())}>"

    @property
    def is_closed(self) -> bool:
        """Whether nothing comes in or goes out any more."""
        return self.state >= State.CLOSING

    @property
    def is_blocked(self) -> bool:
        """Whether output waits for room."""
        return self._blocked_since > 0

    @property
    def has_unread(self) -> bool:
        """Whether frames are here that may be handled."""
        return bool(self._unread) and len(self.output.waiting) < STOP_READING

    @property
    def reads(self) -> bool:
        """Whether more of the client's bytes are wanted now."""
        return not self._unread and len(self.output.waiting) < STOP_READING and not self.is_closed

    # The client's frames

    def met(self, tls: TLSFacts | None, now: float) -> Commands:
        """The connection begins, over TLS as negotiated (RFC 9113, 9.2)."""
        if tls is None or tls.is_modern or not self.limits.streams.modern:
            return []
        why = f"HTTP/2 may not be spoken over {tls.protocol} with {tls.cipher}"
        return self.violated(ErrorCodes.INADEQUATE_SECURITY, why, now)

    def received(self, data: bytes, now: float) -> Commands:
        """New bytes, to be handled."""
        try:
            self._unread.extend(self._frames.feed(data))
        except FrameError as error:
            return self.violated(ErrorCodes.PROTOCOL_ERROR, str(error), now)
        return []

    def act(self, now: float) -> Commands | None:
        """Handle the next frame; None if there is none."""
        if not self._unread:
            return None
        frame, commands = self._unread.popleft(), []
        try:
            self._budget.frame(frame, now)
            if frame.kind == GOAWAY:  # h2 would drop all streams, which are still to be answered (RFC 9113, 6.8)
                return self.take(Event.GOODBYE, now)
            if frame.kind == DATA:
                commands += self._check_length(frame, now)
            elif frame.kind == HEADERS:
                self.section_size = len(frame.data)
            elif frame.kind == CONTINUATION:
                self.section_size += len(frame.data)
            for event in self.session.receive_data(frame.data):
                act = _ACTS.get(type(event))
                if act is None:
                    continue
                commands += act(self, event, now)
                if self.state >= State.CLOSING:
                    break
        except Flood as error:
            commands += self.violated(ErrorCodes.ENHANCE_YOUR_CALM, str(error), now, patience=0.0)
        except H2Error as error:
            commands += self.violated(getattr(error, "error_code", ErrorCodes.PROTOCOL_ERROR), str(error), now)
        except Unexpected as error:  # a stream's error: it ends only that stream
            commands.append(("broke", self.streams.get(frame.stream), (error,)))
        return commands

    def _check_length(self, frame: Frame, now: float) -> Commands:
        """End only the stream if a body's length is not the announced one; h2 would end the connection."""
        stream = self.streams.get(frame.stream)
        if stream is None or stream.state is StreamState.ABANDONED:
            return []
        padded = frame.length and frame.flags & PADDED
        content = frame.length - 1 - frame.data[HEAD_SIZE] if padded else frame.length
        if stream.keeps_length(content, last=bool(frame.flags & END_STREAM)):
            return []
        return self.break_rule(stream, "a body that is not as long as its Content-Length", now)

    def break_rule(self, stream: Stream, why: str, now: float) -> Commands:
        """A client broke a rule on a stream: it ends."""
        return [
            ("log", stream, (Level.INFO, "http2", why)),
            *self._reset(stream, ErrorCodes.PROTOCOL_ERROR, now),
            *self._count_reset(now),
        ]

    def _count_reset(self, now: float) -> Commands:
        """A stream is reset by the client's fault: their number is limited."""
        try:
            self._budget.reset(now)
        except Flood as error:
            return self.violated(ErrorCodes.ENHANCE_YOUR_CALM, str(error), now, patience=0.0)
        return []

    def _on_request(self, event: RequestReceived, now: float) -> Commands:
        number, full = event.stream_id, len(self.streams) >= self.limits.streams.streams
        self.state, what = follow(TABLE, self, Event.EXCESS if full else Event.REQUEST)
        if what != "serve":
            self._send_reset(number, ErrorCodes.REFUSED_STREAM)  # another connection may repeat it
            return self._count_reset(now) if what == "refuse, and count" else []
        complete = event.stream_ended is not None
        stream = self.streams[number] = Stream(number, self.section_size, self.limits, now, now, complete)
        fields: RawFields = event.headers
        return [("serve", None, (stream, fields))]

    def _on_data(self, event: DataReceived, now: float) -> Commands:
        stream, size = self.streams.get(event.stream_id), event.flow_controlled_length
        if stream is None:
            self.acknowledge(event.stream_id, size)
            return []
        stream.take(len(event.data), size, now)
        stream.state, what = follow(STREAM_TABLE, stream, StreamEvent.DATA)
        if what == "deliver":
            return [("deliver", stream, (event.data, size))]
        self.acknowledge(stream.id, size)
        if stream.state is StreamState.HELD and 0 < stream.answering.body_limit < stream.size:
            return self.step(stream, StreamEvent.EXCESS, now)
        return []

    def _on_end(self, event: StreamEnded, now: float) -> Commands:
        stream = self.streams.get(event.stream_id)
        if stream is None or stream.complete:
            return []
        if not stream.keeps_length(0, last=True):  # trailers ended it, which h2 does not consider
            return self.break_rule(stream, "a body shorter than its Content-Length", now)
        stream.complete = True
        return self.step(stream, StreamEvent.COMPLETE, now)

    def _on_reset(self, event: StreamReset, now: float) -> Commands:
        """A stream is reset: by the client, or by h2, because of the client."""
        counted = [] if event.remote_reset else self._count_reset(now)
        stream = self.streams.get(event.stream_id)
        return counted if stream is None else [*counted, *self.step(stream, StreamEvent.RESET, now)]

    def _on_window(self, event: WindowUpdated, _now: float) -> Commands:
        if event.stream_id == 0:
            self.output.release_all()
        elif stream := self.streams.get(event.stream_id):
            self.output.release(stream)
        return []

    def _on_settings(self, _event: RemoteSettingsChanged, _now: float) -> Commands:
        self.output.release_all()  # the client's windows may have changed
        return []

    # Frames for the client

    def acknowledge(self, number: int, size: int) -> None:
        """Let the client send this many bytes more on a stream."""
        if size and not self.is_closed:
            self.session.acknowledge_received_data(size, number)

    def found(self, stream: Stream, status: int, now: float, *, program: bool) -> Commands:
        """The answer to a request is known: a program's, or a response with this status."""
        event = StreamEvent.FOUND
        if program:
            event = StreamEvent.PROGRAM
        elif not stream.complete and status < 400 and not stream.expects:
            event = StreamEvent.EARLY
        commands = self.step(stream, event, now)
        if not stream.complete:
            self._watch(stream.deadline())
        return commands

    def go_ahead(self, stream: Stream) -> None:
        """Tell a client that waits with a request's body to send it."""
        if stream.state is StreamState.RUNNING:
            self.output.headers(stream, CONTINUE, end=False)

    def respond(self, stream: Stream, fields: RawFields, content: Content | None, now: float) -> Commands:
        """Send a response: its head, and the body, as it comes."""
        if stream.state is not StreamState.ABANDONED:
            stream.sent = self.output.headers(stream, fields, end=content is None)
        if content is None:
            return self._sent(stream, now)
        stream.content = content
        commands = self.step(stream, StreamEvent.SEND if content.ended else StreamEvent.STREAM, now)
        self.more(stream)
        return commands

    def more(self, stream: Stream) -> None:
        """There may be more to send of a response."""
        if stream.content is not None and stream.content.is_here:
            self.output.enqueue(stream)

    def fill(self, now: float) -> Commands:
        """Make frames of streams' data, in turns, up to the limit."""
        commands: Commands = []
        while stream := self.output.next():
            commands += self._send_some(stream, now)
        self.output.collect()
        return commands

    def _send_some(self, stream: Stream, now: float) -> Commands:
        """Send one frame of a stream's data."""
        content = stream.content
        if content is None or stream.state not in (StreamState.STREAMING, StreamState.SENDING):
            return []
        window = self.session.local_flow_control_window(stream.id)
        if window <= 0 and not content.is_over:
            self.output.stall(stream, now)
            self._watch(stream.deadline())
            return []
        stream.stalled_since = 0.0
        try:
            data = content.take(min(window, stream.limits.streams.frame))
        except (ClientGone, OSError):
            return self.step(stream, StreamEvent.FAILED, now)
        end = content.is_over
        self.output.data(stream, data, end=end)
        if end:
            return self._sent(stream, now)
        self.more(stream)
        return []

    def _sent(self, stream: Stream, now: float) -> Commands:
        return self.step(stream, StreamEvent.SENT if stream.complete else StreamEvent.SENT_EARLY, now)

    # How a stream ends

    def _reset(self, stream: Stream, code: ErrorCodes, now: float) -> Commands:
        self._send_reset(stream.id, code)
        return self.step(stream, StreamEvent.RESET, now)

    def _send_reset(self, number: int, code: ErrorCodes) -> None:
        with contextlib.suppress(H2Error):  # it does not exist any more
            self.session.reset_stream(number, code)

    def step(
        self, stream: Stream, event: StreamEvent, now: float, code: ErrorCodes = ErrorCodes.INTERNAL_ERROR
    ) -> Commands:
        """An event of a stream: its commands. `code` is for one that fails. Raises Unexpected."""
        stream.state, what = follow(STREAM_TABLE, stream, event)
        if stream.state < StreamState.ANSWERED:
            return [(what, stream, ())] if what else []
        if what in ("fail", "reset"):
            self._send_reset(stream.id, code)
            what = "abort" if what == "fail" else ""
        commands: Commands = [(what, stream, ())] if what else []
        if event is StreamEvent.SENT_EARLY:
            self._served = True
            stream.drain(now)
            self._watch(stream.deadline())
        elif stream.state is StreamState.CLOSED and stream.id in self.streams:
            self._served = True
            self.output.forget(stream)
            del self.streams[stream.id]
            if not self.streams:
                self._idle_since = now
                if self.state is State.CLOSING:
                    commands += self.take(Event.DONE, now)
        return commands

    # The time

    def _deadline(self) -> float:
        """When to give up waiting for something that all streams need."""
        if self._blocked_since:
            return self._blocked_since + self.limits.timeout
        if self.streams or self.is_closed:
            return inf
        if self._served:
            return self._idle_since + self.limits.keep_alive_timeout
        head = self.limits.read_timeout.head_deadline(self._idle_since, 0)
        return min(head, self._idle_since + self.limits.timeout)

    def _watch(self, deadline: float) -> None:
        """Set the alarm to this moment, unless it is earlier."""
        self.alarm = min(self.alarm, deadline)

    def expired(self, now: float) -> Commands:
        """The `alarm` has come: end what takes too long. It may have been set for something that is done by now."""
        commands: Commands = []
        for stream in list(self.streams.values()):
            if stream.deadline() <= now:
                over = stream.state is StreamState.ANSWERED
                commands += self._reset(stream, ErrorCodes.NO_ERROR if over else ErrorCodes.CANCEL, now)
        if self._deadline() <= now:
            commands += self.take(Event.GONE if self._blocked_since else Event.EXPIRED, now)
        self.alarm = min((self._deadline(), *(stream.deadline() for stream in self.streams.values())))
        return commands

    def took(self, size: int, now: float) -> None:
        """The socket has taken some of the output."""
        del self.output.waiting[:size]
        if self._blocked_since:
            self._blocked_since = now

    def settle(self, now: float, *, stopping: bool) -> Commands:
        """All output was sent that the socket takes for now. `stopping`: the worker ends idle connections."""
        if self.is_closed:
            return []
        if not self.output.waiting:
            self._blocked_since = 0.0
        elif not self._blocked_since:
            self._blocked_since = now
            self._watch(self._deadline())
        if self.streams or self._blocked_since:
            return []
        idle = stopping and self.state is State.OPEN and not self._unread
        return self.take(Event.STOP if idle else Event.DONE, now)

    # The end

    def violated(self, code: ErrorCodes | int, why: str, now: float, patience: float = IN_ALL) -> Commands:
        """The connection must end: the client is told why, and has this many seconds to close first."""
        self.state, what = follow(TABLE, self, Event.VIOLATION)
        if not what:
            return []
        self.session.clear_outbound_data_buffer()
        self.output.goaway(code)
        return [("log", None, (Level.INFO, f"the connection ends: {why}")), *self._close(now, patience)]

    def take(self, event: Event, now: float) -> Commands:
        """An event of the connection: its commands. Raises Unexpected."""
        self.state, what = follow(TABLE, self, event)
        match what:
            case "say goaway":
                self.output.goaway(ErrorCodes.NO_ERROR)
                return [("soon", None, ())]
            case "wait":
                self._watch(self._deadline())
            case "close":
                return self._close(now, None)
            case "linger":
                return self._close(now, IN_ALL)
            case "forget":
                return [("forget", None, ())]
        return []

    def _close(self, now: float, patience: float | None) -> Commands:
        """Close the socket, and stop all work for its streams: `patience` if the client was told something."""
        self._unread.clear()
        self._blocked_since = 0.0
        commands: Commands = [("hang_up", None, (patience,))]
        if not self.streams:
            return commands + self.take(Event.DONE, now)
        for stream in list(self.streams.values()):
            commands += self.step(stream, StreamEvent.RESET, now)
        return commands


_ACTS: dict[type, Callable[[Conversation, Any, float], Commands]] = {
    RequestReceived: Conversation._on_request,
    DataReceived: Conversation._on_data,
    StreamEnded: Conversation._on_end,
    StreamReset: Conversation._on_reset,
    WindowUpdated: Conversation._on_window,
    RemoteSettingsChanged: Conversation._on_settings,
}
