"""Answering one request of an HTTP/2 connection: the actions of `h2_stream.TABLE` are here.

Only waiting for a program is a task. A body in memory or in a file is read when the connection has
room for another frame.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Coroutine
from math import inf
from typing import Any

from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from ownhost.http import message
from ownhost.http.limits import LIMIT_REQUEST_BODY
from ownhost.http.message import Head, HTTPError, Response, let_go
from ownhost.identity.identity import Assignment
from ownhost.modules.mod_http2 import H2_STREAM_TIMEOUT
from ownhost.processes.states import Unexpected
from ownhost.processes.worker.h2_client import Http2Client
from ownhost.processes.worker.h2_head import Malformed, RawFields, read_head, refused_head, response_fields
from ownhost.processes.worker.h2_incoming import StreamBody
from ownhost.processes.worker.h2_outgoing import Outgoing
from ownhost.processes.worker.h2_relaying import RelayedAnswer, head_as_http1
from ownhost.processes.worker.h2_stream import Event, State, Stream
from ownhost.processes.worker.relaying import asked_of
from ownhost.processes.worker.sending import Gone, Sending
from ownhost.processes.worker.service import BODILESS, Service
from ownhost.request import bugs
from ownhost.request.request import Level, OtherIdentity, Request
from ownhost.request.serve import complete, error_response


class Answering:
    """One stream's request, and its response."""

    __slots__ = (
        "connection",
        "incoming",
        "outgoing",
        "relayed",
        "request",
        "response",
        "sending",
        "service",
        "stream",
        "talk",
        "task",
    )

    def __init__(self, connection: Http2Client, stream: Stream) -> None:
        self.connection = connection
        self.talk = connection.talk
        self.stream: Stream = stream
        self.service = connection.service or connection.worker.default
        self.request: Request | None = None
        self.response: Response | None = None  # to be sent, now or when the stream says so
        self.sending: Sending | None = None  # the response, after its head was sent
        self.incoming = StreamBody(connection, stream)
        self.outgoing: Outgoing | None = None
        self.task: asyncio.Task[None] | None = None
        self.relayed = False  # another identity's worker answers, and logs it

    def step(self, event: Event, code: ErrorCodes = ErrorCodes.INTERNAL_ERROR) -> None:
        """An event of the stream outside of the connection's turns: run its actions."""
        self.connection.perform(self.talk.step(self.stream, event, self.connection.clock(), code))
        self.connection.soon()

    # The request

    def serve(self, fields: RawFields) -> None:
        """Answer a request, at once if nothing must be waited for."""
        connection = self.connection
        try:
            head = read_head(fields, self.service.limits, ended=self.stream.complete)
            service = connection.find(head)
            if service is None:
                raise HTTPError(421, f"{head.host!r} is not served on this connection")
        except Malformed as error:
            connection.perform(self.talk.break_rule(self.stream, str(error), self.connection.clock()))
        except HTTPError as error:
            request = self.begin(refused_head(fields), self.service)
            self.answer(error_response(request, error))
        else:
            connection.service = self.talk.limits = service
            request = self.begin(head, service)
            try:
                response = connection.respond(service, request)
            except OtherIdentity as elsewhere:
                relayed = functools.partial(self.relay, service, head, request.time, elsewhere.assignment)
                response = Response(200, deferred=lambda _: relayed())
            self.answer(response)

    def begin(self, head: Head, service: Service) -> Request:
        """The request is this one."""
        self.service = service
        self.stream.read(head, service)
        self.request = Request(head, self.connection.endpoints, service.site, time.time(), self.log)
        return self.request

    def answer(self, response: Response) -> None:
        """Send a response when the stream says so."""
        self.response = response
        program = response.deferred is not None
        self.connection.perform(self.talk.found(self.stream, response.status, self.connection.clock(), program=program))

    @property
    def timeout(self) -> float:
        """Seconds without progress after which the client is given up."""
        settings = self.request.settings if self.request is not None else None
        return (settings or self.service.site.settings)[H2_STREAM_TIMEOUT] or self.service.timeout

    @property
    def body_limit(self) -> int:
        """The largest body without a Content-Length, in bytes; 0 is any."""
        request = self.request
        if request is None or request.head.content_length:  # which is checked already
            return 0
        limit: int = (request.settings or request.site.settings)[LIMIT_REQUEST_BODY]
        return limit

    def log(self, level: Level, module: str, text: str) -> None:
        """Write to the error log of the virtual host, with the client's address."""
        endpoints = self.connection.endpoints
        client = f"{endpoints.client}:{endpoints.client_port}"
        self.service.error_log.log(level, module, text, client, self.request)

    def deliver(self, data: bytes, size: int) -> None:
        """Take some of the request's body."""
        self.incoming.take(data, size)

    def wake(self) -> None:
        """Tell the reader of the body that all of it is here."""
        self.incoming.wake()

    # The response

    def run(self) -> None:
        """Have a program make the response."""
        assert self.request is not None
        assert self.response is not None
        self.begin_task(self.run_program(self.request, self.response))

    async def run_program(self, request: Request, response: Response) -> None:
        """Answer a request whose response a program makes."""
        response = await complete(request, response, self.incoming)
        request = self.request or request
        if response.tunnel is not None:
            response = error_response(request, HTTPError(502, "a switch of protocols, which HTTP/2 does not know"))
        self.response = response
        self.send()
        if self.stream.state is State.STREAMING:
            self.connection.soon()  # the head does not wait for the body
            await self.pour_body()

    async def relay(self, service: Service, head: Head, arrived: float, assignment: Assignment) -> Response:
        """The response to a request that another identity is to answer. Raises HTTPError.

        `head` is as the client sent it: the other worker decides anew.
        """
        connection, relays = self.connection, self.connection.worker.relays
        asked = asked_of(connection.endpoints, head, connection.handled, head_as_http1(head))
        found = await relays.find_target(service.site, asked, assignment)
        if found is None:
            again = self.request = Request(head, connection.endpoints, service.site, arrived, self.log)
            return connection.respond(service, again, passed=True)
        self.relayed = True
        return await RelayedAnswer(head, self.incoming, *found, relays.pool).begin()

    def send(self) -> None:
        """Send the response's head, and have its body sent."""
        request, response = self.request, self.response
        assert request is not None
        assert response is not None
        body = response.body
        fields = response_fields(response, self.service.token)
        self.sending = Sending(request, response, keep=True, head_in=self.stream.head_size, head=fields)
        if request.head.method == "HEAD" or response.status in BODILESS or body == b"":
            let_go(body)
        else:
            self.outgoing = Outgoing(body)
        self.response = None
        self.connection.perform(self.talk.respond(self.stream, fields, self.outgoing, self.connection.clock()))

    def pour(self) -> None:
        """Send a program's output."""
        self.begin_task(self.pour_body())

    async def pour_body(self) -> None:
        """Send a program's output, as it comes. Raises Gone if it is less than was announced."""
        outgoing, body = self.outgoing, self.sending.response.body if self.sending is not None else b""
        assert outgoing is not None
        assert not isinstance(body, (bytes, message.FileBody))
        left = inf if body.length is None else body.length
        async for data in body:
            if data:
                outgoing.put(data if len(data) <= left else data[: int(left)])
                left -= len(data)
                self.talk.more(self.stream)
                self.connection.soon()
                await outgoing.room(self.service.streams.buffered)
            if left <= 0:
                break
        if 0 < left < inf:
            raise Gone
        outgoing.end()
        self.talk.more(self.stream)
        self.step(Event.SAID)

    def refuse(self) -> None:
        """Replace the response: more of a body comes than is allowed."""
        self.send_error(self.incoming.too_large())

    def apologize(self) -> None:
        """Answer 500, if the request is known."""
        if self.request is None:
            self.step(Event.FAILED)
        else:
            self.send_error(HTTPError(500))

    def send_error(self, error: HTTPError) -> None:
        """Send an error instead of the response."""
        assert self.request is not None
        self.let_go_held()
        self.incoming.close()
        self.response = error_response(self.request, error)
        self.send()

    # The end

    def begin_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Have a program answer meanwhile."""
        self.task = self.connection.worker.loop.create_task(work)
        self.task.add_done_callback(self.after_task)

    def after_task(self, task: asyncio.Task[None]) -> None:
        """A program has answered, or the client left: also before the task began."""
        self.task = None
        try:
            self._after_task(task)
        except Unexpected as error:
            self.broke(error)

    def _after_task(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            self.step(Event.FAILED, ErrorCodes.CANCEL)
        elif isinstance(error, (Gone, OSError)):
            self.step(Event.FAILED)
        elif isinstance(error, Exception):
            self.broke(error)
        else:
            self.step(Event.ENDED)

    def cancel(self) -> None:
        """End the program: its response is not wanted any more."""
        if self.task is not None:
            self.task.cancel()

    def broke(self, error: Exception) -> None:
        """An unexpected exception: a 500 if nothing was sent, else the stream's end."""
        if isinstance(error, H2Error):
            self.connection.broke(error)  # its state is not known any more
            return
        bugs.report(self.log, error)
        self.step(Event.BROKE)

    def abort(self) -> None:
        """The response is incomplete, and not wanted any more."""
        self.cancel()
        self.finish(aborted=True)

    def finish(self, *, aborted: bool = False) -> None:
        """The response was sent: log it, and release everything. Once."""
        if self.outgoing is not None:
            self.outgoing.close()
        self.let_go_held()
        self.incoming.close()
        self.record(aborted)
        self.connection.handled += 1

    def let_go_held(self) -> None:
        """Drop the original response."""
        response, self.response = self.response, None
        if response is not None:
            let_go(response.body)

    def record(self, aborted: bool) -> None:
        """Write the access log's line."""
        if self.request is None or self.relayed:
            return
        stream, sending = self.stream, self.sending
        if sending is None:
            sending = Sending(self.request, Response(499), keep=False, head_in=stream.head_size)
        sending.received, sending.sent, sending.content = stream.received, stream.sent, stream.content_sent
        self.connection.record(self.service, sending, aborted=aborted)
