"""Noticing that a client has left while a program, or another worker, works on its response."""

from __future__ import annotations

import asyncio
from typing import Protocol

INTERVAL = 0.5  # seconds between looks


class Watched(Protocol):
    """A connection whose task waits."""

    def look_at_client(self) -> None:
        """End the task, if its client has left. Never raises."""


class ClientWatch:
    """Ends a connection's task once its client has closed.

    It checks now and then, all connections in one go: a program that answers soon costs no system
    call and no timer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.watched: set[Watched] = set()
        self.looking = False

    def begin(self, connection: Watched) -> None:
        """Watch a connection whose task waits."""
        self.watched.add(connection)
        if not self.looking:
            self.looking = True
            self.loop.call_later(INTERVAL, self.look)

    def end(self, connection: Watched) -> None:
        """Stop watching it."""
        self.watched.discard(connection)

    def look(self) -> None:
        """Check whether the clients are there, and schedule the next check."""
        for connection in list(self.watched):
            connection.look_at_client()
        self.looking = bool(self.watched)
        if self.looking:
            self.loop.call_later(INTERVAL, self.look)
