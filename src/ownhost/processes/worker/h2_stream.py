"""One HTTP/2 stream in a worker: a request, and its response.

Only what has to wait for a program is a task. A body that is in memory or in a file is taken from there whenever the
connection has room for another frame.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Coroutine
from math import inf
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from ownhost.http import message
from ownhost.http.h2_head import RawFields, read_head, refused_head, response_fields
from ownhost.http.message import Head, HTTPError, Response, let_go
from ownhost.modules.mod_http2 import H2_STREAM_TIMEOUT
from ownhost.processes.worker.client import guarded
from ownhost.processes.worker.h2_incoming import CONTINUE, StreamBody
from ownhost.processes.worker.h2_outgoing import Outgoing
from ownhost.processes.worker.lingering import IN_ALL, SILENCE
from ownhost.processes.worker.relaying import answer_stream
from ownhost.processes.worker.sending import Gone, Sending
from ownhost.processes.worker.service import BODILESS
from ownhost.request import bugs
from ownhost.request.request import Elsewhere, Level, Request
from ownhost.request.serve import complete, error_response

if TYPE_CHECKING:
    from ownhost.processes.worker.http2 import Http2Connection
    from ownhost.processes.worker.service import Service


class Stream:
    """A stream from its request to the end of its response: it is `over` then, and logged.

    A body that nobody wants is taken and dropped before the response is sent, as in Apache: clients (curl 7.88) that
    get all of it while they send stop sending, and wait for ever. An error does not wait, and clients know that.
    """

    __slots__ = (
        "connection",
        "drained_until",
        "gone",
        "head_in",
        "held",
        "id",
        "incoming",
        "outgoing",
        "over",
        "queued",
        "relayed",
        "request",
        "sending",
        "service",
        "stalled_since",
        "task",
    )

    def __init__(self, connection: Http2Connection, stream_id: int, head_in: int, *, ended: bool) -> None:
        self.connection = connection
        self.id = stream_id
        self.head_in = head_in  # bytes of the request's head, compressed
        self.service = connection.service or connection.worker.default
        self.request: Request | None = None
        self.sending: Sending | None = None  # the response, once its head is sent
        self.incoming = StreamBody(self, ended=ended)
        self.outgoing: Outgoing | None = None
        self.task: asyncio.Task[None] | None = None
        self.relayed = False  # another identity's worker answers, and logs it
        self.queued = False  # the connection has it among those with something to send
        self.stalled_since = 0.0  # loop time; 0 where the client lets it send
        self.gone = False  # it is reset, or the connection closed
        self.over = False
        self.held: Response | None = None  # is sent once the request's body is here
        self.drained_until = inf  # loop time, once it is over

    # The request

    def serve(self, fields: RawFields) -> None:
        """Answer a request, at once if nothing has to be waited for. Raises Malformed."""
        connection = self.connection
        try:
            head = read_head(fields, self.service.limits, ended=self.incoming.ended)
            service = connection.worker.find(connection, head)
            if service is None:
                raise HTTPError(421, f"{head.host!r} is not served on this connection")
        except HTTPError as error:
            self.refuse(fields, error)
        else:
            self.answer(head, service)

    def answer(self, head: Head, service: Service) -> None:
        """Answer a request, whose virtual host is found."""
        connection = self.connection
        self.service = connection.service = service
        request = self.request = Request(head, connection.endpoints, service.site, time.time(), self.log)
        try:
            response = connection.respond(service, request)
        except Elsewhere as elsewhere:
            relayed = functools.partial(answer_stream, self, service, head, request, elsewhere.assignment)
            response = Response(200, deferred=lambda _: relayed())
        if response.deferred is not None:
            self.begin_task(self.run_program(request, response))
        elif self.incoming.ended or response.status >= 400 or head.expect_continue:
            self.send(response)
        else:
            self.held = response
            self.incoming.drop()

    def refuse(self, fields: RawFields, error: HTTPError) -> None:
        """Answer a request that is not taken (400, 414, 421, 431...)."""
        head = refused_head(fields)
        request = self.request = Request(head, self.connection.endpoints, self.service.site, time.time(), self.log)
        self.send(error_response(request, error))

    def go_ahead(self) -> None:
        """Tell a client that waits with the request's body to send it."""
        self.connection.output.send_headers(self, CONTINUE, end=False)
        self.connection.soon()

    def log(self, level: Level, module: str, text: str) -> None:
        """Write to the error log of the virtual host, with the client's address."""
        endpoints = self.connection.endpoints
        client = f"{endpoints.client}:{endpoints.client_port}"
        self.service.error_log.log(level, module, text, client, self.request)

    @property
    def timeout(self) -> float:
        """Seconds without progress after which the client is given up."""
        settings = self.request.settings if self.request is not None else None
        return (settings or self.service.site.settings)[H2_STREAM_TIMEOUT] or self.service.timeout

    # The response

    async def run_program(self, request: Request, response: Response) -> None:
        """Answer a request whose response a program makes."""
        response = await complete(request, response, self.incoming)
        request = self.request or request
        if response.tunnel is not None:
            response = error_response(request, HTTPError(502, "a switch of protocols, which HTTP/2 does not know"))
        self.send(response)
        if self.outgoing is not None and not self.outgoing.ended:
            assert not isinstance(response.body, (bytes, message.FileBody))
            await self.pour(response.body, self.outgoing)

    def send(self, response: Response) -> None:
        """Send a response's head, and have its body sent."""
        request = self.request
        assert request is not None
        body = response.body
        fields = response_fields(response, self.service.token)
        self.sending = Sending(request, response, keep=True, head_in=self.head_in)
        if self.service.access_log.logs:
            self.sending.head = b"\r\n".join((b"HTTP/2.0", *(name + b": " + value for name, value in fields[1:])))
        if request.head.method == "HEAD" or response.status in BODILESS or body == b"":
            self.connection.output.send_headers(self, fields, end=True)
            let_go(body)
            self.finish()
            return
        self.outgoing = Outgoing(body)
        self.connection.output.send_headers(self, fields, end=False)
        if self.outgoing.is_here:
            self.connection.output.enqueue(self)
        elif self.task is None:
            assert not isinstance(body, (bytes, message.FileBody))
            self.begin_task(self.pour(body, self.outgoing))

    async def pour(self, body: message.Stream, outgoing: Outgoing) -> None:
        """Have sent what a program says, as it says it. Raises Gone where that is less than was announced."""
        left = inf if body.length is None else body.length
        async for data in body:
            if data:
                outgoing.put(data if len(data) <= left else data[: int(left)])
                left -= len(data)
                self.connection.output.enqueue(self)
                self.connection.soon()
                await outgoing.room(self.service.streams.buffered)
            if left <= 0:
                break
        if 0 < left < inf:
            raise Gone
        outgoing.end()
        self.connection.output.enqueue(self)

    @guarded
    def send_some(self) -> bool:
        """Send one frame of what is here. False where there is no more at the moment, or the client takes no more."""
        outgoing, sending, connection = self.outgoing, self.sending, self.connection
        assert outgoing is not None
        assert sending is not None
        window = connection.session.local_flow_control_window(self.id)
        if window <= 0 and not outgoing.is_over:
            connection.output.stall(self)
            connection.watch(self.deadline())
            return False
        self.stalled_since = 0.0
        try:
            data = outgoing.take(min(window, self.service.streams.frame))
        except (Gone, OSError):
            self.fail(ErrorCodes.INTERNAL_ERROR)
            return False
        end = outgoing.is_over
        connection.output.send_data(self, data, end=end)
        if end:
            self.finish()
            return False
        return outgoing.is_here

    # The end

    def begin_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Have a program answer meanwhile."""
        self.task = self.connection.worker.loop.create_task(work)
        self.task.add_done_callback(self.after_task)

    def after_task(self, task: asyncio.Task[None]) -> None:
        """A program has answered, or the client left: also before the task began."""
        if self.task is task:
            self.task = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception) and not isinstance(error, (Gone, OSError)):
            self.broke(error)
        elif task.cancelled() or error is not None:
            self.fail(ErrorCodes.INTERNAL_ERROR if error is not None else ErrorCodes.CANCEL)
        elif self.gone:
            self.finish(aborted=True)  # it did not let itself be cancelled
        self.connection.soon()

    def abort(self) -> None:
        """The client has reset the stream, or is gone: end what is done for it, as soon as that can be."""
        self.gone = True
        if self.task is not None:
            self.task.cancel()
        else:
            self.finish(aborted=True)

    def reset(self, code: ErrorCodes) -> None:
        """Reset the stream, and end what is done for it."""
        if not self.gone:
            self.connection.reset(self.id, code)
        self.abort()

    def fail(self, code: ErrorCodes) -> None:
        """The response cannot be completed: the client sees that, never a wrong one."""
        if not self.gone:
            self.connection.reset(self.id, code)
        self.gone = True
        self.finish(aborted=True)

    def broke(self, error: Exception) -> None:
        """Something raised that must not: a 500 where nothing was sent, else the stream's end."""
        if isinstance(error, H2Error):
            self.connection.broke(error)  # what it can be used for is not known any more
            return
        bugs.report(self.log, error)
        if self.sending is None and self.request is not None and not self.gone:
            self.let_go_held()
            self.incoming.drop()
            self.send(error_response(self.request, HTTPError(500)))
        elif not self.over:
            self.fail(ErrorCodes.INTERNAL_ERROR)

    def on_end(self) -> None:
        """All of the request is here."""
        self.incoming.end()
        if self.over:
            self.connection.remove(self)
        self.send_held()

    @guarded
    def send_held(self) -> None:
        """Send the response that waits for the body: it is here, or more than is taken."""
        response, self.held = self.held, None
        if response is not None:
            self.send(response)

    def refuse_held(self, error: HTTPError) -> None:
        """Answer otherwise than was meant: the body is not what it may be."""
        if self.held is not None and self.request is not None:
            self.let_go_held()
            self.send(error_response(self.request, error))

    def let_go_held(self) -> None:
        """Nobody sends the response that waits for the body."""
        response, self.held = self.held, None
        if response is not None:
            let_go(response.body)

    def give_up(self) -> None:
        """The client has taken too long."""
        self.reset(ErrorCodes.NO_ERROR if self.over else ErrorCodes.CANCEL)

    def deadline(self) -> float:
        """When the client has taken too long to send or to take data, in loop time."""
        if self.gone:
            return inf  # what ends now ends when it does
        if self.over:
            return min(self.drained_until, self.incoming.last + SILENCE)
        deadline = inf if self.incoming.ended or self.sending is not None else self.incoming.deadline()
        if self.stalled_since:
            deadline = min(deadline, self.stalled_since + self.timeout)
        return deadline

    def finish(self, *, aborted: bool = False) -> None:
        """The response is out, or nobody waits for it: log it, and let everything go. Once."""
        connection = self.connection
        if not self.over:
            self.over = True
            if self.outgoing is not None:
                self.outgoing.close()
            self.let_go_held()
            self.incoming.close()
            self.record(aborted)
            connection.handled += 1
            self.incoming.last = connection.worker.loop.time()
            self.drained_until = self.incoming.last + IN_ALL
        if self.gone or self.incoming.ended:
            connection.remove(self)
        else:
            connection.watch(self.deadline())

    def record(self, aborted: bool) -> None:
        """Write the access log's line."""
        sending = self.sending
        if self.request is None or self.relayed:
            return
        if sending is None:
            sending = Sending(self.request, Response(499), keep=False, head_in=self.head_in, content=0)
        sending.received = self.incoming.received
        self.connection.record(self.service, sending, aborted=aborted)
