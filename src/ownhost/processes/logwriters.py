"""The logs of a process that serves an identity, as its slice names them: its own, and those that the logger writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ownhost.config.model import VirtualHost
from ownhost.processes.budget import Budget
from ownhost.processes.logwriter import LogWriter, is_loggers
from ownhost.processes.slices import LogPlaces
from ownhost.request.errorlog import ERROR_LOG, ErrorLog, LogTarget
from ownhost.request.request import Level

TOO_MANY = "%d lines are lost: more than LogRateLimit %.0f, or the log was not taken in time"


class LogWriters:
    """What writes error logs, and what writes access logs."""

    def __init__(self, places: LogPlaces, descriptors: Sequence[int], loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rate = places.rate
        self._error = {target: self._writer(descriptors[place]) for target, place in places.error.items()}
        self.access = {target: self._writer(descriptors[place]) for target, place in places.access.items()}

    def _writer(self, descriptor: int) -> LogWriter:
        loop = self._loop
        return LogWriter(descriptor, loop.call_soon, loop.call_later, to_logger=is_loggers(descriptor))

    def error_log(self, server: VirtualHost) -> ErrorLog:
        """A virtual host's error log. What the logger does for shared ones is done here for one's own: LogRateLimit."""
        target: LogTarget = server.settings[ERROR_LOG]
        writer = self._error[target]
        if writer.to_logger:
            return ErrorLog(server, writer.write, shared=True)
        log = ErrorLog(server, writer.write)
        if writer.budget is None:
            writer.budget = Budget(*self._rate)
            writer.note = lambda lines: log.made(Level.WARN, "core", TOO_MANY % (lines, self._rate[0])).encode()
        return log

    def all(self) -> list[LogWriter]:
        """All that write."""
        return [*self._error.values(), *self.access.values()]
