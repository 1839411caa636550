"""One client's HTTP/2 connection in a worker: frames in, frames out, with a stream for each request (RFC 9113).

The protocol is h2's, a library without input or output. Frames are counted before it sees them (http.h2_budget). What
can be answered without waiting is answered in the turn that read it, and all that a turn has to say goes out together.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from math import inf
from socket import MSG_DONTWAIT
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error

from ownhost.http.h2_budget import Budget, Flood
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
    goaway,
)
from ownhost.http.h2_head import Malformed, RawFields
from ownhost.http.h2_session import Session
from ownhost.processes.mailbox import Handover
from ownhost.processes.worker.client import Client, guarded
from ownhost.processes.worker.h2_output import HIGH_WATER, Output, Transport
from ownhost.processes.worker.h2_stream import Stream
from ownhost.processes.worker.lingering import IN_ALL
from ownhost.request import bugs
from ownhost.request.request import Level

if TYPE_CHECKING:
    from ownhost.processes.worker.worker import Worker

READ_SIZE = 16_384  # bytes per recv
READS = 4  # recvs per turn
FRAMES = 64  # that are acted on per turn, so that other connections get theirs
STOP_READING = 4 * HIGH_WATER  # bytes of output beyond which nothing more is read: answers would only add to it
ROUNDS = 8  # of HIGH_WATER that one turn sends
RECEIVE = int(MSG_DONTWAIT)


class Http2Connection(Client):
    """A HTTP/2 connection and where it stands."""

    __slots__ = (
        "act_due",
        "budget",
        "closed",
        "deserted",
        "frames",
        "idle_since",
        "leaving",
        "output",
        "reading",
        "section_size",
        "session",
        "sock",
        "streams",
        "turn_due",
        "unread",
        "writing",
    )

    def __init__(self, worker: Worker, sock: Transport, handover: Handover) -> None:
        super().__init__(worker, handover)
        now = worker.loop.time()
        self.sock = sock
        self.service = worker.services.get(handover.server)
        limits = (self.service or worker.default).streams
        self.session = Session(limits.streams, limits.window)
        self.frames = Frames()
        self.budget = Budget()
        self.unread: deque[Frame] = deque()  # that were not acted on yet
        self.section_size = 0  # bytes of the field section that comes, or came last
        self.streams: dict[int, Stream] = {}  # that are not over, by number
        self.output = Output(worker.loop, sock, self.session, self.budget)
        self.idle_since = now  # loop time when the last stream was over
        self.reading = self.writing = False  # whether the event loop watches for bytes, or for room
        self.turn_due = self.act_due = False  # the event loop will end a turn, or act on frames
        self.leaving = False  # the client was told that nothing more is served
        self.deserted = False  # the client said that it will ask for nothing more
        self.closed = False

    # Beginning

    @guarded
    def begin(self) -> None:
        self.fresh = False
        self.worker.adopt(self)
        self._watch_reading(True)
        self.watch(self.deadline())
        tls = self.endpoints.tls
        if tls is not None and not tls.is_modern and (self.service or self.worker.default).streams.modern:
            self.die(ErrorCodes.INADEQUATE_SECURITY, f"HTTP/2 may not be spoken over {tls.protocol} with {tls.cipher}")
            return
        self.on_readable()

    # Reading

    @guarded
    def on_readable(self) -> None:
        """More bytes are here, or the client's end of the connection."""
        if not self.worker.load_is_watched:
            self.worker.watch_load()
        for _ in range(READS):
            if self.closed:
                return
            try:
                data = self.sock.recv(READ_SIZE, RECEIVE)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.act()
                self.close()
                return
            self.take(data)
        else:
            self.worker.loop.call_soon(self.read_on)
        self.act()

    def read_on(self) -> None:
        """Go on reading, where reading has not stopped meanwhile."""
        if self.reading:
            self.on_readable()

    def take(self, data: bytes) -> None:
        """Take bytes, to be acted on."""
        try:
            self.unread.extend(self.frames.feed(data))
        except FrameError as error:
            self.die(ErrorCodes.PROTOCOL_ERROR, str(error))

    @guarded
    def act(self) -> None:
        """Act on frames, but not on too many in one turn."""
        self.act_due = False
        now = self.worker.loop.time()
        for _ in range(FRAMES):
            if not self.unread or self.closed:
                break
            self.act_on(self.unread.popleft(), now)
        self.end_turn()

    def act_on(self, frame: Frame, now: float) -> None:
        """Act on one frame."""
        try:
            self.budget.frame(frame, now)
            if frame.kind == GOAWAY:  # h2 would let go of all streams, which are still to be answered (RFC 9113, 6.8)
                self.deserted = True
                return
            if frame.kind == DATA:
                self.check_length(frame)
            elif frame.kind == HEADERS:
                self.section_size = len(frame.data)
            elif frame.kind == CONTINUATION:
                self.section_size += len(frame.data)
            for event in self.session.receive_data(frame.data):
                act = _ACTS.get(type(event))
                if act is not None and not self.closed:
                    act(self, event)
        except Flood as error:
            self.die(ErrorCodes.ENHANCE_YOUR_CALM, str(error), patience=0.0)
        except H2Error as error:
            self.die(getattr(error, "error_code", ErrorCodes.PROTOCOL_ERROR), str(error))
        except Exception as error:
            self.broke(error)

    def check_length(self, frame: Frame) -> None:
        """End the stream alone where a body is not as long as it was said to be; h2 would end the connection."""
        stream = self.streams.get(frame.stream)
        if stream is None or stream.gone:
            return
        padded = frame.length and frame.flags & PADDED
        content = frame.length - 1 - frame.data[HEAD_SIZE] if padded else frame.length
        if not stream.incoming.keeps_length(content, last=bool(frame.flags & END_STREAM)):
            self.break_rule(stream, "a body that is not as long as its Content-Length")

    def break_rule(self, stream: Stream, why: str) -> None:
        """A client broke a rule on a stream: it ends."""
        stream.log(Level.INFO, "http2", why)
        stream.reset(ErrorCodes.PROTOCOL_ERROR)
        self.budget.reset(self.worker.loop.time())

    def on_request(self, event: RequestReceived) -> None:
        """A request's head is here."""
        stream_id, now = event.stream_id, self.worker.loop.time()
        limits = (self.service or self.worker.default).streams
        if self.leaving or len(self.streams) >= limits.streams:
            self.reset(stream_id, ErrorCodes.REFUSED_STREAM)  # another connection may ask again
            if not self.leaving:
                self.budget.reset(now)
            return
        stream = Stream(self, stream_id, self.section_size, ended=event.stream_ended is not None)
        self.streams[stream_id] = stream
        fields: RawFields = event.headers
        try:
            stream.serve(fields)
        except Malformed as error:
            self.break_rule(stream, str(error))
            return
        except H2Error:
            raise
        except Exception as error:
            stream.broke(error)
        if not stream.incoming.ended:
            self.watch(stream.deadline())

    def on_data(self, event: DataReceived) -> None:
        """Some of a request's body is here."""
        stream = self.streams.get(event.stream_id)
        if stream is None:
            self.acknowledge(event.stream_id, event.flow_controlled_length)
        else:
            stream.incoming.take(event.data, event.flow_controlled_length)

    def on_end(self, event: StreamEnded) -> None:
        """All of a request is here."""
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return
        if not stream.incoming.keeps_length(0, last=True):  # trailers ended it, of which h2 does not think
            self.break_rule(stream, "a body shorter than its Content-Length")
            return
        stream.on_end()

    def on_reset(self, event: StreamReset) -> None:
        """A stream is reset: by the client, or by h2, for what the client did."""
        if not event.remote_reset:
            self.budget.reset(self.worker.loop.time())
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.abort()

    def on_window(self, event: WindowUpdated) -> None:
        """The client takes more, on a stream or in all."""
        if event.stream_id == 0:
            self.output.go_on()
        else:
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                self.output.release(stream)

    def on_settings(self, _: RemoteSettingsChanged) -> None:
        """The client has other windows now, perhaps."""
        self.output.go_on()

    # What streams need

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """Reset a stream, if it is one still."""
        with contextlib.suppress(H2Error):
            self.session.reset_stream(stream_id, code)

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Let the client send this many bytes more."""
        if size and not self.closed:
            self.session.acknowledge_received_data(size, stream_id)
            self.soon()

    def remove(self, stream: Stream) -> None:
        """A stream is over."""
        self.streams.pop(stream.id, None)
        self.output.stalled.discard(stream)
        if not self.streams:
            self.idle_since = self.worker.loop.time()
            if self.closed:
                self.worker.forget(self)

    # Sending

    def soon(self) -> None:
        """Have what there is sent at the end of this turn."""
        if not self.turn_due:
            self.turn_due = True
            self.worker.loop.call_soon(self.end_turn)

    @guarded
    def end_turn(self) -> None:
        """Send all there is, as far as the socket takes it, and see what to wait for."""
        self.turn_due = False
        for _ in range(ROUNDS):
            if self.closed:
                return
            self.output.pump()
            if not self.output.waiting or not self.flush():
                break
        else:
            self.soon()
        if not self.closed:
            self.settle()

    def flush(self) -> bool:
        """Send what waits. False where that is not all of it, or the client is gone."""
        try:
            return self.output.flush()
        except OSError:
            self.close()
            return False

    def settle(self) -> None:
        """See what to wait for: room, bytes, another turn, the end."""
        loop = self.worker.loop
        if bool(self.output.waiting) != self.writing:
            self.writing = not self.writing
            if self.writing:
                self.output.progress = loop.time()
                loop.add_writer(self.sock.fileno(), self.end_turn)
                self.watch(self.output.progress + self.timeout)
            else:
                loop.remove_writer(self.sock.fileno())
        may_read = len(self.output.waiting) < STOP_READING
        self._watch_reading(may_read and not self.unread)
        if may_read and self.unread and not self.act_due:
            self.act_due = True
            loop.call_soon(self.act)
        if self.streams or self.output.waiting:
            return
        if self.deserted:
            self.close()
        elif self.leaving:
            self.close(linger=True)
        elif not self.leaving and (self.worker.stopping and not self.unread):
            self.say_goodbye()
        else:
            self.watch(self.deadline())

    def _watch_reading(self, wanted: bool) -> None:
        if wanted != self.reading:
            self.reading = wanted
            if wanted:
                self.worker.waiting.add(self.sock.fileno(), self.on_readable)
                self.worker.loop.call_soon(self.read_on)  # for what TLS holds, which the descriptor does not show
            else:
                self.worker.waiting.remove(self.sock.fileno())

    # Waiting

    @property
    def timeout(self) -> float:
        """Seconds that the client has to take what is sent."""
        return (self.service or self.worker.default).timeout

    def deadline(self) -> float:
        """When to give up waiting for what all streams wait for, in loop time."""
        if self.writing:
            return self.output.progress + self.timeout
        if self.streams:
            return inf
        service = self.service or self.worker.default
        if self.handled:
            return self.idle_since + service.keep_alive_timeout
        return min(service.read_timeout.head_deadline(self.idle_since, 0), self.idle_since + service.timeout)

    def watch(self, deadline: float) -> None:
        """Have the time checked at this moment, or before."""
        if not self.closed and deadline < self.worker.deadlines.moment(self):
            self.worker.deadlines.set(self, deadline)

    @guarded
    def check_time(self) -> None:
        """End what takes too long. The moment may have been set for what is done meanwhile."""
        now = self.worker.loop.time()
        for stream in list(self.streams.values()):
            if stream.deadline() <= now:
                stream.give_up()
        if self.deadline() <= now:
            if self.writing:
                self.close()
                return
            self.say_goodbye()
        self.end_turn()
        self.watch(min((self.deadline(), *(stream.deadline() for stream in self.streams.values()))))

    # Leaving

    def log(self, level: Level, text: str) -> None:
        """Write to the error log of the virtual host, about no stream in particular."""
        service = self.service or self.worker.default
        client = f"{self.endpoints.client}:{self.endpoints.client_port}"
        service.error_log.log(level, "http2", text, client)

    def close_if_idle(self) -> None:
        self.say_goodbye()
        self.end_turn()

    def say_goodbye(self) -> None:
        """Tell the client that nothing more is served here. What was begun is; the rest it may ask for elsewhere."""
        if not self.leaving:
            self.leaving = True
            self.output.collect()
            self.output.waiting += goaway(self.session.highest_inbound_stream_id, ErrorCodes.NO_ERROR)

    def die(self, code: ErrorCodes | int, why: str, patience: float = IN_ALL) -> None:
        """The client broke the protocol: say so, and close, with this many seconds for the client to close, too."""
        if self.closed:
            return
        self.log(Level.INFO, f"the connection ends: {why}")
        self.session.clear_outbound_data_buffer()
        self.output.waiting += goaway(self.session.highest_inbound_stream_id, code)
        self.flush()
        self.close(linger=True, patience=patience)

    def broke(self, error: Exception) -> None:
        """Something raised that must not, and it is not known on which stream: all of them end."""
        bugs.report(lambda level, _, text: self.log(level, text), error)
        try:
            self.die(ErrorCodes.INTERNAL_ERROR, "a bug")
        except Exception as another:
            bugs.report(lambda level, _, text: self.log(level, text), another)
            self.close()

    def close(self, *, linger: bool = False, patience: float = IN_ALL) -> None:
        """End it. `linger` is for clients that were told why: with bytes unread, a close would have that undone."""
        if self.closed:
            return
        self.closed = True
        self._watch_reading(False)
        if self.writing:
            self.worker.loop.remove_writer(self.sock.fileno())
        self.worker.deadlines.drop(self)
        self.leave()
        self.unread.clear()
        for stream in list(self.streams.values()):
            stream.abort()
        if linger:
            self.worker.lingering.close(self.sock, patience)
        else:
            self.sock.close()
        if not self.streams:
            self.worker.forget(self)


_ACTS: dict[type[Event], Callable[[Http2Connection, Any], None]] = {
    RequestReceived: Http2Connection.on_request,
    DataReceived: Http2Connection.on_data,
    StreamEnded: Http2Connection.on_end,
    StreamReset: Http2Connection.on_reset,
    WindowUpdated: Http2Connection.on_window,
    RemoteSettingsChanged: Http2Connection.on_settings,
}
