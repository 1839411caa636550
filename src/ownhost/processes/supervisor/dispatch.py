"""Messages from processes: read one at a time, and no more from a process than it may send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from ownhost.processes.messages import Message, ProtocolError
from ownhost.processes.supervisor.children import Child

Answer = Callable[[Child, Message], None]  # raises ProtocolError for a message that is not allowed


class Dispatch:
    """Reads channels. `answers` has the handler of each message; `on_violation` ends who breaks the protocol."""

    def __init__(
        self, answers: Mapping[type[Message], Answer], on_violation: Callable[[Child, ProtocolError], None]
    ) -> None:
        self.answers = answers
        self.on_violation = on_violation

    def begin(self, child: Child) -> None:
        """Read a process's channel from now on, or again."""
        if not child.gone and not child.doomed:
            asyncio.get_running_loop().add_reader(child.channel.fileno(), self._on_message, child)

    def end(self, child: Child) -> None:
        """Stop reading it."""
        asyncio.get_running_loop().remove_reader(child.channel.fileno())

    def _on_message(self, child: Child) -> None:
        try:
            received = child.channel.receive()
        except BlockingIOError:
            return
        except ProtocolError as error:
            self._end_violator(child, error)
            return
        if received is None:
            self.end(child)  # its `Exited` follows
            return
        message, _ = received
        try:
            self.answers[type(message)](child, message)
        except ProtocolError as error:
            self._end_violator(child, error)
            return
        self._count(child)

    def _end_violator(self, child: Child, error: ProtocolError) -> None:
        self.end(child)
        self.on_violation(child, error)

    def _count(self, child: Child) -> None:
        """Read no more for a while from a process that sends too much."""
        if child.gone or child.doomed:
            return
        if wait := child.bucket.charge(1.0, time.monotonic()):
            self.end(child)
            asyncio.get_running_loop().call_later(wait, self.begin, child)
