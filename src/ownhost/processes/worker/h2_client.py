"""An HTTP/2 client with a conversation: its commands are run here, or by the object that answers a stream."""

from __future__ import annotations

from abc import abstractmethod

from h2.errors import ErrorCodes

from ownhost.processes.mailbox import Handover
from ownhost.processes.worker.client import Client
from ownhost.processes.worker.h2_conversation import Commands, Conversation, Event
from ownhost.processes.worker.h2_stream import Stream
from ownhost.processes.worker.shared import Shared
from ownhost.processes.worker.transport import Transport
from ownhost.request import bugs
from ownhost.request.request import Level


class Http2Client(Client):
    """`talk` has its state."""

    __slots__ = ("clock", "sock", "talk")

    def __init__(self, worker: Shared, sock: Transport, handover: Handover) -> None:
        super().__init__(worker, handover)
        self.sock = sock
        self.service = worker.services.get(handover.server)
        self.clock = worker.loop.time
        self.talk = Conversation(self.service or worker.default, self.clock())

    @abstractmethod
    def soon(self) -> None:
        """Send what there is at the end of this turn."""

    def perform(self, commands: Commands) -> None:
        """Run commands. An exception ends only the stream, if the command is a stream's."""
        for what, stream, details in commands:
            whose = self if stream is None else stream.answering
            try:
                getattr(whose, what)(*details)
            except Exception as error:
                whose.broke(error)

    def acknowledge(self, stream: Stream, size: int) -> None:
        """Let the client send this many bytes more."""
        self.talk.acknowledge(stream.id, size)
        self.soon()

    def close_if_idle(self) -> None:
        self.perform(self.talk.take(Event.STOP, self.clock()))

    def close(self) -> None:
        self.perform(self.talk.take(Event.GONE, self.clock()))

    def broke(self, error: Exception) -> None:
        """An unexpected exception, on an unknown stream: all of them end."""
        bugs.report(lambda level, _, text: self.log(level, text), error)
        self.perform(self.talk.violated(ErrorCodes.INTERNAL_ERROR, "a bug", self.clock()))

    def log(self, level: Level, text: str) -> None:
        """Write to the error log of the virtual host, about no stream in particular."""
        service = self.service or self.worker.default
        client = f"{self.endpoints.client}:{self.endpoints.client_port}"
        service.error_log.log(level, "http2", text, client)
