"""mod_proxy: the handler of requests that another server answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from socket import SHUT_WR, SocketType

from ownhost.apps import fastcgi_client, forwarding, http_client, scgi, uwsgi
from ownhost.apps.answer import answer, keep, respond
from ownhost.apps.backends import Connection, connect, timeout_of
from ownhost.apps.cgi_head import Dialect
from ownhost.apps.environment import encoded
from ownhost.apps.source import SourceError
from ownhost.http.message import Content, HTTPError, RequestBody, Response
from ownhost.modules.mod_proxy import PROXY_ERROR_OVERRIDE, backend_of, response_fields
from ownhost.modules.proxying.backend import SPEAK_HTTP, Backend
from ownhost.request.module import Module, register
from ownhost.request.proxied import PROXY_HANDLER
from ownhost.request.request import Request

READ = 65_536
TOO_MANY = 10  # interim responses of a server that sends no other (AP_MAX_INTERIM_RESPONSES)
_OURS = ("server", "date")  # said by this server
# The other side may close a kept connection just when it is used. The request may have been acted
# on, so it must not be repeated: other methods get a new connection (RFC 9110, 9.2.2; RFC 9112,
# 9.3.1).
_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))


def handle(request: Request) -> Response:
    """Have another server answer. Raises HTTPError 500."""
    request.pure = False
    if request.method == "OPTIONS" and set(request.head.values.get("max-forwards", "")) == {"0"}:
        return Response(200, [("Allow", "TRACE")])  # of this server (RFC 9110, 7.6.2)
    forwarding.forwards_left(request)
    backend = backend_of(request)
    if backend is None:
        raise HTTPError(500, f"{request.filename}: no other server is named to answer", module="proxy")
    return Response(200, deferred=lambda body: run(request, backend, body))


async def run(request: Request, backend: Backend, body: RequestBody) -> Response:
    """The other server's response. Raises HTTPError 502, 503, 504."""
    content = await body.read() if request.head.has_body else None
    timeout = timeout_of(request, backend)
    if backend.scheme in SPEAK_HTTP:
        fields = forwarding.request_fields(request, backend)
        return await ask_http(request, backend, backend.target, fields, content, timeout, body)
    length = None if content is None else content.size
    told = forwarding.variables(request, backend, length)
    connection = await connect(request, backend, fresh=True)
    if backend.scheme == "fcgi":
        return _seen(request, await fastcgi_client.ask(request, connection, told, content, timeout=timeout))
    variables = encoded(told)
    try:
        head = uwsgi.request_head(variables) if backend.scheme == "uwsgi" else scgi.request_head(variables, length or 0)
    except ValueError as error:
        connection.close()
        raise HTTPError(500, f"{request.uri}: {error}", module=f"proxy_{backend.scheme}") from None
    source = Bytes(connection)
    keep(source.send(head, content))
    dialect = Dialect.HTTP if backend.scheme == "uwsgi" else Dialect.CGI
    module = f"proxy_{backend.scheme}"
    return _seen(request, await answer(request, source, module, dialect=dialect, timeout=timeout))


def _seen(request: Request, response: Response) -> Response:
    """The response as this server sends it. Raises HTTPError if ProxyErrorOverride has an own page for it."""
    if response.deferred is None:
        if response.status in request.settings[PROXY_ERROR_OVERRIDE]:
            if not isinstance(response.body, bytes):
                response.body.close()
            raise HTTPError(response.status)
        fields = [field for field in response.headers if field[0].lower() not in _OURS]
        response.headers = response_fields(request, forwarding.via(request, fields, "1.1"))
    return response


class Bytes:
    """A program's response that ends with the connection (answer.Source)."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.ended = False

    async def send(self, head: bytes, content: Content | None) -> None:
        """Send the request."""
        with contextlib.suppress(OSError):
            self.connection.writer.write(head)
            for piece in () if content is None else content.pieces():
                self.connection.writer.write(piece)
                await self.connection.writer.drain()
            await self.connection.writer.drain()

    async def read(self, deadline: float) -> bytes:
        """Some more; b"" at the end."""
        async with asyncio.timeout_at(deadline):
            data = await self.connection.reader.read(READ)
        self.ended = not data
        return data

    def close(self) -> None:
        """Close it."""
        self.connection.close()


# HTTP


async def ask_http(
    request: Request,
    backend: Backend,
    target: str,
    fields: list[tuple[str, str]],
    content: Content | None,
    timeout: float,
    body: RequestBody,
) -> Response:
    """An HTTP server's response; `body` gets its interim responses. Raises HTTPError 502, 503, 504."""
    connection = await connect(request, backend, fresh=request.method not in _REPEATABLE)
    try:
        return await _ask_http(request, backend, connection, target, fields, content, timeout, body)
    except _Stale:
        connection = await connect(request, backend, fresh=True)
        return await _ask_http(request, backend, connection, target, fields, content, timeout, body)


class _Stale(Exception):
    """The other side had closed a kept connection: nothing was answered, so nothing was done."""


async def _ask_http(
    request: Request,
    backend: Backend,
    connection: Connection,
    target: str,
    fields: list[tuple[str, str]],
    content: Content | None,
    timeout: float,
    body: RequestBody,
) -> Response:
    conversation = Conversation(connection, reuses=forwarding.keeps_connection(request, backend))
    version = "1.0" if "force-proxy-request-1.0" in request.env else "1.1"
    try:
        conversation.begin(request.method, target, fields, content, version)
        head = await conversation.read_head(timeout, body if forwarding.accepts_interim(request) else None)
        if isinstance(head, http_client.Switched):
            _check_protocol(head.protocol, forwarding.requested_upgrade(request, backend))
    except TimeoutError:
        conversation.close()
        raise HTTPError(504, f"timeout reading from {backend.authority}", module="proxy_http") from None
    except ValueError as error:
        conversation.close()
        raise HTTPError(500, f"{request.uri}: {error}", module="proxy_http") from None
    except (http_client.BackendError, OSError) as error:  # OSError: also of TLS
        conversation.close()
        if connection.used and not conversation.heard:
            raise _Stale from None
        status = error.status if isinstance(error, http_client.BackendError) else 502
        raise HTTPError(status, f"error reading from {backend.authority}: {error}", module="proxy_http") from None
    except BaseException:
        conversation.close()
        raise
    if isinstance(head, http_client.Switched):
        return _tunnelled(head, connection)
    response = Response(head.status, list(head.fields))
    return _seen(
        request,
        respond(request, response, conversation, conversation.take(), "proxy_http", timeout, head.content_length),
    )


class Conversation:
    """One request to an HTTP server, and its response (answer.Source: the response's body)."""

    def __init__(self, connection: Connection, *, reuses: bool) -> None:
        self.connection = connection
        self.reuses = reuses
        self.exchange = http_client.Exchange()
        self.sending: asyncio.Future[None] | None = None
        self.heard = False  # whether any byte of a response came
        self.ended = False
        self.content: list[bytes] = []  # of the body, received with the head

    def begin(
        self, method: str, target: str, fields: list[tuple[str, str]], content: Content | None, version: str
    ) -> None:
        """Begin to send the request, while its response may already come.

        Raises ValueError if HTTP cannot express it.
        """
        size = 0 if content is None else content.size
        self.connection.writer.write(self.exchange.request(method, target, fields, size, version))
        self.sending = asyncio.ensure_future(self._send(content))

    async def _send(self, content: Content | None) -> None:
        writer, exchange = self.connection.writer, self.exchange
        with contextlib.suppress(OSError):
            for piece in () if content is None else content.pieces():
                writer.write(exchange.body(piece))
                await writer.drain()
            writer.write(exchange.end_of_body())
            await writer.drain()

    async def read_head(self, timeout: float, body: RequestBody | None) -> http_client.Head | http_client.Switched:
        """The head of the final response. Raises BackendError, TimeoutError, OSError, ClientGone."""
        interims = 0
        while True:
            async with asyncio.timeout(timeout):
                events = await self._events()
            found: http_client.Head | http_client.Switched | None = None
            for event in events:
                if isinstance(event, http_client.Head | http_client.Switched):
                    found = event
                elif isinstance(event, http_client.Interim):
                    if body is not None:
                        await _pass_on(event, body)
                    interims += 1
                    if interims == TOO_MANY:
                        raise http_client.BackendError(f"too many ({TOO_MANY}) interim responses")
                self._note(event)
            if found is not None:
                return found

    async def _events(self) -> list[http_client.Event]:
        data = await self.connection.reader.read(READ)
        self.heard = self.heard or bool(data)
        return self.exchange.feed(data) if data else self.exchange.close()

    def _note(self, event: http_client.Event) -> None:
        if isinstance(event, http_client.Content):
            self.content.append(event.data)
        elif isinstance(event, http_client.End):
            self.ended = True

    def take(self) -> bytes:
        """The part of the body that has arrived."""
        data = b"".join(self.content)
        self.content.clear()
        return data

    async def read(self, deadline: float) -> bytes:
        """Some more of the body; b"" at its end. Raises SourceError, OSError, TimeoutError."""
        while not self.ended:
            try:
                async with asyncio.timeout_at(deadline):
                    events = await self._events()
                for event in events:
                    self._note(event)
            except http_client.BackendError as error:
                raise SourceError(str(error)) from None
            if self.content:
                return self.take()
        return b""

    def close(self) -> None:
        """Close it, or keep the connection if it can be used again."""
        sent = self.sending is None or self.sending.done()
        if self.sending is not None:
            self.sending.cancel()
        if sent and self.ended and self.reuses and self.exchange.reusable:
            self.connection.give_back()
        else:
            self.connection.close()


async def _pass_on(interim: http_client.Interim, body: RequestBody) -> None:
    """Send an interim response to the client. 100 is for the sender of the body: this server, which has it."""
    if interim.status != 100:
        await body.tell(interim.status, [field for field in interim.fields if field[0].lower() not in _OURS])


# Other protocols on the connection (RFC 9110, 7.8): WebSocket


def _check_protocol(protocol: str, asked: str) -> None:
    """Check that a server that switches to another protocol was asked to. Raises BackendError."""
    if protocol.lower() not in [name.strip().lower() for name in asked.split(",") if name.strip()]:
        raise http_client.BackendError(f"it switches to the protocol {protocol!r}, which was not asked for")


def _tunnelled(head: http_client.Switched, connection: Connection) -> Response:
    response = Response(101, [("Upgrade", head.protocol), *head.fields])

    async def tunnel(client: SocketType, data: bytes) -> None:
        whole = socket.socket(fileno=client.fileno())  # as event loops take them
        try:
            await _both_ways(whole, connection, data, head.leftover)
        finally:
            whole.detach()

    response.tunnel = tunnel
    return response


async def _both_ways(client: socket.socket, connection: Connection, from_client: bytes, from_backend: bytes) -> None:
    """Pass bytes on in both directions until both sides have ended."""
    loop = asyncio.get_running_loop()

    async def outward() -> None:
        data = from_backend
        while True:
            if data:
                await loop.sock_sendall(client, data)
            data = await connection.reader.read(READ)
            if not data:
                client.shutdown(SHUT_WR)
                return

    async def inward() -> None:
        data = from_client
        while True:
            if data:
                connection.writer.write(data)
                await connection.writer.drain()
            data = await loop.sock_recv(client, READ)
            if not data:
                if connection.writer.can_write_eof():
                    connection.writer.write_eof()
                else:  # TLS ends in both directions at once
                    connection.writer.close()
                return

    tasks = [asyncio.ensure_future(outward()), asyncio.ensure_future(inward())]
    try:
        with contextlib.suppress(OSError):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        connection.close()


register(
    Module(
        name="mod_proxy_http",
        identifier="proxy_http_module",
        handlers={PROXY_HANDLER: handle},
        stands_for=frozenset({"proxy"}),
    )
)
