"""Requests that another worker relays: the target's end of a pair (see `processes.relay`).

The front has the client; here is an HTTP/1 connection over a socket that speaks in records. The
front is believed about the client, for the one virtual host of the supervisor's pair: the process
that ends a virtual host's connections could change what its clients say anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from dataclasses import replace

from ownhost.http.message import Head, HTTPError, Response
from ownhost.http.tls import TLSFacts
from ownhost.processes.mailbox import Handover
from ownhost.processes.relay import records
from ownhost.processes.relay.pool import TARGET_KEEPS
from ownhost.processes.relay.records import (
    MOST,
    Asked,
    Conversation,
    End,
    Kind,
    NamedIdentity,
    Origin,
    Record,
    RecordError,
)
from ownhost.processes.worker.connection import Connection
from ownhost.processes.worker.conversation import Event, State
from ownhost.processes.worker.sending import SEND, Sending
from ownhost.processes.worker.service import Service
from ownhost.processes.worker.shared import Shared
from ownhost.request.request import Endpoints, Level, Request

HTTP2 = "HTTP/2.0"
SHORT = 16_384  # bytes that wait for what follows them
DONT_WAIT = int(socket.MSG_DONTWAIT)
LAST_WORDS = 10.0  # seconds for the front to take the end of an answer


class RecordSocket:
    """The target's end of a pair, with the socket methods that are used here; it never blocks.

    After BlockingIOError the same data must come again, as with TLS. Short data waits for what
    follows in the same turn of the event loop, so a small answer is one record and one system call.
    An answer's end needs no second call: the event loop sends the part without room.
    """

    __slots__ = (
        "_closing",
        "_conversation",
        "_due",
        "_loop",
        "_pending",
        "_rest",
        "_short",
        "_shutting",
        "_sock",
        "_taken",
        "asked",
        "corked",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._conversation = Conversation()
        self._taken = False  # there is one, and its front does not know yet
        self._short = b""  # of an answer: no record yet
        self._rest = b""  # of records: not sent yet
        self._pending = 0  # bytes of an answer in it that were not reported as sent
        self._due = False  # it is sent at the turn's end
        self._closing = False
        self._shutting = False  # the stream ends after these bytes
        self.corked = False  # the caller says when this turn's data is complete (`uncork`)
        self.asked: Asked | None = None  # a new request: taken by the virtual host that serves it

    def __repr__(self) -> str:
        return f"<{self._conversation!r}, descriptor {self.fileno()}>"

    def fileno(self) -> int:
        """The descriptor, for an event loop; -1 once it is closed."""
        return self._sock.fileno()

    @property
    def is_asked(self) -> bool:
        """Whether a request waits to be taken."""
        return self._conversation.state is records.State.ASKED and not self._taken

    def recv(self, size: int, flags: int = 0) -> bytes:
        """The bytes of a request; b"" at the end of the stream. Raises OSError, also for an invalid record."""
        data = self._sock.recv(size, flags | DONT_WAIT)
        if not data:
            return b""
        found = b""
        try:
            for record in self._conversation.feed(data):
                found += self._take(record)
        except RecordError as error:
            raise ConnectionAbortedError(str(error)) from None
        if not found:
            raise BlockingIOError
        return found

    def _take(self, record: Record) -> bytes:
        if record.kind is Kind.REQUEST:
            self.asked = Asked.from_bytes(record.data)
            return self.asked.head
        if record.kind is not Kind.BODY:
            raise RecordError(f"{record.kind.name} from a front")
        return record.data

    def send(self, data: bytes | bytearray | memoryview, _flags: int = 0) -> int:
        """Send some of an answer. Returns how much. Raises OSError."""
        if not self._pending and len(self._rest) + len(self._short) + len(data) < SHORT:
            self._short += data
            self._soon()
            return len(data)
        if not self._pending:
            self._collect()
            some = memoryview(data)[:MOST]
            self._rest += self._says(Kind.DATA, some)
            self._pending = len(some)
        self._flush()
        if self._rest:
            raise BlockingIOError
        sent, self._pending = self._pending, 0
        return sent

    def take(self) -> None:
        """Take the waiting request: the front is told within this turn."""
        self._taken = True
        self._soon()

    def pass_on(self, whose: NamedIdentity) -> None:
        """Name the identity of the waiting request. Raises OSError."""
        self._add(self._says(Kind.OTHER_IDENTITY, whose.to_bytes()))

    def tunnel(self) -> None:
        """From here on both sides speak another protocol. Raises OSError."""
        self._collect()
        self._add(self._says(Kind.TUNNEL))

    def end_answer(self, end: End) -> None:
        """The answer is complete. Raises OSError."""
        if self._taken:
            whole, self._short, self._taken = end.to_bytes() + self._short, b"", False
            self._add(self._says(Kind.WHOLE, whole))
        else:
            self._collect()
            self._add(self._says(Kind.END, end.to_bytes()))

    def uncork(self) -> None:
        """Send this turn's data, unless it was sent already: usually it was."""
        self.corked = False
        if self._taken or self._short:
            self._soon()

    def shutdown(self, _how: int = socket.SHUT_WR) -> None:
        """Nothing more will be sent: HTTP shows it by the end of an answer, another protocol by the stream's end."""
        if self._conversation.state is records.State.TUNNELLED:
            self._shutting = True
            with contextlib.suppress(OSError):
                self._collect()
                self._add(b"")

    def close(self) -> None:
        """Close, after all was sent."""
        with contextlib.suppress(OSError):
            self._collect()
        if self._rest and not self._closing:
            self._closing = True
            self._loop.call_later(LAST_WORDS, self._close)
            self.corked = False
            self._soon()
        elif not self._rest:
            self._close()

    def _collect(self) -> None:
        """Turn data into records. Raises OSError."""
        if self._taken:
            self._taken = False
            self._rest += self._says(Kind.TAKEN)
        if self._short:
            short, self._short = self._short, b""
            self._rest += self._says(Kind.DATA, short)

    def _says(self, kind: Kind, data: bytes | memoryview = b"") -> bytes:
        try:
            return self._conversation.says(kind, data)
        except RecordError as error:
            raise ConnectionAbortedError(str(error)) from None

    def _soon(self) -> None:
        if not self._due and not self.corked:
            self._due = True
            self._loop.call_soon(self._at_turn_end)

    def _at_turn_end(self) -> None:
        self._due = False
        if self._pending or self._sock.fileno() < 0:
            return
        try:
            self._collect()
            if self._rest:
                self._add(b"")
        except OSError:  # the next sender or reader is told more
            self._rest = b""
        if self._closing and not self._rest:
            self._close()

    def _add(self, said: bytes) -> None:
        self._rest += said
        self._flush()
        if self._rest:
            self._loop.add_writer(self._sock.fileno(), self._go_on)

    def _go_on(self) -> None:
        try:
            self._flush()
        except OSError:
            self._rest = b""
        if not self._rest:
            self._loop.remove_writer(self._sock.fileno())
            if self._closing:
                self._close()

    def _flush(self) -> None:
        if self._rest:
            try:
                sent = self._sock.send(self._rest, SEND)
            except BlockingIOError:
                return
            self._rest = self._rest[sent:]
        if self._shutting and not self._rest:
            self._sock.shutdown(socket.SHUT_WR)

    def _close(self) -> None:
        if self._sock.fileno() >= 0:
            if self._closing:
                self._loop.remove_writer(self._sock.fileno())
            self._sock.close()


@functools.lru_cache(maxsize=256)
def read_origin(origin: bytes, server: int) -> tuple[Endpoints, str]:
    """The ends of a client's connection, for a virtual host, and its protocol ("" is HTTP/1).

    Successive requests have the same. Raises RecordError, ValueError.
    """
    read = Origin.from_bytes(origin)
    ends = Endpoints(
        read.client, read.client_port, read.local, read.local_port, peer=read.peer, peer_port=read.peer_port
    )
    if read.tls:
        # This process knows whose key was used: no other word about it is believed.
        ends.secure, ends.known = True, replace(TLSFacts.from_text(read.tls), server=server)
    return ends, read.protocol


class RelayedConnection(Connection):
    """Requests of other workers' clients, one after another on one pair."""

    __slots__ = ("protocol",)

    sock: RecordSocket
    relayed = True
    lingers = False

    def __init__(self, worker: Shared, sock: socket.socket, handover: Handover) -> None:
        super().__init__(worker, RecordSocket(worker.loop, sock), handover)
        self.service = worker.services.get(handover.server)
        self.protocol = ""  # the client's protocol, if it is not HTTP/1

    def receive(self) -> Event | None:
        """Read the request, and the front's word about its client."""
        event = super().receive()
        try:
            self.meet()
        except (RecordError, ValueError) as error:
            self.log(Level.ERROR, "core", f"a relayed request that does not say where it comes from: {error}")
            return Event.GONE
        return event

    def proceed(self, event: Event | None) -> None:
        """Run the next steps. Short data is sent when this turn's data is complete."""
        self.sock.corked = True
        try:
            super().proceed(event)
        finally:
            self.sock.uncork()

    def meet(self) -> None:
        """Handle the front's word about the client. Raises RecordError, ValueError."""
        asked, self.sock.asked = self.sock.asked, None
        if asked is not None:
            self.handled = asked.handled
            self.endpoints, self.protocol = read_origin(asked.origin, self.server)

    def answer(self) -> Event | None:
        """Find who answers, and with what: in the client's protocol."""
        if self.protocol == HTTP2:
            self.talk.head.major, self.talk.head.minor = 2, 0
        return super().answer()

    def find(self, head: Head) -> Service | None:  # noqa: ARG002 - the pair says it
        """The virtual host that the pair was made for, and no other. Raises HTTPError."""
        service = self.worker.services.get(self.server)
        if service is None:
            raise HTTPError(421, "a relayed request for a virtual host that is not served here")
        return service

    def taken(self) -> None:
        """Tell the front that the request is answered here."""
        if self.sock.is_asked:
            self.sock.take()

    def send(self, service: Service, request: Request, response: Response) -> Event | None:
        """Send an answer, or have it made: the request is answered here."""
        self.taken()
        return super().send(service, request, response)

    def pass_on(self) -> Event | None:
        """Tell the front which identity the request has instead; it asks there."""
        assert self.request is not None
        assert self.request.assignment is not None
        assignment, self.request = self.request.assignment, None
        try:
            self.sock.pass_on(NamedIdentity(assignment.user or "", assignment.group or "", assignment.nice))
        except OSError:
            return Event.GONE
        return Event.NOTHING

    def tunnel(self) -> None:
        """Tell the front that another protocol begins. Raises OSError."""
        self.sock.tunnel()

    def deadline(self) -> float:
        """When to give up waiting for a request: the front closes unused pairs earlier."""
        if self.talk.state in (State.NEW, State.HEAD, State.IDLE):
            return self.talk.waiting_since + TARGET_KEEPS
        return super().deadline()

    def over(self, sending: Sending, *, aborted: bool) -> Event:
        """A response was sent: another request may come, if all of this one was read and all of the response sent."""
        again = not aborted and not self.talk.last and (sending.keep or not sending.request.head.has_body)
        if not aborted:
            try:
                self.sock.end_answer(End(sending.keep, again))
            except OSError:  # after a switch of protocols only the pair's end counts
                again = False
        return Event.KEPT if again else Event.LAST
