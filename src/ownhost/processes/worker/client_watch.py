"""Seeing that a client has left while a program is at work on its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ownhost.processes.worker.connection import Connection

INTERVAL = 0.5  # seconds between looks


class ClientWatch:
    """Ends a connection's task once its client has closed.

    It looks now and then, at all connections in one go: a program that answers soon costs no system call and no timer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.watched: set[Connection] = set()
        self.looking = False

    def begin(self, connection: Connection) -> None:
        """Watch a connection whose task waits for a program."""
        self.watched.add(connection)
        if not self.looking:
            self.looking = True
            self.loop.call_later(INTERVAL, self.look)

    def end(self, connection: Connection) -> None:
        """Stop watching it."""
        self.watched.discard(connection)

    def look(self) -> None:
        """See whether the clients are there, and look again later."""
        for connection in self.watched:
            connection.end_if_gone()
        self.looking = bool(self.watched)
        if self.looking:
            self.loop.call_later(INTERVAL, self.look)
