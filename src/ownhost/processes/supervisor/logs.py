"""The supervisor's logs: opened as root at the start, each passed to its writers.

A log file that only one identity writes goes to its workers directly. A log of several writers
(usually the main error log), a terminal, and a program stay with the logger process. Their writers
get a socket. So none of them can truncate what others wrote, type into the terminal, or tear a line
in two.

A log in a folder that others than root may write to is opened by each of its writers (`ownlog`).
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Collection

from ownhost.config.model import Config
from ownhost.modules.log_config import logs_of, starts_of_lines
from ownhost.processes.logwriter import LogWriter
from ownhost.processes.slices import DEFAULT_IDENTITY, LoggerSlice
from ownhost.processes.supervisor.logfiles import LogError, PipedLog, targets
from ownhost.processes.supervisor.plan import Plan
from ownhost.request.errorlog import ERROR_LOG, LOG_RATE_LIMIT, ErrorLog, LogTarget
from ownhost.request.request import Level
from ownhost.request.routing import choices_of, main_for_logging

MANY = frozenset((-1, -2))  # stands for identities that are not known yet


class Logs:
    """All open logs of a configuration. Those without a writer are closed."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        opened: dict[LogTarget, int | PipedLog],
        left: dict[LogTarget, int | None],
    ) -> None:
        self.config = config
        self.left = left  # for their writers, who make them with these modes
        self.main = main = config.main.settings[ERROR_LOG]
        self.servers = targets(config)
        self.writers = {target: self._writers(servers, plan) for target, servers in self.servers.items()}
        # A process that serves nothing else still has messages for the main log; gates do, too.
        self.writers.setdefault(main, set()).add(DEFAULT_IDENTITY)
        self.pipes: dict[LogTarget, PipedLog] = {}
        self.descriptors: dict[LogTarget, int] = {}
        for target, log in opened.items():
            self._take(target, log)
        self.shared = self._find_shared(main)
        self.main_log = self.shared.index(main)
        self._error_log = ErrorLog(config.main, LogWriter(self.descriptors[main], lambda flush: flush()).write)

    @staticmethod
    def _writers(servers: Collection[int], plan: Plan) -> set[int]:
        """The identities that write a log. If expressions name them, their number is not known."""
        numbers = {number for number, served in plan.serves.items() if not set(served).isdisjoint(servers)}
        computed = any(choices_of(plan.config.servers[id_]).computed for id_ in servers)
        return numbers | MANY if computed else numbers

    def _take(self, target: LogTarget, log: int | PipedLog) -> None:
        if isinstance(log, PipedLog):
            self.pipes[target] = log
            self.descriptors[target] = log.fileno()
        else:
            self.descriptors[target] = log
        if target not in self.writers:
            self._close(target)

    def _close(self, target: LogTarget) -> None:
        descriptor = self.descriptors.pop(target)
        pipe = self.pipes.pop(target, None)
        if pipe is None:
            os.close(descriptor)
        else:
            pipe.stop()

    def _find_shared(self, main: LogTarget) -> list[LogTarget]:
        """What the logger writes. Different names for one file count as one."""
        status = {target: os.fstat(descriptor) for target, descriptor in self.descriptors.items()}
        files = {target: (found.st_dev, found.st_ino) for target, found in status.items()}
        together: dict[tuple[int, int], set[int]] = {}
        for target, file in files.items():
            together.setdefault(file, set()).update(self.writers[target])
        return [
            target
            for target, file in files.items()
            if len(together[file]) > 1 or file == files[main] or not stat.S_ISREG(status[target].st_mode)
        ]

    def written_by(self, servers: Collection[int]) -> tuple[set[LogTarget], set[LogTarget]]:
        """The error logs and access logs of these virtual hosts; of none, the main error log."""
        found = [self.config.servers[id_] for id_ in servers]
        error = {server.settings[ERROR_LOG] for server in found}
        return error or {self.main}, {log.target for server in found for log in logs_of(server)}

    def shared_number(self, target: LogTarget) -> int | None:
        """The logger's number for a log; None for one that a single identity writes."""
        return self.shared.index(target) if target in self.shared else None

    def shared_descriptors(self) -> list[int]:
        """The shared logs' descriptors, by number."""
        return [self.descriptors[target] for target in self.shared]

    def logger_slice(self, plan: Plan) -> LoggerSlice:
        """The logger's slice."""
        rate, burst = self.config.main.settings[LOG_RATE_LIMIT]
        return LoggerSlice(
            names=[target.value for target in self.shared],
            main=self.main_log,
            servers={server.id: main_for_logging(server, ()) for server in self.config.servers},
            serves={number: list(served) for number, served in plan.serves.items()},
            starts={number: self._starts(target) for number, target in enumerate(self.shared)},
            rate=rate,
            burst=burst,
        )

    def _starts(self, target: LogTarget) -> dict[int, list[str]]:
        servers = (self.config.servers[id_] for id_ in self.servers[target])
        found = {server.id: starts_of_lines(server, target) for server in servers}
        return {id_: starts for id_, starts in found.items() if starts}

    def descriptor(self, target: LogTarget) -> int:
        """The open log itself."""
        return self.descriptors[target]

    def error(self, level: Level, message: str) -> None:
        """Write to the main error log."""
        self._error_log.log(level, "core", message)

    def watch_pipes(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep piped logs' programs running: one that ended is started again, at most once a second."""
        for pipe in self.pipes.values():
            if pipe.ended():
                self._start_again(pipe)
        if self.pipes:
            loop.call_later(1.0, self.watch_pipes, loop)

    def _start_again(self, pipe: PipedLog) -> None:
        """Start a program that ended; log once if that fails."""
        was_failing, pipe.failing = pipe.failing, False
        try:
            pipe.start()
        except LogError as error:
            pipe.failing = True
            if not was_failing:
                self.error(Level.ERROR, f"{error}; trying again every second")
        else:
            self.error(Level.ERROR, f"the log program |{pipe.target.value} ended: started again")

    def close(self) -> None:
        """Close everything; piped logs' programs end when their input does."""
        for target in list(self.descriptors):
            self._close(target)
