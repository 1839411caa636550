"""The logs of a process that serves an identity, as its slice names them.

Some are its own, open or in a folder of its owner's. The logger writes the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from ownhost.config.model import VirtualHost
from ownhost.processes.budget import Budget
from ownhost.processes.logwriter import LogWriter, is_loggers
from ownhost.processes.ownlog import OwnLog
from ownhost.processes.slices import LogPlaces
from ownhost.request.errorlog import ERROR_LOG, ErrorLog, LogTarget
from ownhost.request.request import Level

TOO_MANY = "%d lines are lost: more than LogRateLimit %.0f, or the log was not taken in time"


class LogWriters:
    """The writers of error logs and of access logs.

    `servers` are those that the process serves. Errors about its own logs go to the main error log,
    in the name of the first server, or of `main` if it serves none.
    """

    def __init__(
        self,
        places: LogPlaces,
        descriptors: Sequence[int],
        loop: asyncio.AbstractEventLoop,
        servers: Sequence[VirtualHost],
        main: VirtualHost,
    ) -> None:
        self._descriptors = descriptors
        self._loop = loop
        self._places = places
        self._main = main
        self._speaks_for = servers[0] if servers else main
        errors = {server.settings[ERROR_LOG] for server in servers}
        self._error = self._writers(places.error, (one for one in places.own if one in errors))
        self.access = self._writers(places.access, places.own)

    def _writers(self, given: dict[LogTarget, int], own: Iterable[LogTarget]) -> dict[LogTarget, LogWriter]:
        return {
            **{target: self._given(place) for target, place in given.items()},
            **{one: self._own(one) for one in own},
        }

    def _given(self, place: int) -> LogWriter:
        loop, descriptor = self._loop, self._descriptors[place]
        return LogWriter(descriptor, loop.call_soon, loop.call_later, to_logger=is_loggers(descriptor))

    def _own(self, target: LogTarget) -> LogWriter:
        mode = self._places.own[target]
        return OwnLog(target.value, mode, self._loop.call_soon, self._loop.call_later, self._complain)

    def _complain(self, reason: str) -> None:
        writer = self._error[self._main.settings[ERROR_LOG]]
        log = ErrorLog(self._speaks_for, writer.write, shared=writer.to_logger)
        log.log(Level.ERROR, "core", reason)

    def error_log(self, server: VirtualHost) -> ErrorLog:
        """A virtual host's error log.

        LogRateLimit, which the logger applies to shared logs, is applied here to its own.
        """
        writer = self._error[server.settings[ERROR_LOG]]
        if writer.to_logger:
            return ErrorLog(server, writer.write, shared=True)
        log = ErrorLog(server, writer.write)
        if writer.budget is None:
            rate = self._places.rate
            writer.budget = Budget(*rate)
            writer.note = lambda lines: log.made(Level.WARN, "core", TOO_MANY % (lines, rate[0])).encode()
        return log

    def all(self) -> list[LogWriter]:
        """All writers."""
        return [*self._error.values(), *self.access.values()]
