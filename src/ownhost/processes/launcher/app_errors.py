"""The standard error of apps, in the error log of the virtual host that used them last."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from ownhost.apps.app import App
from ownhost.apps.php_errors import Echoes, of_line
from ownhost.processes.standard_error import StandardError
from ownhost.request.errorlog import ErrorLog
from ownhost.request.request import Level

SETTLE = 10.0  # seconds for a message to be in a response, too


class AppErrors:
    """The lines of an app's processes, in the error log of the virtual host that used the app last."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.loop = loop
        self.log: ErrorLog | None = None
        self.pipes: set[StandardError] = set()
        self.pid = 0  # of the process that was started last
        self.echoes = Echoes(lambda line: self.say(self.pid, line))
        self.timer: asyncio.TimerHandle | None = None

    def start(self, start: Callable[[int], int]) -> int:
        """Start a process with the end of a pipe: `start` gives its pid."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            pid = self.pid = start(writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.pipes.add(StandardError(self.loop, reading, lambda line: self.take(pid, line), self.pipes.discard))
        return pid

    def take(self, pid: int, line: str) -> None:
        """A process has written a line."""
        if self.app.echoes:
            self.echoes.take(line)
            self.wait()
        else:
            self.say(pid, line)

    def hear(self, messages: str) -> None:
        """A worker has logged these, as a response had them."""
        self.echoes.hear(messages)
        self.wait()

    def wait(self) -> None:
        """Make sure that no line waits for ever."""
        if self.echoes.waits and self.timer is None:
            self.timer = self.loop.call_later(SETTLE, self.settle)

    def settle(self) -> None:
        """Log the lines that no response had."""
        self.timer = None
        self.echoes.settle()

    def say(self, pid: int, line: str) -> None:
        """Log a line."""
        if self.log is not None:
            level, message = of_line(line) if self.app.echoes else (Level.ERROR, line)
            self.log.log(level, self.app.module, message, pid=pid)

    def close(self) -> None:
        """The app has ended: log everything. If another process still holds the pipe, it is read on."""
        for pipe in list(self.pipes):
            pipe.drain()
        if self.timer is not None:
            self.timer.cancel()
        self.settle()
