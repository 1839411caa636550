"""How a HTTP/1 connection comes to whoever its next request is for: back to a gate, with the bytes read so far."""

from __future__ import annotations

from socket import socket, socketpair
from typing import TYPE_CHECKING

from ownhost.http.message import Head, HTTPError
from ownhost.http.tls import TLSSocket
from ownhost.identity.identity import Assignment
from ownhost.processes.mailbox import MAX_MOVES, Return, send_return
from ownhost.processes.worker.pump import pump
from ownhost.request.request import Level

if TYPE_CHECKING:
    from ownhost.processes.worker.connection import Connection


def hand_back(connection: Connection, whose: Assignment | None) -> None:
    """Give a connection to whom its next request belongs to."""
    connection.request = None
    if connection.moves >= MAX_MOVES:
        why = f"a request was passed on {connection.moves} times and belongs nowhere"
        connection.log(Level.ERROR, "core", why)
        connection.refuse(HTTPError(500, "its identity cannot be told"))
        return
    if connection.worker.stopping:  # the gates have gone before
        connection.refuse(HTTPError(503, "the server is stopping, and the request is another identity's"))
        return
    connection.pause()
    try:
        if isinstance(connection.sock, TLSSocket):
            _relay(connection, connection.sock, whose)
            return
        message = Return(whose, connection.moves, connection.ticket, connection.buffer, connection.origin)
        send_return(connection.worker.mailbox, [connection.sock.fileno()], message)
    except OSError as error:
        connection.refuse(HTTPError(503, f"the gates don't take the connection back: {error.strerror}"))
        return
    connection.close()


def _relay(connection: Connection, client: TLSSocket, whose: Assignment | None) -> None:
    """Over TLS the stream cannot move: it goes on in clear, from here to whoever its requests are for."""
    facts = connection.endpoints.tls
    assert facts is not None
    ours, theirs = socketpair()
    ours.setblocking(False)
    origin = f"{facts.server}\0{facts.to_text()}"
    message = Return(whose, connection.moves, connection.ticket, connection.buffer, origin, relay=True)
    try:
        send_return(connection.worker.mailbox, [client.fileno(), theirs.fileno()], message)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    connection.buffer = b""
    connection.leave()
    connection.begin_task(_pass_on(connection, client, ours))


async def _pass_on(connection: Connection, client: TLSSocket, ours: socket) -> None:
    """Relay until one side ends."""
    with ours:
        await pump(connection.worker.loop, client, ours, connection.timeout)
    connection.close()


def seek(connection: Connection, head: Head) -> None:
    """Nobody here knows whose a name is: the gates do."""
    if connection.endpoints.secure:
        connection.begin_task(_ask(connection, head.host))
    else:
        hand_back(connection, None)


async def _ask(connection: Connection, host: str) -> None:
    """Over TLS: which virtual host is it? Then go on with the request."""
    known = await connection.worker.ask(connection.endpoints, host)
    connection.task = None
    if known:
        connection.serve()
    else:
        connection.refuse(HTTPError(503, "the gates don't answer"))
