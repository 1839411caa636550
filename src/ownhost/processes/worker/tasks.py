"""Work that takes time on an HTTP/1 connection: the state of a response, and the tasks that go on with it.

A task returns the next event. If the client leaves, it raises ClientGone or OSError. A cancelled
task was cancelled by `look_at_client`: its response is not wanted.
"""

from __future__ import annotations

import functools
from socket import MSG_DONTWAIT, SocketType

from ownhost.http.body import BodyReader
from ownhost.http.message import ClientGone, HTTPError, Response
from ownhost.processes.mailbox import Handover
from ownhost.processes.relay.stream import RelayLost, RelayStream
from ownhost.processes.worker.client import guarded
from ownhost.processes.worker.conversation import KEPT, LAST, Event
from ownhost.processes.worker.copying import Copying
from ownhost.processes.worker.driven import Driven
from ownhost.processes.worker.incoming import Incoming
from ownhost.processes.worker.pump import PATIENCE, in_clear
from ownhost.processes.worker.relaying import Target, asked_of
from ownhost.processes.worker.sending import Sender, Sending, Window, receive
from ownhost.processes.worker.service import Service
from ownhost.processes.worker.shared import Shared
from ownhost.processes.worker.transport import Transport
from ownhost.request.request import Request
from ownhost.request.serve import complete, error_response

READ_SIZE = 65_536  # bytes per recv
RECEIVE = int(MSG_DONTWAIT)


class Tasked(Driven, whole=False):
    """A client whose responses may take time."""

    __slots__ = ("copying", "incoming", "request", "response", "sending", "window")

    def __init__(self, worker: Shared, sock: Transport, handover: Handover) -> None:
        super().__init__(worker, sock, handover)
        self.request: Request | None = None  # being answered
        self.response: Response | None = None  # the response, to be worked on or sent
        self.sending: Sending | None = None  # the response, when some of it may have been sent
        self.incoming: Incoming | None = None  # the body of the request being answered, if reading has begun
        self.copying: Copying | None = None  # a request that another identity answers
        self.window: Window | None = None  # of the file that was sent last: the next request may be for it, too

    def answering(self) -> tuple[Service, Request, Response]:
        """The request being answered, and the response."""
        service, request, response = self.service, self.request, self.response
        assert service is not None
        assert request is not None
        assert response is not None
        return service, request, response

    # A response of this worker's

    async def run_program(self) -> Event:
        """Have a response made: by a program, or after the request's body was read."""
        service, request, response = self.answering()
        self.incoming = incoming = Incoming(self, service, request)
        watch = self.worker.watch
        watch.begin(self)
        try:
            response = await complete(request, response, incoming)
        finally:
            watch.end(self)
            incoming.close()
        if response.tunnel is not None and request.head.major > 1:
            response = error_response(request, HTTPError(502, "a switch of protocols, which HTTP/2 does not know"))
        self.response = response
        return Event.ANSWERED if response.tunnel is None else Event.SWITCHED

    async def send_rest(self) -> Event:
        """Send a program's output, and read the rest of the request after its response."""
        worker, service, sending = self.worker, self.service, self.sending
        assert service is not None
        assert sending is not None
        sender = Sender(worker.loop, self.sock, service.timeout)
        if self.incoming is not None:
            worker.watch.begin(self)  # a program may work on the rest
        try:
            if sending.stream is not None:
                await sender.send_stream(sending.stream, chunked=sending.request.head.knows_chunks)
            if sending.request.head.has_body and sending.keep:
                incoming = self.incoming or Incoming(self, service, sending.request)
                await incoming.discard()
                sending.received = incoming.received
        except HTTPError as error:
            # The body broke the rules after its response was sent: only the end is left.
            self.log(error.level, error.module, error.reason)
            sending.keep = False
        finally:
            sending.sent += sender.sent
            worker.watch.end(self)
        return self.finish(sending)

    async def speak(self, sending: Sending, head: bytes) -> Event:
        """Send the head of a 101, and leave the connection to another protocol, until one side ends it."""
        loop, sock, talk = self.worker.loop, self.sock, self.talk
        service, _, response = self.answering()
        tunnel = response.tunnel
        assert tunnel is not None
        sender = Sender(loop, sock, service.timeout)
        data, talk.buffer = talk.buffer, b""
        try:
            self.tunnel()
            await sender.send(head)
            if isinstance(sock, SocketType):
                sock.setblocking(False)
                await tunnel(sock, data)
            else:
                async with in_clear(loop, sock, service.timeout) as plain:
                    await tunnel(plain, data)
        finally:
            sending.sent = sender.sent
        return self.finish(sending)

    def tunnel(self) -> None:
        """Another protocol is spoken from now on."""

    def finish(self, sending: Sending, *, aborted: bool = False) -> Event:
        """A response was sent, or the client left: log it."""
        keep = sending.keep = sending.keep and not aborted and not self.talk.last
        service = self.service or self.worker.default
        if keep and sending.file is not None:
            self.window, sending.window = sending.window, None
        sending.close()
        if not self.record(service, sending, aborted=aborted):
            sending.keep = False
        self.request = self.response = self.incoming = self.sending = None
        if keep and not self.handled:  # from now on it is KeepAliveTimeout, which may be less
            self.worker.deadlines.drop(self)
        self.handled += 1
        return self.over(sending, aborted=aborted)

    def over(self, sending: Sending, *, aborted: bool) -> Event:  # noqa: ARG002 - who relays tells
        """A response was sent and logged."""
        return KEPT if sending.keep else LAST

    # One of another identity's

    async def relay(self) -> Event:
        """Have the request's identity answer it; the connection stays here.

        The head is passed on as it came, also as bytes: the other worker finds out the rest itself.
        """
        service, request, talk = self.service, self.request, self.talk
        assert service is not None
        assert request is not None
        assert request.assignment is not None
        try:
            asked = asked_of(self.endpoints, talk.head, self.handled, talk.raw)
            found = await self.worker.relays.find_target(service.site, asked, request.assignment)
            if found is not None:
                keep = await self.pass_through(service, *found)
                return self.relay_is_over(keep=keep and not talk.last)
            # By the file system, it is this worker's after all.
            request = self.request = Request(talk.head, self.endpoints, service.site, request.time, request.log)
            self.response = self.respond(service, request, passed=True)
        except HTTPError as error:
            self.response = error_response(request, error)
        return Event.ANSWERED

    async def pass_through(self, service: Service, target: Target, relay: RelayStream) -> bool:
        """Have the target answer a request that it has taken, byte for byte.

        Returns whether the client's connection stays open.

        Raises ClientGone, OSError if the client has left; HTTPError if the target has, and nothing
        was answered.
        """
        loop, talk, relays = self.worker.loop, self.talk, self.worker.relays
        receiving = functools.partial(receive, loop, self.sock, PATIENCE)
        sender = Sender(loop, self.sock, service.timeout)
        begun, talk.buffer = talk.buffer, b""
        copying = Copying(relay, BodyReader(talk.head, service.limits), begun, receiving, sender.send, self.tunnel)
        self.copying = copying
        self.worker.watch.begin(self)
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
            self.worker.watch.end(self)
            self.copying = None
            talk.buffer = copying.rest
        if end.again:
            relays.pool.keep(target, relay)
        else:
            relay.close()
        return end.keep

    def relay_is_over(self, *, keep: bool) -> Event:
        """A response was sent that another identity's worker has made and logged."""
        self.request = None
        self.handled += 1
        self.worker.deadlines.drop(self)
        return Event.KEPT if keep else Event.LAST

    # A client that leaves meanwhile

    @guarded
    def look_at_client(self) -> None:
        """End the task that waits for a program, or for another worker, if its client has left."""
        if self.copying is not None:
            self._look_behind(self.copying)
            return
        incoming, task = self.incoming, self.task
        if incoming is None or not incoming.complete or task is None:
            return
        try:
            ended = self._has_ended()
        except OSError:
            task.cancel()
            return
        if ended and self.talk.doubts(self.worker.loop.time()):
            task.cancel()

    def _has_ended(self) -> bool:
        """Whether the client has ended its stream, without a further request. Raises OSError if it was reset."""
        if self.talk.buffer:
            return False
        try:
            self.talk.buffer = self.sock.recv(READ_SIZE, RECEIVE)
        except BlockingIOError:
            return False
        return not self.talk.buffer

    def _look_behind(self, copying: Copying) -> None:
        """Check whether the client of a relayed request is there: the other worker has the same doubts as this one."""
        if not copying.has_read_all or copying.rest:
            return
        try:
            copying.rest = self.sock.recv(READ_SIZE, RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            if self.task is not None:
                self.task.cancel()
            return
        if not copying.rest:
            copying.stream.end_input()
