"""Requests that another identity of the virtual host is to answer: this worker has the client, and is a relay's front.

The supervisor makes the pair: it knows who a name is, and whether the virtual host may be served as that. It answers
with this worker's end; the other one is in a mailbox by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ownhost.apps.http_client import BackendError, Content, Event, Exchange, Interim
from ownhost.apps.http_client import End as Complete
from ownhost.apps.http_client import Head as ResponseHead
from ownhost.http.body import BodyReader
from ownhost.http.framing import LAST_CHUNK, chunk
from ownhost.http.message import ClientGone, Head, HTTPError, Response
from ownhost.identity.identity import Assignment
from ownhost.processes.messages import Relay
from ownhost.processes.relay.copying import Copying
from ownhost.processes.relay.pool import Pool
from ownhost.processes.relay.records import Asked, Kind, Origin, RecordError
from ownhost.processes.relay.records import End as AnswerEnd
from ownhost.processes.relay.stream import RelayLost, RelayStream
from ownhost.processes.worker.sending import Sender, receive
from ownhost.request.request import Request

if TYPE_CHECKING:
    import socket

    from ownhost.processes.worker.client import Client
    from ownhost.processes.worker.connection import Connection
    from ownhost.processes.worker.h2_answering import Answering
    from ownhost.processes.worker.service import Service
    from ownhost.processes.worker.worker import Worker

AT_ONCE = 32  # questions to the supervisor that are not answered yet; the rest waits here
MAX_WAIT = 10.0  # seconds until a request that nobody takes is answered 503
AGAIN = 0.05  # seconds until a full mailbox is tried again
MAX_MOVES = 4  # of one request between identities, before it is a 500
REMEMBERED_FOR = 2.0  # seconds that a refusal is remembered: accounts come to be
MOST_REMEMBERED = 1_024
PATIENCE = 86_400.0  # seconds without a byte: the target has time-outs of its own

Target = tuple[int, Assignment]  # the id of the virtual host, and whom a request of it is to be served as


class Refused(Exception):
    """Nobody may serve a request as that. The message says why, for the error log."""


class FullMailbox(Exception):
    """Who is to serve a request has too many that wait."""


class Relays:
    """A worker's pairs, and its questions to the supervisor."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.pool: Pool[Target] = Pool(worker.loop, self.obtain)
        self._asked: dict[int, asyncio.Future[socket.socket]] = {}  # by serial number
        self._waiting: deque[asyncio.Future[None]] = deque()  # whoever may ask next
        self._refused: dict[Target, tuple[str, float]] = {}  # why, and until when it is remembered
        self._serial = 0

    async def obtain(self, target: Target) -> RelayStream:
        """A new pair with whoever serves a virtual host as that. Raises Refused, TimeoutError, OSError."""
        reason, until = self._refused.get(target, ("", 0.0))
        if time.monotonic() < until:
            raise Refused(reason)
        while True:
            try:
                return RelayStream(self.worker.loop, await self._ask(target))
            except FullMailbox:
                await asyncio.sleep(AGAIN)
            except Refused as refused:
                if len(self._refused) >= MOST_REMEMBERED:
                    self._refused.clear()
                self._refused[target] = str(refused), time.monotonic() + REMEMBERED_FOR
                raise

    async def _ask(self, target: Target) -> socket.socket:
        while len(self._asked) >= AT_ONCE:
            turn = self.worker.loop.create_future()
            self._waiting.append(turn)
            await turn
        self._serial += 1
        serial = self._serial
        answer: asyncio.Future[socket.socket] = self.worker.loop.create_future()
        self._asked[serial] = answer
        server, who = target
        try:
            self.worker.channel.send(Relay(serial, server, who.user or "", who.group or "", who.nice))
        except BlockingIOError:
            self._done(serial)
            raise FullMailbox from None
        except OSError:
            self._done(serial)
            raise
        return await answer  # `take` or `refuse` gives it, whoever still waits for it

    def take(self, serial: int, sock: socket.socket) -> None:
        """The supervisor has made a pair."""
        answer = self._done(serial)
        if answer is None or answer.done():
            sock.close()
        else:
            answer.set_result(sock)

    def refuse(self, serial: int, reason: str) -> None:
        """The supervisor has made none: why not, or "" where the mailbox is full."""
        answer = self._done(serial)
        if answer is not None and not answer.done():
            answer.set_exception(Refused(reason) if reason else FullMailbox())

    def _done(self, serial: int) -> asyncio.Future[socket.socket] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        return self._asked.pop(serial, None)


async def find_target(
    client: Client, service: Service, head: Head, raw: bytes, assignment: Assignment
) -> tuple[Target, RelayStream] | None:
    """Who takes a request that names alone give to another identity; None where that is this worker after all.

    `raw` is the request's head as HTTP/1 has it. Raises HTTPError: 500 where nobody may or will serve it, 503.
    """
    relays, server = client.worker.relays, service.site.virtual_host.id
    asked = Asked.of(origin_of(client, head), client.handled, raw)
    try:
        async with asyncio.timeout(MAX_WAIT):
            for _ in range(MAX_MOVES):
                target = server, assignment
                stream, whose = await relays.pool.ask(target, asked)
                if whose is None:
                    return target, stream
                relays.pool.keep(target, stream)
                assignment = Assignment(whose.user or None, whose.group or None, whose.nice)
                if service.site.is_mine(assignment):
                    return None
    except Refused as refused:
        raise HTTPError(500, str(refused), module="mpm_itk") from None
    except TimeoutError:
        raise HTTPError(503, f"whoever serves {describe(assignment)} takes no request") from None
    except RelayLost as lost:
        raise HTTPError(503, f"whoever serves {describe(assignment)} took no request: {lost}") from None
    except OSError as error:
        raise HTTPError(503, f"the supervisor cannot be asked: {error.strerror}") from None
    raise HTTPError(500, f"a request was passed on {MAX_MOVES} times and belongs nowhere")


def describe(assignment: Assignment) -> str:
    """An assignment, for the log."""
    return f"user {assignment.user or '(User)'}, group {assignment.group or '(Group)'}"


def origin_of(client: Client, head: Head) -> Origin:
    """What is known of a client and its connection, for a target."""
    ends = client.endpoints
    tls = ends.tls.to_text() if ends.tls is not None else ""
    spoken = head.protocol if head.major > 1 else ""
    here = ends.client, ends.client_port, ends.local, ends.local_port
    return Origin(*here, tls, spoken, ends.peer, ends.peer_port)


# HTTP/2: the request as HTTP/1 has it, and a response out of what the client would see of HTTP/1.


def head_as_http1(head: Head) -> bytes:
    """A request's head as HTTP/1.1 has it."""
    fields = [f"{name}: {value}" for name, value in head.fields]
    if head.chunked:
        fields.append("transfer-encoding: chunked")
    return "\r\n".join((f"{head.method} {head.target} HTTP/1.1", *fields, "", "")).encode("latin-1")


class RelayedAnswer:
    """The answer to a request that its target has taken, as a response whose body comes (http.message.Stream)."""

    def __init__(self, stream: Answering, request: Request, target: Target, relay: RelayStream) -> None:
        self.stream = stream
        self.target = target
        self.relay: RelayStream | None = relay
        self.length: int | None = None
        self._exchange = Exchange()
        # What it is told of the request is what matters for the response: its method.
        self._exchange.request(request.head.method, "/", [("Host", "relay")], 0)
        self._exchange.end_of_body()
        self._pieces: list[bytes] = []  # of the body, that came with the head
        self._upload = asyncio.ensure_future(self._send_body(relay))

    async def begin(self) -> Response:
        """The response. Raises HTTPError."""
        try:
            while True:
                for event in await self._more():
                    match event:
                        case ResponseHead():
                            self.length = event.content_length
                            ours = ("server", "date")  # the connection says them
                            fields = [field for field in event.fields if field[0].lower() not in ours]
                            return Response(event.status, fields, self)
                        case Interim(status=100):
                            self.stream.go_ahead()
        except RelayLost as lost:
            self.close()
            raise HTTPError(502, f"a relayed request was not answered: {lost}") from None
        except BaseException:
            self.close()
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._pieces or self.relay is not None:
            pieces, self._pieces = self._pieces, []
            for piece in pieces:
                yield piece
            if self.relay is None:
                return
            try:
                await self._more()
            except RelayLost:
                raise ClientGone from None  # what was announced cannot be kept

    def close(self) -> None:
        """Nobody reads it any more, or all of it was read."""
        self._upload.cancel()
        relay, self.relay = self.relay, None
        if relay is not None:
            relay.close()

    async def _more(self) -> list[Event]:
        """What comes next of it; the body's pieces are set aside. Raises RelayLost."""
        assert self.relay is not None
        try:
            record = await self.relay.read()
            if record.kind is not Kind.DATA:
                raise RelayLost("it switches to another protocol, which HTTP/2 does not know")
            events = self._exchange.feed(record.data)
            self._pieces += [event.data for event in events if isinstance(event, Content)]
            if any(isinstance(event, Complete) for event in events):
                await self._finish(self.relay)
        except (BackendError, RecordError) as error:
            raise RelayLost(str(error)) from None
        return events

    async def _finish(self, relay: RelayStream) -> None:
        """All of it is here: the pair may serve again. Raises RelayLost, RecordError."""
        record = await relay.read()
        if record.kind is not Kind.END:
            raise RelayLost(f"{record.kind.name} behind an answer")
        self.relay = None
        if AnswerEnd.from_bytes(record.data).again and self.stream.incoming.ended:
            await self._upload  # all of it is sent, as all was read: this is but its last step
            self.stream.connection.worker.relays.pool.keep(self.target, relay)
        else:
            relay.close()

    async def _send_body(self, relay: RelayStream) -> None:
        """Pass the request's body on, as it comes."""
        head = self.stream.request.head if self.stream.request is not None else None
        if head is None or not head.has_body:
            return
        with contextlib.suppress(RelayLost, OSError):
            async for piece in self.stream.incoming.pieces():
                await relay.send(chunk(piece) if head.chunked else piece)
            if head.chunked:
                await relay.send(LAST_CHUNK)


async def answer_stream(
    stream: Answering, service: Service, head: Head, request: Request, assignment: Assignment
) -> Response:
    """The response to a HTTP/2 request that another identity is to answer: `head` is as it came. Raises HTTPError."""
    connection = stream.connection
    found = await find_target(connection, service, head, head_as_http1(head), assignment)
    if found is None:
        again = stream.request = Request(head, connection.endpoints, service.site, request.time, request.log)
        return stream.connection.respond(service, again, passed=True)
    stream.relayed = True
    return await RelayedAnswer(stream, request, *found).begin()


# HTTP/1: byte for byte.


async def pass_through(
    connection: Connection, service: Service, head: Head, target: Target, relay: RelayStream
) -> bool:
    """Have a request answered that its target has taken: whether the client's connection goes on.

    Raises ClientGone, OSError where the client has left; HTTPError where the target has, and nothing was answered.
    """
    loop = connection.worker.loop
    receiving = functools.partial(receive, loop, connection.sock, PATIENCE)
    sender = Sender(loop, connection.sock, service.timeout)
    begun, connection.talk.buffer = connection.talk.buffer, b""
    copying = Copying(relay, BodyReader(head, service.limits), begun, receiving, sender.send, connection.tunnel)
    connection.copying = copying
    connection.worker.watch.begin(connection)
    try:
        end = await copying.run()
    except RelayLost as lost:
        relay.close()
        if copying.sent:
            raise ClientGone from None
        raise HTTPError(502, f"a relayed request was not answered: {lost}") from None
    except BaseException:
        relay.close()
        raise
    finally:
        connection.worker.watch.end(connection)
        connection.copying = None
        connection.talk.buffer = copying.rest
    if end.again:
        connection.worker.relays.pool.keep(target, relay)
    else:
        relay.close()
    return end.keep
