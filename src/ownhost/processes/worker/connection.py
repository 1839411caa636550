"""One client's HTTP/1 connection in a worker: requests in, responses out, until it closes. `conversation` decides.

The first request is read and answered as soon as the connection comes out of the mailbox; if it
ends there, no event-loop object ever exists for it. Whatever can be answered without waiting is
answered in one turn: one recv, the phases, one send. Only work that must wait (a body to read, a
client slow to receive a response) becomes a task.
"""

from __future__ import annotations

import time
from collections import deque

from ownhost.http import framing
from ownhost.http.limits import HeadLimits
from ownhost.http.message import Head, HTTPError, RequestBody, Response, let_go
from ownhost.http.tls import TLSSocket
from ownhost.processes.mailbox import Handover
from ownhost.processes.worker.conversation import Event
from ownhost.processes.worker.sending import SEND, Gone, Sending, push
from ownhost.processes.worker.service import Service
from ownhost.processes.worker.shared import Shared
from ownhost.processes.worker.tasks import READ_SIZE, RECEIVE, Tasked
from ownhost.processes.worker.transport import Transport
from ownhost.processes.worker.waiting import READ, WRITE
from ownhost.request.request import Level, OtherIdentity, Request
from ownhost.request.serve import error_response


class Connection(Tasked):
    """Does what its conversation says. A method returns the next event; None if it must be waited for."""

    __slots__ = ("line",)

    def __init__(self, worker: Shared, sock: Transport, handover: Handover) -> None:
        super().__init__(worker, sock, handover)
        self.line: str | None = None  # the request line of an invalid request

    def broken(self) -> Event:
        return self.talk.broken(asked=self.request is not None, begun=self.sending is not None)

    # Reading

    def receive(self) -> Event | None:
        """Read the bytes that are here, and say what they are."""
        try:
            data = self.sock.recv(READ_SIZE, RECEIVE)
        except BlockingIOError:
            return None if self.watched else Event.NOTHING
        except OSError:
            return Event.GONE
        if not self.worker.load_is_watched:
            self.worker.watch_load()
        return self.talk.received(data, self.limits) if data else self.talk.ended()

    def go_on(self) -> Event | None:
        """A response was sent: look for the next request, or wait for it."""
        if self.talk.buffer:
            return self.talk.received(b"", self.limits)
        self.wait()
        return None

    def listen_again(self) -> Event | None:
        """The same, after a wait for room."""
        self.worker.deadlines.drop(self)
        self.watch(READ)
        return self.go_on()

    def look_behind(self) -> None:
        """While a program works: leave a further request unread."""
        self.pause()
        self.look_at_client()

    @property
    def limits(self) -> HeadLimits:
        """The limits on a head, of the last virtual host that was chosen here, or of the one that a gate chose."""
        worker = self.worker
        return (self.service or worker.services.get(self.server) or worker.default).limits

    def log(self, level: Level, module: str, message: str) -> None:
        """Write to the error log of the virtual host, with the client's address."""
        service = self.service or self.worker.default
        client = f"{self.endpoints.client}:{self.endpoints.client_port}"
        service.error_log.log(level, module, message, client, self.request)

    # Answering

    def answer(self) -> Event | None:
        """Find who answers the request, and with what."""
        talk = self.talk
        head = talk.head
        try:
            service = self.find(head)
        except HTTPError as error:
            return talk.refused(error)
        if service is None:
            return talk.misdirected(first=self.fresh)
        self.service = service
        request = self.request = Request(head, self.endpoints, service.site, time.time(), self.log)
        self.fresh = False
        talk.buffer = talk.buffer[len(talk.raw) :]
        talk.first_byte = 0.0
        try:
            response = self.respond(service, request)
        except OtherIdentity as elsewhere:
            request.assignment = elsewhere.assignment
            return Event.OTHER_IDENTITY
        return self.send(service, request, response)

    def end_in_silence(self) -> None:
        """Make the client repeat the request on another connection."""
        self.log(Level.DEBUG, "core", f"the connection ends: its next request is for {self.talk.head.host!r}")
        self.close_gently()

    def refuse(self) -> Event | None:
        """Answer an invalid request (400, 408, 414, 431...), and close."""
        talk, service = self.talk, self.service or self.worker.default
        error, talk.error = talk.error, None
        assert error is not None
        end = talk.buffer.find(b"\r\n")
        line = self.line = talk.buffer[: end if end >= 0 else 200].decode("latin-1")
        method = "HEAD" if line.startswith("HEAD ") else "-"  # whose response has no body, whatever it is
        talk.head = head = Head(method, "-", 0, "", "/", None, [], {}, keep_alive=False)
        talk.raw, talk.buffer = talk.buffer, b""
        request = Request(head, self.endpoints, service.site, time.time(), self.log)
        self.service, self.request = service, request
        return self.send_last(service, request, error_response(request, error))

    def apologize(self) -> Event | None:
        """Answer a request in which a bug occurred."""
        request, service = self.request, self.service
        assert request is not None
        assert service is not None
        return self.send_last(service, request, error_response(request, HTTPError(500)))

    def pass_on(self) -> Event | None:
        """Have another identity of the virtual host answer the request."""
        self.begin_task(self.relay())
        return None

    # Sending

    def send_answer(self) -> Event | None:
        """Send the response, now that it is here."""
        return self.send(*self.answering())

    def send_last(self, service: Service, request: Request, response: Response) -> Event | None:
        """Send a response after which the connection ends."""
        response.close = True
        return self.send(service, request, response)

    def send(self, service: Service, request: Request, response: Response) -> Event | None:
        """Send a response, at once if possible."""
        talk, head = self.talk, request.head
        has_body = head.has_body
        if has_body or response.deferred is not None:
            waits_for = talk.waits_for(head, response, read=self.incoming is not None)
            if waits_for is not None:
                self.response = response
                return waits_for
        keep = service.keeps(head, response, self.handled) and not talk.last
        sending = Sending(request, response, keep, line=self.line, head_in=len(talk.raw))
        data = service.frame(sending, self.handled)
        self.sending = sending
        if self.window is not None:
            sending.window, self.window = self.window, None
        if sending.file is not None:
            sending.left = deque((data, *sending.file.parts))
            return self.push()
        if not keep and sending.stream is None and isinstance(self.sock, TLSSocket):
            self.sock.ending = True
        try:
            sending.sent = self.sock.send(data, SEND)
        except BlockingIOError:
            pass
        except OSError:
            return Event.GONE
        if sending.sent < len(data):
            sending.left = deque((data[sending.sent :],))
            return self.push()
        if sending.stream is not None or (keep and has_body):
            return Event.PART
        return self.finish(sending)

    def push(self) -> Event:
        """Send as much of a response as there is room for."""
        sending = self.sending
        assert sending is not None
        try:
            if not push(self.sock, sending):
                return Event.FULL
        except BlockingIOError:
            return Event.FULL
        except (Gone, OSError):
            return Event.GONE
        return Event.PART if sending.has_more else self.finish(sending)

    def wait_for_room(self) -> None:
        """Leave it to the event loop until the client receives more."""
        self.talk.waiting_since = self.worker.loop.time()
        self.worker.deadlines.set(self, self.deadline())
        self.watch(WRITE)

    # What takes time

    def work(self) -> None:
        """Have a program make the response."""
        assert self.request is not None
        # Without a body nothing is read meanwhile, and watching costs less than to stop and start
        # again.
        self.begin_task(self.run_program(), pause=self.request.head.has_body)

    def read_first(self) -> None:
        """Send a response after the request's body was read, which nothing wants, as in Apache.

        An invalid body is noticed before the client is told that all is well.
        """
        response = self.response
        assert response is not None

        async def after_body(_: RequestBody) -> Response:
            assert self.incoming is not None
            try:
                await self.incoming.discard()
            except BaseException:
                let_go(response.body)
                raise
            return response

        self.response = Response(response.status, deferred=after_body)
        self.work()

    def switch(self) -> None:
        """101: another protocol follows."""
        service, request, response = self.answering()
        self.sending = sending = Sending(request, response, keep=False, head_in=len(self.talk.raw))
        response.prepared = framing.prepare(response, service.token)
        head = sending.head = framing.head_bytes(response, framing.UPGRADE)
        self.begin_task(self.speak(sending, head))

    def stream(self) -> None:
        """Send a program's output, and read the rest of a request, after what is here of its response is sent."""
        self.begin_task(self.send_rest())

    # Leaving

    def be_last(self) -> None:
        """The worker ends: no request follows the current one."""
        self.talk.last = True

    def hurry(self) -> None:
        """The same, before any request: there is a last moment for one."""
        self.talk.last = True
        self.talk.waiting_since = self.worker.loop.time()
        self.worker.deadlines.set(self, self.deadline())

    def give_up(self) -> None:
        """The client has left before there was a response."""
        assert self.request is not None
        sending = Sending(self.request, Response(499), keep=False, head_in=len(self.talk.raw))
        self.finish(sending, aborted=True)
        self.close_at_once()

    def break_off(self) -> None:
        """The client has left within a response, or the rest of it cannot be sent."""
        assert self.sending is not None
        self.finish(self.sending, aborted=True)
        self.close_at_once()

    def close_gently(self) -> None:
        """End it. The client may still be sending, and has a response to read."""
        self.let_go()
        if self.lingers:
            self.worker.lingering.close(self.sock)
        else:
            self.sock.close()
        self.worker.forget(self)

    def close_at_once(self) -> None:
        """End it: no one reads what was sent."""
        self.let_go()
        self.sock.close()
        self.worker.forget(self)

    def let_go(self) -> None:
        """Nothing more happens to it."""
        if self.task is not None:
            self.leave_task()
        if self.watched:
            self.pause()
        if self.counted is not None:
            self.leave()
        self.window = self.request = self.response = None
