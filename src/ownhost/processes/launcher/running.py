"""A program that a launcher runs for one request, until its worker has finished with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from socket import MSG_DONTWAIT

from ownhost.processes.launcher.turns import Lease

MOMENT = 0.5  # seconds for a program to end by itself when its worker has read all


class Running:
    """A program and its process group.

    All processes that hold the program's output are part of its response. So the group is ended if
    the worker leaves without having said that it has read all. After that message, only a program
    that goes on itself is ended, soon. Processes that it left running hold no output then, and may
    go on.

    A program that ended is not collected before: its number is the group's, and must not become
    another's.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pid: int, lease: Lease, when_over: Callable[[int], None]
    ) -> None:
        self.loop = loop
        self.pid = pid
        self.lease = lease
        self.when_over = when_over
        self.has_ended = False
        self.is_over = False
        self.is_released = False  # the group was ended, or need not be
        self.pidfd = os.pidfd_open(pid)
        loop.add_reader(self.pidfd, self.end)
        lease.when_left(self.leave)

    def end(self) -> None:
        """The program ended."""
        self.loop.remove_reader(self.pidfd)
        self.has_ended = True
        if self.is_released:
            self.collect()

    def leave(self) -> None:
        """The worker says that it has read all, or is gone without a message."""
        self.loop.remove_reader(self.lease.sock.fileno())
        heard = b""
        with contextlib.suppress(OSError):
            heard = self.lease.sock.recv(1, MSG_DONTWAIT)
        if not heard:
            self.kill()
        elif self.has_ended:
            self.collect()
        else:
            self.is_released = True
            self.loop.call_later(MOMENT, self.kill)

    def kill(self) -> None:
        """End the program and what it started, unless it ended by itself."""
        if self.is_over:
            return
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        self.is_released = True
        if self.has_ended:
            self.collect()

    def collect(self) -> None:
        """Release all of it."""
        self.is_over = True
        os.close(self.pidfd)
        os.waitpid(self.pid, 0)
        self.lease.close()
        self.when_over(self.pid)
