"""Asking a FastCGI program on a socket.

A connection is for one request, unless an app keeps lines. Then the next request may use it, as
long as its lease is kept. The first record of that request is sent right after the response. An app
that has taken the record waits for the rest. One that has sent its response but still works
(fastcgi_finish_request) leaves it, and the next request uses another connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from ownhost.apps import fastcgi
from ownhost.apps.answer import answer, keep
from ownhost.apps.app import App
from ownhost.apps.backends import Connection
from ownhost.apps.cgi_head import Dialect
from ownhost.apps.complaints import Complaints, LineComplaints, RecordComplaints
from ownhost.apps.php_errors import PHPComplaints
from ownhost.apps.source import SourceError
from ownhost.apps.wire import SocketWire, StreamWire, Wire, connect_unix
from ownhost.http.message import Content, HTTPError, Response
from ownhost.request.programs import Launcher, Lease
from ownhost.request.request import Request

CONNECT = 10.0  # seconds
_NEXT = fastcgi.ROLE[True]
SMALL = 65_536  # bytes of a body that are sent together with the records before it


async def ask_app(
    request: Request,
    launcher: Launcher,
    app: App,
    variables: Mapping[str, str],
    content: Content | None,
    timeout: float = 0.0,
    dialect: Dialect = Dialect.CGI,
) -> Response:
    """The response of an app, which is started if needed. Raises HTTPError 500, 503, 504."""
    try:
        conversation = await _reach(request, launcher, app, variables, content)
    except OSError:  # it has died since the last request, perhaps: the launcher knows
        conversation = await _reach(request, launcher, app, variables, content, last=True)
    return await answer(request, conversation, app.module, dialect=dialect, timeout=timeout)


async def _reach(
    request: Request,
    launcher: Launcher,
    app: App,
    variables: Mapping[str, str],
    content: Content | None,
    *,
    last: bool = False,
) -> Conversation:
    """A conversation that has begun. Raises HTTPError; unless it is the last try, OSError if no process listens."""
    lease = await launcher.lease(app)
    try:
        return await _begin(request, lease, app, fastcgi.params(variables), content)
    except (OSError, TimeoutError) as error:
        lease.lost()
        if not last and not isinstance(error, TimeoutError):
            raise
        raise HTTPError(503, f"cannot reach the program at {lease.path}: {error}", module=app.module) from None
    except BaseException:
        lease.end()
        raise


def _complaints(request: Request, lease: Lease, app: App) -> Complaints:
    """The consumer of an app's standard error."""
    return PHPComplaints(request, lease.repeat) if app.echoes else LineComplaints(request, app.module)


async def _begin(request: Request, lease: Lease, app: App, params: bytes, content: Content | None) -> Conversation:
    """Send a request to an app: on the line that an earlier request left, if it still exists. Raises OSError."""
    line: SocketWire | None
    line, lease.line = lease.line, None
    if line is not None:
        conversation = Conversation(line, _complaints(request, lease, app), lease, keeps=True)
        try:
            conversation.begin(params, content)
        except OSError:  # it has ended, and nothing of the request has reached it
            line.close()
        else:
            return conversation
    wire = await connect_unix(lease.path, CONNECT)
    conversation = Conversation(wire, _complaints(request, lease, app), lease, keeps=app.keeps_lines)
    with contextlib.suppress(OSError):  # `read` finds out
        conversation.begin(fastcgi.ROLE[app.keeps_lines] + params, content)
        lease.call(wire)
    return conversation


async def ask(
    request: Request,
    connection: Connection,
    variables: Mapping[str, str],
    content: Content | None,
    *,
    timeout: float = 0.0,
) -> Response:
    """The response of another server on a connection. Raises HTTPError 500, 503, 504."""
    conversation = Conversation(StreamWire(connection), RecordComplaints(request))
    with contextlib.suppress(OSError):  # `read` finds out
        conversation.begin(fastcgi.begin(variables), content)
    return await answer(request, conversation, "proxy_fcgi", timeout=timeout, broken=503)


class Conversation:
    """One request and its response (answer.Source)."""

    def __init__(
        self, wire: Wire | SocketWire, complaints: Complaints, lease: Lease | None = None, *, keeps: bool = False
    ) -> None:
        self.wire = wire
        self.complaints = complaints
        self.lease = lease
        self.keeps = keeps  # the next request may have the connection
        self.responses = fastcgi.Responses()
        self.sending: asyncio.Future[None] | None = None  # what could not be sent at once
        self.ended = False

    def begin(self, data: bytes, content: Content | None) -> None:
        """Send the request, beginning with `data`: at once, as a rule; else while its response may already come.

        Raises OSError, before anything is sent.
        """
        small = content is None or content.size <= SMALL
        if small:
            data += b"".join(map(fastcgi.body, () if content is None else content.pieces())) + fastcgi.end_of_body()
        data = self.wire.send_now(data)
        if data or not small:
            self.sending = asyncio.ensure_future(self.send(data, None if small else content))

    async def send(self, data: bytes, content: Content | None) -> None:
        """Send the rest of the request. A program that does not want the body may close."""
        with contextlib.suppress(OSError):
            await self.wire.send(data)
            if content is not None:
                for piece in content.pieces():
                    await self.wire.send(fastcgi.body(piece))
                await self.wire.send(fastcgi.end_of_body())

    async def read(self, deadline: float) -> bytes:
        """A piece of the response; b"" at its end."""
        while not self.ended:
            data = await self.wire.read(deadline)
            try:
                if not data:
                    self.responses.close()
                output = b"".join(self.take(event) for event in self.responses.feed(data))
            except fastcgi.FastCGIError as error:
                raise SourceError(str(error)) from None
            if output:
                return output
        return b""

    def take(self, event: fastcgi.Event) -> bytes:
        """The part of an event that belongs to the response. Standard error is logged."""
        match event:
            case fastcgi.Output(data=data):
                self.complaints.pause()
                return data
            case fastcgi.Complaint(data=data):
                self.complaints.take(data)
            case fastcgi.End(protocol_status=status):
                if status is not fastcgi.ProtocolStatus.REQUEST_COMPLETE:
                    raise SourceError(f"the program did not take the request: {status.name}")
                self.ended = True
                self.complaints.end()
        return b""

    def close(self) -> None:
        """Close it."""
        self.complaints.end()
        if self.sending is not None and not self.sending.done():
            self.keeps = False  # the program has not taken all of the request
            keep(self._stop_sending(self.sending))
        else:
            self._end()

    async def _stop_sending(self, sending: asyncio.Future[None]) -> None:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        self._end()

    def _end(self) -> None:
        lease, wire = self.lease, self.wire
        if lease is None or not self.ended:
            wire.close()
        elif (
            self.keeps
            and self.responses.reusable
            and isinstance(wire, SocketWire)
            and lease.may_keep_line()
            and wire.leave(_NEXT)
        ):
            lease.line = wire
        else:
            wire.close()
        if lease is not None:
            (lease.close if self.ended else lease.end)()
