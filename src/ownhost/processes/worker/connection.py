"""One client's HTTP/1 connection in a worker: requests in, responses out, until it closes.

The first request is read and answered as soon as the connection comes out of the mailbox; where it ends there, no
event-loop object ever exists for it. Whatever can be answered without waiting is answered in one turn: one recv, the
phases, one send. Only what has to wait (a body to read, a client slow to take a response) becomes a task.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Coroutine
from math import inf
from socket import MSG_DONTWAIT, SocketType
from typing import TYPE_CHECKING, Any

from ownhost.http import framing
from ownhost.http.head import head_end, parse_head
from ownhost.http.limits import HeadLimits
from ownhost.http.message import Head, HTTPError, RequestBody, Response, let_go
from ownhost.http.tls import TLSSocket
from ownhost.identity.identity import Assignment
from ownhost.modules.reqtimeout import TOO_LONG
from ownhost.processes.mailbox import Handover
from ownhost.processes.worker import misdirected
from ownhost.processes.worker.client import Client, begin_task, guarded
from ownhost.processes.worker.client_watch import look_at
from ownhost.processes.worker.incoming import Incoming
from ownhost.processes.worker.pump import in_clear
from ownhost.processes.worker.relaying import relay
from ownhost.processes.worker.sending import SEND, Gone, Sender, Sending, Window, push
from ownhost.processes.worker.waiting import READ, WRITE
from ownhost.request import bugs
from ownhost.request.request import Elsewhere, Level, Request
from ownhost.request.serve import complete, error_response

if TYPE_CHECKING:
    from ownhost.processes.relay.copying import Copying
    from ownhost.processes.worker.h2_output import Transport
    from ownhost.processes.worker.service import Service
    from ownhost.processes.worker.worker import Worker

READ_SIZE = 65_536  # bytes per recv
RECEIVE = int(MSG_DONTWAIT)
LAST_MOMENT = 2.0  # seconds that a client may still take to ask something, or to end its handshake, at a stop


class Connection(Client):
    """A HTTP/1 connection and where it stands."""

    __slots__ = (
        "buffer",
        "closed",
        "copying",
        "ended_since",
        "first_byte",
        "head_size",
        "incoming",
        "request",
        "sending",
        "sock",
        "task",
        "waiting_since",
        "watched",
        "window",
    )

    def __init__(self, worker: Worker, sock: Transport, handover: Handover) -> None:
        super().__init__(worker, handover)
        self.sock = sock
        self.buffer = b""  # received and not used
        self.request: Request | None = None  # being answered
        self.sending: Sending | None = None  # its response, once some of it may be out
        self.incoming: Incoming | None = None  # the body of the request being answered, if it was begun to be read
        self.head_size = 0  # bytes of the last request's head
        self.watched = 0  # what it is watched for: READ, WRITE, or nothing
        self.ended_since = 0.0  # loop time since when it is known that the client will say no more; 0 for not
        self.closed = False
        self.copying: Copying | None = None  # a request that another identity answers
        self.task: asyncio.Task[None] | None = None
        self.waiting_since = 0.0  # loop time
        self.window: Window | None = None  # of the file that was sent last: the next request may be for it, too
        self.first_byte = 0.0  # loop time of the first byte of an incomplete head; 0 for none

    # Reading

    @guarded
    def begin(self) -> None:
        try:
            self.buffer = self.sock.recv(READ_SIZE, RECEIVE)
        except BlockingIOError:
            self.wait()
            return
        except OSError:
            self.close()
            return
        if self.buffer:
            self.serve()
        else:
            self.close()

    @guarded
    def on_readable(self) -> None:
        """More bytes are here, or the client's end of the stream."""
        if self.task is not None:
            self.leave_for_later()
            return
        try:
            data = self.sock.recv(READ_SIZE, RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self.cut_off()
            return
        self.buffer = self.buffer + data if self.buffer else data
        self.serve()

    def cut_off(self) -> None:
        """The client has ended its stream. Where a request was begun, and be it a line of one, it is told so."""
        if b"\n" in self.buffer.lstrip(b"\r\n"):
            self.refuse(HTTPError(400, "the client ended its stream within a request's head"))
        else:
            self.close()

    def leave_for_later(self) -> None:
        """While a program is at work: let a further request wait."""
        self.pause()
        self.look_at_client()

    def serve(self) -> None:
        """Answer every complete request in the buffer, for as long as nothing has to be waited for."""
        if not self.worker.load_is_watched:
            self.worker.watch_load()
        while True:
            end = head_end(self.buffer)
            if end < 0 and not self.too_long():
                self.wait()
                return
            try:
                head = self.read_head(self.buffer[:end] if end >= 0 else self.buffer)
                service = self.find(head)
            except HTTPError as error:
                self.refuse(error)
                return
            if service is None:
                self.turn_away(head)
                return
            self.service = service
            request = self.request = Request(head, self.endpoints, service.site, time.time(), self.log)
            self.fresh = False
            self.first_byte = 0.0
            try:
                response = self.respond(service, request)
            except Elsewhere as elsewhere:
                raw, self.buffer = self.buffer[:end], self.buffer[end:]
                self.head_size = end
                self.pass_on(head, raw, elsewhere.assignment)
                return
            self.taken()
            self.buffer = self.buffer[end:]
            self.head_size = end
            if not self.send_response(service, request, response) or self.closed:
                return
            if not self.buffer:
                self.wait()
                return

    def read_head(self, data: bytes) -> Head:
        """A request's head. Raises HTTPError."""
        return parse_head(data, self.limits)

    def find(self, head: Head) -> Service | None:
        """The virtual host of a request; None where that is somebody else's. Raises HTTPError."""
        return self.worker.find(self, head)

    def taken(self) -> None:
        """The request is answered here."""

    def turn_away(self, head: Head) -> None:
        """End a connection whose next request is for a name of another owner's."""
        match misdirected.ending(head.method, first=self.fresh):
            case misdirected.Ending.DISAGREEMENT:
                self.refuse(HTTPError(400, f"the gate did not read {head.host!r} as this request's host"))
            case misdirected.Ending.IN_SILENCE:
                self.log(Level.DEBUG, "core", f"the connection ends: its next request is for {head.host!r}")
                self.close(linger=True)
            case misdirected.Ending.SAID:
                self.refuse(HTTPError(421, f"{head.host!r} is not served on this connection"))

    @property
    def limits(self) -> HeadLimits:
        """What a head may be, by the last virtual host that was chosen here, or by the one that a gate chose."""
        worker = self.worker
        return (self.service or worker.services.get(self.server) or worker.default).limits

    def too_long(self) -> bool:
        """Whether an incomplete head is longer than any complete one may be: parsing it says which limit it broke."""
        return len(self.buffer) > self.limits.total

    def log(self, level: Level, module: str, message: str) -> None:
        """Write to the error log of the virtual host, with the client's address."""
        service = self.service or self.worker.default
        client = f"{self.endpoints.client}:{self.endpoints.client_port}"
        service.error_log.log(level, module, message, client, self.request)

    # Answering

    def pass_on(self, head: Head, raw: bytes, assignment: Assignment) -> None:
        """Have another identity of the virtual host answer a request, whose head is `raw`."""
        self.begin_task(relay(self, head, raw, assignment))

    def relay_is_over(self, *, keep: bool) -> None:
        """An answer is out that another identity's worker has made and logged."""
        self.task = self.request = None
        self.handled += 1
        self.worker.deadlines.drop(self)
        if keep:
            self.resume()
        else:
            self.close(linger=True)

    async def run_program(self, service: Service, request: Request, response: Response) -> None:
        """Answer a request whose response a program makes."""
        self.incoming = incoming = Incoming(self, service, request)
        watch = self.worker.watch
        watch.begin(self)
        try:
            response = await complete(request, response, incoming)
        except (Gone, OSError, asyncio.CancelledError):
            self.incoming = None
            self.task = None
            self.finish(Sending(request, Response(499), keep=False, head_in=self.head_size), aborted=True)
            return
        finally:
            watch.end(self)
            incoming.close()
        if response.tunnel is not None and request.head.major > 1:
            response = error_response(request, HTTPError(502, "a switch of protocols, which HTTP/2 does not know"))
        if response.tunnel is not None:
            await self.switch(service, request, response)
            return
        self.task = None
        if self.send_response(service, request, response) and not self.closed:
            self.resume()

    async def switch(self, service: Service, request: Request, response: Response) -> None:
        """101: leave the connection to another protocol, until one side ends it."""
        assert response.tunnel is not None
        self.pause()
        sending = Sending(request, response, keep=False, head_in=self.head_size)
        self.sending = sending
        response.prepared = framing.prepare(response, service.token)
        sending.head = framing.head_bytes(response, framing.UPGRADE)
        sender = Sender(self.worker.loop, self.sock, service.timeout)
        data, self.buffer = self.buffer, b""
        try:
            self.tunnel()
            await sender.send(sending.head)
            if isinstance(self.sock, SocketType):
                self.sock.setblocking(False)
                await response.tunnel(self.sock, data)
            else:
                async with in_clear(self.worker.loop, self.sock, service.timeout) as sock:
                    await response.tunnel(sock, data)
        except (Gone, OSError):
            sending.aborted = True
        sending.sent = sender.sent
        self.task = None
        self.finish(sending, sending.aborted)

    def tunnel(self) -> None:
        """Another protocol is spoken from now on."""

    @guarded
    def look_at_client(self) -> None:
        """See whether anybody waits for what a program, or another worker, is at work on."""
        look_at(self)

    def send_response(self, service: Service, request: Request, response: Response) -> bool:
        """Send a response, at once if it goes. False where a task has taken over."""
        head = request.head
        if head.has_body and self.incoming is None and response.deferred is None:
            if head.expect_continue and not self.buffer:
                response.close = True  # the body may come or not, there is no telling (RFC 9110, 10.1.1)
            elif not response.close and (head.keep_alive or response.status < 400):
                response = self.once_read(response)
        if response.deferred is not None:
            # Without a body nobody reads meanwhile, and watching costs less than to stop it and to begin again.
            self.begin_task(self.run_program(service, request, response), pause=head.has_body)
            return False
        keep = service.keeps(head, response, self.handled) and not self.worker.stopping
        sending = Sending(request, response, keep, head_in=self.head_size)
        data = service.frame(sending, self.handled)
        self.sending = sending
        sending.window, self.window = self.window, None
        if sending.file is not None:
            sending.left.extend((data, *sending.file.parts))
            return self.push(sending)
        if not keep and sending.stream is None and isinstance(self.sock, TLSSocket):
            self.sock.ending = True
        try:
            sending.sent = self.sock.send(data, SEND)
        except BlockingIOError:
            pass
        except OSError:
            self.finish(sending, aborted=True)
            return True
        if sending.sent < len(data):
            sending.left.append(data[sending.sent :])
            return self.push(sending)
        return self.sent(sending)

    def push(self, sending: Sending) -> bool:
        """Send what is here of a response. False where it waits for room, or a task has taken over."""
        try:
            done = push(self.sock, sending)
        except BlockingIOError:
            done = False
        except (Gone, OSError):
            self.finish(sending, aborted=True)
            return True
        if done:
            return self.sent(sending)
        self.waiting_since = now = self.worker.loop.time()
        self.worker.deadlines.set(self, now + self.timeout)
        self.watch(WRITE)
        return False

    def sent(self, sending: Sending) -> bool:
        """What is here of a response is out. False where a task sends the rest, or reads that of the request."""
        if sending.stream is not None or (sending.request.head.has_body and sending.keep):
            self.begin_task(self.go_on(sending))
            return False
        self.finish(sending)
        return True

    @guarded
    def on_writable(self) -> None:
        """There is room for more of a response, or the client is gone."""
        assert self.sending is not None
        self.worker.deadlines.drop(self)
        if self.push(self.sending) and not self.closed:
            self.watch(READ)
            self.resume()

    def once_read(self, response: Response) -> Response:
        """A response that is sent once the request's body was read, which nobody wants, as in Apache.

        A body that breaks the rules is found out before the client is told that all is well.
        """

        async def after_body(_: RequestBody) -> Response:
            assert self.incoming is not None
            try:
                await self.incoming.discard()
            except BaseException:
                let_go(response.body)
                raise
            return response

        return Response(response.status, deferred=after_body)

    def refuse(self, error: HTTPError) -> None:
        """Answer a head that is no request (400, 414, 431...), and close: what follows it cannot be told apart."""
        service = self.service or self.worker.default
        end = self.buffer.find(b"\r\n")
        line = self.buffer[: end if end >= 0 else 200].decode("latin-1")
        method = "HEAD" if line.startswith("HEAD ") else "-"  # whose answer has no body, whatever it is
        head = Head(method, "-", 0, "", "/", None, [], {}, keep_alive=False)
        request = Request(head, self.endpoints, service.site, time.time(), self.log)
        self.service, self.request = service, request
        self.head_size, self.buffer = len(self.buffer), b""
        self.reply(error_response(request, error), line)

    def reply(self, response: Response, line: str | None = None) -> None:
        """Send a short response to what is not answered as usual, and close. `line` is of what is no request."""
        service, request = self.service, self.request
        assert service is not None
        assert request is not None
        if response.deferred is not None:  # a program makes the page
            self.begin_task(self.run_program(service, request, response))
            return
        response.close = True
        sending = Sending(request, response, keep=False, line=line, head_in=self.head_size)
        data = service.frame(sending, self.handled)
        self.sending = sending
        try:
            sending.sent = self.sock.send(data, SEND)
        except OSError:
            self.finish(sending, aborted=True)
            return
        self.finish(sending)

    def finish(self, sending: Sending, aborted: bool = False) -> None:
        """A response is out, or the client left: log it, then close or be ready for the next request."""
        sending.keep = sending.keep and not aborted and not self.worker.stopping
        service = self.service or self.worker.default
        if sending.keep and sending.file is not None:
            self.window, sending.window = sending.window, None
        sending.close()
        if not self.record(service, sending, aborted=aborted):
            sending.keep = False
        self.request = self.incoming = self.sending = None
        if not self.handled:  # from now on it is KeepAliveTimeout, which may be less
            self.worker.deadlines.drop(self)
        self.handled += 1
        self.end(sending, aborted=aborted)

    def end(self, sending: Sending, *, aborted: bool) -> None:
        """A response is out and logged: be ready for the next request, or close."""
        if not sending.keep:
            self.close(linger=not aborted)

    # Waiting

    @property
    def timeout(self) -> float:
        """Seconds that the client has to take some of what is sent."""
        return (self.service or self.worker.default).timeout

    def wait(self) -> None:
        """Leave the connection to the event loop until there is more."""
        worker = self.worker
        now = worker.loop.time()
        if self.buffer and not self.first_byte:
            self.first_byte = now
        self.waiting_since = now
        self.watch(READ)
        if worker.deadlines.moment(self) == inf:
            worker.deadlines.set(self, self.deadline())

    def deadline(self) -> float:
        """When to give up waiting, in loop time: KeepAliveTimeout between requests, RequestReadTimeout within one."""
        service = self.service or self.worker.default
        if self.first_byte or not self.handled:
            deadline = service.read_timeout.head_deadline(self.first_byte or self.waiting_since, len(self.buffer))
            return min(deadline, self.waiting_since + service.timeout)
        return self.waiting_since + service.keep_alive_timeout

    @guarded
    def check_time(self) -> None:
        """There is one moment per connection, not one per request, so it may turn out that there is time left."""
        if not self.watched or self.task is not None:
            return  # a task is at work; `wait` sets another moment
        if self.watched == WRITE:
            assert self.sending is not None
            self.finish(self.sending, aborted=True)
            return
        deadline = self.deadline()
        if deadline > self.worker.loop.time():
            self.worker.deadlines.set(self, deadline)
        elif self.first_byte:
            self.refuse(HTTPError(408, TOO_LONG.format("header"), module="reqtimeout"))
        else:
            self.close(linger=True)

    def begin_task(self, work: Coroutine[Any, Any, None], *, pause: bool = True) -> None:
        """Leave the connection to a task: nothing is read meanwhile but by it."""
        if pause:
            self.pause()
        self.worker.adopt(self)
        self.task = begin_task(self.worker.loop, work, self)

    def take_over_watch(self) -> None:
        """The connection is watched already, for whoever had it before: that is not begun anew."""
        self.watched = READ
        self.worker.adopt(self)
        self.worker.waiting.replace(self.sock.fileno(), self.on_readable)

    def watch(self, event: int) -> None:
        """Have it watched for bytes (READ) or for room (WRITE), and for nothing else."""
        if self.watched == event:
            return
        waiting, descriptor = self.worker.waiting, self.sock.fileno()
        callback = self.on_readable if event == READ else self.on_writable
        if self.watched:
            waiting.change(descriptor, callback, event)
        else:
            self.worker.adopt(self)
            waiting.add(descriptor, callback, event)
        self.watched = event

    def pause(self) -> None:
        """Stop watching."""
        if self.watched:
            self.watched = 0
            self.worker.waiting.remove(self.sock.fileno())

    async def go_on(self, sending: Sending) -> None:
        """Send what a program says, and read what is left of a request, once what is here of its response is out."""
        service = self.service
        assert service is not None
        sender = Sender(self.worker.loop, self.sock, service.timeout)
        if self.incoming is not None:
            self.worker.watch.begin(self)  # a program may be at work on the rest
        try:
            if sending.stream is not None:
                await sender.send_stream(sending.stream, chunked=sending.request.head.knows_chunks)
            if sending.request.head.has_body and sending.keep:
                incoming = self.incoming or Incoming(self, service, sending.request)
                await incoming.discard()
                sending.received = incoming.received
        except (Gone, OSError, asyncio.CancelledError):
            sending.aborted = True
        except HTTPError as error:
            # The body broke the rules after its response was sent: nothing more to say, but the end.
            self.log(error.level, error.module, error.reason)
            sending.keep = False
        finally:
            sending.sent += sender.sent
            self.worker.watch.end(self)
        self.task = None
        self.finish(sending, sending.aborted)
        if sending.keep:
            self.resume()

    def resume(self) -> None:
        """After a task: go on with what is in the buffer, or wait."""
        if self.buffer:
            self.serve()
        else:
            self.wait()

    # Leaving

    def broke(self, error: Exception) -> None:
        """Something raised that must not: a 500 where nothing was sent, and in any case the connection's end."""
        bugs.report(self.log, error)
        self.task = None
        try:
            self.pause()
            if self.closed:
                return
            if self.sending is not None:
                self.finish(self.sending, aborted=True)
            elif self.request is not None:
                self.reply(error_response(self.request, HTTPError(500)))
            elif self.buffer:
                self.refuse(HTTPError(500))
            else:
                self.close()
        except Exception as another:
            bugs.report(self.log, another)
            self.close()

    def close_if_idle(self, *, at_once: bool = False) -> None:
        if self.watched == READ and self.task is None and not self.buffer:
            if self.handled or at_once:
                self.close(linger=True)
            else:
                self.worker.loop.call_later(LAST_MOMENT, functools.partial(self.close_if_idle, at_once=True))

    def close(self, *, linger: bool = False) -> None:
        """End it. `linger` is for clients that may still be sending, and have an answer to read."""
        if self.closed:
            return
        self.pause()
        self.closed = True
        self.worker.deadlines.drop(self)
        self.leave()
        self.window = None
        if linger and self.lingers:
            self.worker.lingering.close(self.sock)
        else:
            self.sock.close()
        self.worker.forget(self)
