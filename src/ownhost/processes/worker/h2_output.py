"""What a HTTP/2 connection has to say, on its way to the socket.

Streams with something to send take turns, a frame each; no more is made than the socket is about to take, so that a
client that does not read costs little more than the files it asks for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from socket import MSG_DONTWAIT, MSG_NOSIGNAL
from typing import TYPE_CHECKING, Protocol

from ownhost.http.h2_budget import Budget
from ownhost.http.h2_head import RawFields
from ownhost.http.h2_session import Session

if TYPE_CHECKING:
    from ownhost.processes.worker.h2_stream import Stream

HIGH_WATER = 131_072  # bytes that wait for the socket, beyond which no more content is added
SEND = int(MSG_DONTWAIT | MSG_NOSIGNAL)  # as plain integers: joining enumeration members costs more than a send


class Transport(Protocol):
    """A connected socket, or TLS on one: what is read and written never waits (BlockingIOError)."""

    def recv(self, size: int, flags: int, /) -> bytes:
        """At most `size` bytes; b"" at the end. Raises OSError."""

    def send(self, data: bytes | bytearray | memoryview, flags: int, /) -> int:
        """Send some of it, and say how much. What is sent next begins with the rest. Raises OSError."""

    def fileno(self) -> int:
        """The descriptor that is watched."""

    def shutdown(self, how: int, /) -> None:
        """Say that nothing more will be sent. Raises OSError."""

    def close(self) -> None:
        """Close it."""


class Output:
    """The frames that wait, and the streams that have more."""

    __slots__ = ("budget", "loop", "progress", "ready", "session", "sock", "stalled", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: Transport, session: Session, budget: Budget) -> None:
        self.loop = loop
        self.sock = sock
        self.session = session
        self.budget = budget
        self.waiting = bytearray(session.hello)
        self.ready: deque[Stream] = deque()  # in turns
        self.stalled: set[Stream] = set()  # whose client lets them send no more
        self.progress = 0.0  # loop time when the socket last took something

    def enqueue(self, stream: Stream) -> None:
        """A stream has something to send."""
        if not stream.queued and stream not in self.stalled:
            stream.queued = True
            self.ready.append(stream)

    def stall(self, stream: Stream) -> None:
        """A stream may send no more for now."""
        self.stalled.add(stream)
        if not stream.stalled_since:
            stream.stalled_since = self.loop.time()

    def release(self, stream: Stream) -> None:
        """A stream may send more."""
        if stream in self.stalled:
            self.stalled.discard(stream)
            self.enqueue(stream)

    def send_headers(self, stream: Stream, fields: RawFields, *, end: bool) -> None:
        """Send a field section on a stream."""
        if stream.gone:
            return
        self.collect()
        self.session.send_headers(stream.id, fields, end_stream=end)
        size = self.collect()  # its own, and nothing else
        if stream.sending is not None:
            stream.sending.sent += size
            stream.sending.content = 0

    def send_data(self, stream: Stream, data: bytes, *, end: bool) -> None:
        """Send some of a body on a stream."""
        assert stream.sending is not None
        self.session.send_data(stream.id, data, end_stream=end)
        stream.sending.sent += self.collect()
        stream.sending.content += len(data)
        self.budget.sent(len(data))

    def go_on(self) -> None:
        """All streams may send more, perhaps."""
        for stream in tuple(self.stalled):
            self.release(stream)

    def collect(self) -> int:
        """Take over what h2 has to say, and say how many bytes that is."""
        data = self.session.data_to_send()
        self.waiting += data
        return len(data)

    def pump(self) -> None:
        """Make frames of what streams have to send, in turns, up to the mark."""
        self.collect()
        ready = self.ready
        while ready and len(self.waiting) < HIGH_WATER:
            stream = ready.popleft()
            stream.queued = False
            if not stream.over and not stream.gone and stream.send_some():
                self.enqueue(stream)
        self.collect()

    def flush(self) -> bool:
        """Send what waits for the socket. False where it does not take all of it. Raises OSError."""
        while self.waiting:
            try:
                count = self.sock.send(self.waiting, SEND)
            except BlockingIOError:
                return False
            del self.waiting[:count]
            self.progress = self.loop.time()
        return True
