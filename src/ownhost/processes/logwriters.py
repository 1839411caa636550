"""The logs of a process that serves an identity, as its slice names them: its own, and those that the logger writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ownhost.config.model import VirtualHost
from ownhost.processes.logwriter import LogWriter, is_loggers, say_lost, tell_logger
from ownhost.processes.slices import LogPlaces
from ownhost.request.errorlog import ERROR_LOG, ErrorLog, LogTarget


class LogWriters:
    """What writes error logs, and what writes access logs."""

    def __init__(self, places: LogPlaces, descriptors: Sequence[int], loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._error = {target: self._writer(descriptors[place]) for target, place in places.error.items()}
        self.access = {target: self._writer(descriptors[place]) for target, place in places.access.items()}

    def _writer(self, descriptor: int) -> LogWriter:
        note = tell_logger if is_loggers(descriptor) else say_lost
        return LogWriter(descriptor, self._loop.call_soon, self._loop.call_later, note)

    def error_log(self, server: VirtualHost) -> ErrorLog:
        """A virtual host's error log."""
        target: LogTarget = server.settings[ERROR_LOG]
        writer = self._error[target]
        return ErrorLog(server, writer.write, shared=is_loggers(writer.fd))

    def all(self) -> list[LogWriter]:
        """All that write."""
        return [*self._error.values(), *self.access.values()]
