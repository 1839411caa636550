"""Whether a client still waits for a program's answer: one that has left costs its owner no process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ownhost.processes.connection import Connection

LOOK_AGAIN = 0.5  # seconds between looks


class ClientWatch:
    """Ends a connection's task once its client has closed, though a program is still at work on the answer.

    It looks now and then: a program that answers soon costs no system call for it.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.timer = connection.worker.loop.call_later(LOOK_AGAIN, self.look)

    def look(self) -> None:
        """See whether the client is there, and look again later."""
        connection = self.connection
        incoming, task = connection.incoming, connection.task
        if incoming is not None and incoming.complete and connection.is_gone() and task is not None:
            task.cancel()
            return
        self.timer = connection.worker.loop.call_later(LOOK_AGAIN, self.look)

    def end(self) -> None:
        """Stop looking."""
        self.timer.cancel()
