"""Seeing that a client has left while a program, or another worker, is at work on its answer."""

from __future__ import annotations

import asyncio
from socket import MSG_DONTWAIT
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ownhost.processes.relay.copying import Copying
    from ownhost.processes.worker.connection import Connection

INTERVAL = 0.5  # seconds between looks
READ_SIZE = 65_536
_RECEIVE = int(MSG_DONTWAIT)


class ClientWatch:
    """Ends a connection's task once its client has closed.

    It looks now and then, at all connections in one go: a program that answers soon costs no system call and no timer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.watched: set[Connection] = set()
        self.looking = False

    def begin(self, connection: Connection) -> None:
        """Watch a connection whose task waits."""
        self.watched.add(connection)
        if not self.looking:
            self.looking = True
            self.loop.call_later(INTERVAL, self.look)

    def end(self, connection: Connection) -> None:
        """Stop watching it."""
        self.watched.discard(connection)

    def look(self) -> None:
        """See whether the clients are there, and look again later."""
        for connection in list(self.watched):
            connection.look_at_client()
        self.looking = bool(self.watched)
        if self.looking:
            self.loop.call_later(INTERVAL, self.look)


def look_at(connection: Connection) -> None:
    """End the task that waits for an answer, where nobody waits for that."""
    if connection.copying is not None:
        _look_behind(connection, connection.copying)
        return
    incoming, task = connection.incoming, connection.task
    if incoming is None or not incoming.complete or task is None:
        return
    try:
        ended = _has_ended(connection)
    except OSError:
        task.cancel()
        return
    if ended and connection.talk.doubts(connection.worker.loop.time()):
        task.cancel()


def _has_ended(connection: Connection) -> bool:
    """Whether the client has ended its stream, without a further request. Raises OSError where it was reset."""
    if connection.talk.buffer:
        return False
    try:
        connection.talk.buffer = connection.sock.recv(READ_SIZE, _RECEIVE)
    except BlockingIOError:
        return False
    return not connection.talk.buffer


def _look_behind(connection: Connection, copying: Copying) -> None:
    """See whether the client of a relayed request is there: who answers has the same doubts as this worker."""
    if not copying.has_read_all or copying.rest:
        return
    try:
        copying.rest = connection.sock.recv(READ_SIZE, _RECEIVE)
    except BlockingIOError:
        return
    except OSError:
        if connection.task is not None:
            connection.task.cancel()
        return
    if not copying.rest:
        copying.stream.end_input()
