"""One client's HTTP/2 connection in a worker: its socket, and its place in the event loop (RFC 9113).

`h2_conversation` decides. What can be answered without waiting is answered in the turn that read
it, and all of a turn's output is sent together.
"""

from __future__ import annotations

from socket import MSG_DONTWAIT, MSG_NOSIGNAL

from ownhost.processes.mailbox import Handover
from ownhost.processes.worker.client import guarded
from ownhost.processes.worker.h2_answering import Answering
from ownhost.processes.worker.h2_client import Http2Client
from ownhost.processes.worker.h2_head import RawFields
from ownhost.processes.worker.h2_stream import Stream
from ownhost.processes.worker.shared import Shared
from ownhost.processes.worker.transport import Transport

READ_SIZE = 16_384  # bytes per recv
READS = 4  # recvs per turn
FRAMES = 64  # frames handled per turn, so that other connections have their turn
ROUNDS = 8  # multiples of h2_output.HIGH_WATER that one turn sends
RECEIVE = int(MSG_DONTWAIT)
SEND = int(MSG_DONTWAIT | MSG_NOSIGNAL)  # as plain integers: joining enumeration members costs more than a send


class Http2Connection(Http2Client):
    """An HTTP/2 connection: what it waits for in the event loop."""

    __slots__ = ("act_due", "reading", "turn_due", "writing")

    def __init__(self, worker: Shared, sock: Transport, handover: Handover) -> None:
        super().__init__(worker, sock, handover)
        self.reading = self.writing = False  # whether the event loop watches for bytes, or for room
        self.turn_due = self.act_due = False  # whether the event loop will end a turn, or handle frames

    # Reading

    @guarded
    def begin(self) -> None:
        self.fresh = False
        self.worker.adopt(self)
        self._watch()
        self.perform(self.talk.met(self.endpoints.tls, self.clock()))
        self.on_readable()

    @guarded
    def on_readable(self) -> None:
        """More bytes are here, or the end of the client's stream."""
        now = self.clock()
        if not self.worker.load_is_watched:
            self.worker.watch_load()
        for _ in range(READS):
            if self.talk.is_closed:
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
            self.perform(self.talk.received(data, now))
        else:
            self.worker.loop.call_soon(self.read_on)
        self.act()

    def read_on(self) -> None:
        """Go on reading, unless reading has stopped meanwhile."""
        if self.reading:
            self.on_readable()

    @guarded
    def act(self) -> None:
        """Handle frames, but not too many in one turn."""
        self.act_due = False
        now = self.clock()
        for _ in range(FRAMES):
            commands = self.talk.act(now)
            if commands is None:
                break
            self.perform(commands)
        self.end_turn()

    # Sending

    def soon(self) -> None:
        """Send what there is at the end of this turn."""
        if not self.turn_due:
            self.turn_due = True
            self.worker.loop.call_soon(self.end_turn)

    @guarded
    def end_turn(self) -> None:
        """Send the output, as far as the socket takes it, and find out what to wait for."""
        self.turn_due = False
        talk, now = self.talk, self.clock()
        for _ in range(ROUNDS):
            if talk.is_closed:
                return
            self.perform(talk.fill(now))
            if not talk.output.waiting or not self.flush():
                break
        else:
            self.soon()
        self.perform(talk.settle(now, stopping=self.worker.stopping))
        if not talk.is_closed:
            self._watch()

    def flush(self) -> bool:
        """Send waiting bytes. False if not all were sent, or the client is gone."""
        talk, now = self.talk, self.clock()
        try:
            while talk.output.waiting:
                talk.took(self.sock.send(talk.output.waiting, SEND), now)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        return True

    # Waiting

    def _watch(self) -> None:
        """Watch for what is waited for."""
        talk, loop, deadlines = self.talk, self.worker.loop, self.worker.deadlines
        if talk.is_blocked != self.writing:
            self.writing = talk.is_blocked
            if self.writing:
                loop.add_writer(self.sock.fileno(), self.end_turn)
            else:
                loop.remove_writer(self.sock.fileno())
        if talk.reads != self.reading:
            self.reading = talk.reads
            if self.reading:
                self.worker.waiting.add(self.sock.fileno(), self.on_readable)
                loop.call_soon(self.read_on)  # for bytes in TLS, which the descriptor does not show
            else:
                self.worker.waiting.remove(self.sock.fileno())
        if talk.has_unread and not self.act_due:
            self.act_due = True
            loop.call_soon(self.act)
        if talk.alarm < deadlines.moment(self):
            deadlines.set(self, talk.alarm)

    @guarded
    def check_time(self) -> None:
        """The deadline has passed."""
        self.perform(self.talk.expired(self.clock()))
        self.end_turn()

    # What is done

    def serve(self, stream: Stream, fields: RawFields) -> None:
        """Answer a request."""
        stream.answering = answering = Answering(self, stream)
        try:
            answering.serve(fields)
        except Exception as error:
            answering.broke(error)

    def hang_up(self, patience: float | None) -> None:
        """Close the socket.

        A client that was told why has so many seconds: a close with unread bytes would undo that.
        """
        if self.reading:
            self.worker.waiting.remove(self.sock.fileno())
        if self.writing:
            self.worker.loop.remove_writer(self.sock.fileno())
        self.reading = self.writing = False
        self.worker.deadlines.drop(self)
        self.leave()
        if patience is None:
            self.sock.close()
        else:
            self.flush()
            self.worker.lingering.close(self.sock, patience)

    def forget(self) -> None:
        """Remove it."""
        self.worker.forget(self)
