"""An HTTP/2 connection's output: frames that wait for the socket, and streams that take turns. Pure.

Only as much content is turned into frames as the socket is about to take, so a client that does not
read costs little more than the files it asks for.
"""

from __future__ import annotations

from collections import OrderedDict

from h2.errors import ErrorCodes

from ownhost.http.h2_frames import goaway
from ownhost.processes.worker.h2_budget import Budget
from ownhost.processes.worker.h2_head import RawFields
from ownhost.processes.worker.h2_session import Session
from ownhost.processes.worker.h2_stream import Stream

HIGH_WATER = 131_072  # bytes that wait for the socket, beyond which no more content is added


class Output:
    """The waiting frames, and the streams with more data."""

    __slots__ = ("_budget", "_ready", "_session", "_stalled", "waiting")

    def __init__(self, session: Session, budget: Budget) -> None:
        self._session = session
        self._budget = budget
        self.waiting = bytearray(session.hello)
        self._ready: OrderedDict[Stream, None] = OrderedDict()  # in turns
        self._stalled: dict[Stream, None] = {}  # those whose client's window is closed

    def enqueue(self, stream: Stream) -> None:
        """A stream has something to send."""
        if stream not in self._stalled:
            self._ready[stream] = None

    def next(self) -> Stream | None:
        """The stream whose turn it is, while there is room for more content."""
        if self._ready and len(self.waiting) + self._session.unsent < HIGH_WATER:
            return self._ready.popitem(last=False)[0]
        return None

    def stall(self, stream: Stream, now: float) -> None:
        """A stream may send no more for now."""
        self._stalled[stream] = None
        stream.stalled_since = stream.stalled_since or now

    def release(self, stream: Stream) -> None:
        """A stream may send more."""
        if stream in self._stalled:
            self._stalled.pop(stream, None)
            self._ready[stream] = None

    def release_all(self) -> None:
        """All streams may be able to send more."""
        for stream in tuple(self._stalled):
            self.release(stream)

    def forget(self, stream: Stream) -> None:
        """A stream sends no more."""
        self._stalled.pop(stream, None)
        self._ready.pop(stream, None)

    def headers(self, stream: Stream, fields: RawFields, *, end: bool) -> int:
        """Send a field section on a stream. Returns its bytes."""
        before = self._session.unsent
        self._session.send_headers(stream.id, fields, end_stream=end)
        return self._session.unsent - before

    def data(self, stream: Stream, data: bytes, *, end: bool) -> None:
        """Send some of a body on a stream."""
        before = self._session.unsent
        self._session.send_data(stream.id, data, end_stream=end)
        stream.sent += self._session.unsent - before
        stream.content_sent += len(data)
        self._budget.sent(len(data))

    def goaway(self, code: ErrorCodes | int) -> None:
        """Send GOAWAY: streams up to the last one are served."""
        self.collect()
        self.waiting += goaway(self._session.highest_inbound_stream_id, code)

    def collect(self) -> None:
        """Take over h2's output."""
        self.waiting += self._session.data_to_send()
