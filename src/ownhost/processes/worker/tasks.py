"""What takes time on a HTTP/1 connection. Each gives the event that comes of it.

Where the client leaves, ClientGone or OSError is raised. A task that is cancelled was told so by `client_watch`: nobody
waits for it.
"""

from __future__ import annotations

from socket import SocketType
from typing import TYPE_CHECKING

from ownhost.http.message import HTTPError
from ownhost.processes.worker.conversation import Event
from ownhost.processes.worker.incoming import Incoming
from ownhost.processes.worker.pump import in_clear
from ownhost.processes.worker.relaying import find_target, pass_through
from ownhost.processes.worker.sending import Sender, Sending
from ownhost.request.request import Request
from ownhost.request.serve import complete, error_response

if TYPE_CHECKING:
    from ownhost.processes.worker.connection import Connection


async def run_program(connection: Connection) -> Event:
    """Have a response made: by a program, or once the request's body was read."""
    service, request, response = connection.answering()
    connection.incoming = incoming = Incoming(connection, service, request)
    watch = connection.worker.watch
    watch.begin(connection)
    try:
        response = await complete(request, response, incoming)
    finally:
        watch.end(connection)
        incoming.close()
    if response.tunnel is not None and request.head.major > 1:
        response = error_response(request, HTTPError(502, "a switch of protocols, which HTTP/2 does not know"))
    connection.response = response
    return Event.ANSWERED if response.tunnel is None else Event.SWITCHED


async def speak(connection: Connection, sending: Sending, head: bytes) -> Event:
    """Send the head of a 101, and leave the connection to another protocol, until one side ends it."""
    worker, sock, talk = connection.worker, connection.sock, connection.talk
    service, _, response = connection.answering()
    tunnel = response.tunnel
    assert tunnel is not None
    sender = Sender(worker.loop, sock, service.timeout)
    data, talk.buffer = talk.buffer, b""
    try:
        connection.tunnel()
        await sender.send(head)
        if isinstance(sock, SocketType):
            sock.setblocking(False)
            await tunnel(sock, data)
        else:
            async with in_clear(worker.loop, sock, service.timeout) as plain:
                await tunnel(plain, data)
    finally:
        sending.sent = sender.sent
    return connection.finish(sending)


async def send_rest(connection: Connection) -> Event:
    """Send what a program says, and read what is left of the request behind its response."""
    worker, service, sending = connection.worker, connection.service, connection.sending
    assert service is not None
    assert sending is not None
    sender = Sender(worker.loop, connection.sock, service.timeout)
    if connection.incoming is not None:
        worker.watch.begin(connection)  # a program may be at work on the rest
    try:
        if sending.stream is not None:
            await sender.send_stream(sending.stream, chunked=sending.request.head.knows_chunks)
        if sending.request.head.has_body and sending.keep:
            incoming = connection.incoming or Incoming(connection, service, sending.request)
            await incoming.discard()
            sending.received = incoming.received
    except HTTPError as error:
        # The body broke the rules after its response was sent: nothing more to say, but the end.
        connection.log(error.level, error.module, error.reason)
        sending.keep = False
    finally:
        sending.sent += sender.sent
        worker.watch.end(connection)
    return connection.finish(sending)


async def relay(connection: Connection) -> Event:
    """Have whoever a request is assigned to answer it, on the connection that stays here.

    The head is as it came, also as bytes: what was found out of it here, whoever answers finds out again.
    """
    service, request, talk = connection.service, connection.request, connection.talk
    assert service is not None
    assert request is not None
    assert request.assignment is not None
    try:
        found = await find_target(connection, service, talk.head, talk.raw, request.assignment)
        if found is not None:
            keep = await pass_through(connection, service, talk.head, *found)
            return connection.relay_is_over(keep=keep and not talk.last)
        # By what the file system says, it is this worker's after all.
        request = connection.request = Request(talk.head, connection.endpoints, service.site, request.time, request.log)
        connection.response = connection.respond(service, request, passed=True)
    except HTTPError as error:
        connection.response = error_response(request, error)
    return Event.ANSWERED
