"""An app's processes: started as needed, ended when they are not used for a while."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from ownhost.apps.app import FOLDER, SOCKET, App
from ownhost.identity.daemon_environment import daemon_environment
from ownhost.processes.launcher.app_errors import AppErrors
from ownhost.processes.launcher.child import Start, start
from ownhost.processes.launcher.turns import Lease
from ownhost.processes.orders import REPEATED
from ownhost.request.errorlog import ErrorLog

QUEUE = 256  # requests that wait for an app beside those being served: one more gets 503
BACKLOG = 511
SOON = 10.0  # seconds: a process that fails sooner counts as an early death
MOST_DEATHS = 3  # in a row, before the app is not started for a while
REST = 2.0  # seconds
LOOK_AGAIN = 0.01  # seconds between checks for a socket that an app makes itself
GRACE = 5.0  # seconds for an app to end
FINISH = 60.0  # seconds for requests of an app that another has replaced


class Pool:
    """One app. `ended` is called when nothing of it is left. Its folder is made in `state`; "" is the system's /tmp."""

    def __init__(
        self, app: App, loop: asyncio.AbstractEventLoop, ended: Callable[[Pool], None], state: str = ""
    ) -> None:
        self.app = app
        self.loop = loop
        self.ended = ended
        self.folder = Path(tempfile.mkdtemp(prefix="ownhost-", dir=state or None))  # 0700: only this identity can enter
        self.path = str(self.folder / "socket")
        self.processes: dict[int, tuple[int, float]] = {}  # pid -> pidfd, and since when it runs
        self.told: set[int] = set()  # processes that were told to end
        self.leases: set[Lease] = set()
        self.waiting: list[Lease] = []  # leases that wait until the app has its socket
        self.errors = AppErrors(app, loop)
        self.deaths = 0
        self.rests_until = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.begun = False  # whether the first processes were started
        self.served = 0  # leases
        self.retired = False
        self.ending = False
        self.ready = app.listens  # whether a process accepts on the socket
        self.looking = False
        self.stamps = stamps(app)
        for name, content in app.files:
            (self.folder / name).write_bytes(self._filled(content).encode("utf-8", "surrogateescape"))
        self.listener = self._listen() if app.listens else None

    def _filled(self, text: str) -> str:
        """A text with the names of this pool's socket and folder inserted."""
        return text.replace(SOCKET, self.path).replace(FOLDER, str(self.folder))

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(BACKLOG)
        return listener

    # Leases

    def lease(self, lease: Lease, error_log: ErrorLog) -> None:
        """A request wants to use the app. Its messages go to this log from now on."""
        self.errors.log = error_log
        self.reap_ended()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.app.at_once and len(self.leases) >= self.app.processes + QUEUE:
            self.refuse(lease, "too many requests wait for it")
            return
        if self.loop.time() < self.rests_until:
            self.refuse(lease, "its processes keep dying")
            return
        self.leases.add(lease)
        self.served += 1
        lease.when_left(lambda: self.hear(lease))
        self.start_some()
        if self.ready:
            lease.answer(socket=self.path)
            return
        self.waiting.append(lease)
        if not self.looking:
            self.looking = True
            self.look_for_socket()

    def refuse(self, lease: Lease, why: str) -> None:
        """Answer that the app cannot be used."""
        lease.answer(error=why)
        lease.close()
        self.rest_if_unused()

    def look_for_socket(self) -> None:
        """Answer when an app has made its socket itself."""
        self.ready = self._accepts()
        if self.ready:
            for lease in self.waiting:
                lease.answer(socket=self.path)
            self.waiting.clear()
        self.looking = bool(self.waiting) and not self.ending
        if self.looking:
            self.loop.call_later(LOOK_AGAIN, self.look_for_socket)

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(self.path)
            return True
        return False

    def hear(self, lease: Lease) -> None:
        """A lease is over, or its worker says something.

        If no process takes its request, other leases must give theirs back, and a missing process
        is started.
        """
        word = lease.hear()
        if word == b"":
            self.release(lease)
            return
        if word is not None and word.startswith(REPEATED):
            self.errors.hear(word[1:].decode("utf-8", "surrogateescape"))
            return
        for other in self.leases:
            other.want_back()
        if not self.app.listens:
            self.knock()

    def knock(self) -> None:
        """Have a program that starts its own processes check whether one is missing: it does so on a connection."""
        with socket.socket(socket.AF_UNIX) as knocking, contextlib.suppress(OSError):
            knocking.setblocking(False)
            knocking.connect(self.path)

    def release(self, lease: Lease) -> None:
        """A lease is over."""
        self.leases.discard(lease)
        if lease in self.waiting:
            self.waiting.remove(lease)
        lease.close()
        self.retire_some()
        self.rest_if_unused()

    def rest_if_unused(self) -> None:
        """End the app if it is not used for a while; at once if it will not be used again."""
        if self.leases:
            return
        if self.retired:
            self.end()
        elif self.timer is None:
            self.timer = self.loop.call_later(self.app.idle_timeout, self.end)

    # Processes

    def start_some(self) -> None:
        """Start the missing processes."""
        wanted = self.wanted()
        while len(self.processes) < wanted and not self.ending and self.loop.time() >= self.rests_until:
            self.start_one()

    def wanted(self) -> int:
        """How many processes there should be: one for each request, and some spare, within the app's limit.

        If a process takes any number of requests, none is ever spare: all allowed processes share
        them.
        """
        app = self.app
        if not app.listens:
            return 1
        if not app.at_once:
            return app.processes
        needed = max(1, len(self.leases) + app.spare)
        if not self.begun:
            self.begun, needed = True, max(needed, app.first)
        return min(app.processes, needed)

    def retire_some(self) -> None:
        """End surplus processes: first those that were told to finish."""
        app = self.app
        if app.most_spare and app.at_once and app.listens:
            for pid in list(self.processes)[len(self.leases) + app.most_spare :]:
                self.told.add(pid)
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGTERM)

    def start_one(self) -> None:
        """Start one process."""
        app = self.app
        command = tuple(os.fsencode(self._filled(part)) for part in app.command)
        variables = {**daemon_environment(), **{name: self._filled(value) for name, value in app.environment}}
        environment = {os.fsencode(name): value.encode("utf-8", "surrogateescape") for name, value in variables.items()}
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            given = self.listener.fileno() if self.listener else null
            pid = self.errors.start(
                lambda errors: start(Start(command, environment, app.folder, (given, null, errors)))
            )
        finally:
            os.close(null)
        pidfd = os.pidfd_open(pid)
        self.processes[pid] = pidfd, self.loop.time()
        self.loop.add_reader(pidfd, self.reap, pid)

    def reap_ended(self) -> None:
        """Check whether an app that makes its socket itself has ended, before it counts as listening."""
        if self.ready and not self.app.listens:
            for pid, (pidfd, _) in list(self.processes.items()):
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                if poll.poll(0):
                    self.reap(pid)

    def reap(self, pid: int) -> None:
        """A process ended: start another if needed, unless they keep dying."""
        pidfd, since = self.processes.pop(pid)
        self.loop.remove_reader(pidfd)
        os.close(pidfd)
        if not self.app.listens:
            self.end_children(pid)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if self.ending:
            if not self.processes:
                self.clear()
            return
        early = status != 0 and pid not in self.told and self.loop.time() - since < SOON
        self.told.discard(pid)
        self.deaths = self.deaths + 1 if early else 0
        self.ready = self.app.listens
        if self.deaths >= MOST_DEATHS:
            self.rests_until = self.loop.time() + REST
            self.deaths = 0
            for lease in list(self.waiting or self.leases):
                self.leases.discard(lease)
                self.refuse(lease, "its processes keep dying")
            self.waiting.clear()
            self.turn_away()
        elif self.leases:
            self.start_some()

    def end_children(self, pid: int) -> None:
        """End what a process that makes its socket itself has left running, before it is collected.

        If it was killed, its children still accept on the socket, and the next one would not get
        it. Until a process is collected, its number is its group's, and no other's.
        """
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path(self.path).unlink()

    def turn_away(self) -> None:
        """Close the connections that no process has accepted: their clients would wait in vain."""
        if self.listener is None:
            return
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        while poll.poll(0):
            self.listener.accept()[0].close()

    # The end

    def is_worn(self) -> bool:
        """Whether other processes should take the next request: a watched file changed, or these have served enough.

        A process that takes any number of requests would close accepted but unread connections when
        it ends. So it ends only when it has no requests. Others are told their limit themselves.
        """
        limit = 0 if self.app.at_once else self.app.max_requests * self.app.processes
        return stamps(self.app) != self.stamps or 0 < limit <= self.served

    def retire(self) -> None:
        """Take no more requests: others follow. Current ones may finish."""
        self.retired = True
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.loop.call_later(FINISH, self.end)
        self.rest_if_unused()

    def end(self) -> None:
        """End all processes, then forget the app."""
        if self.ending:
            return
        self.ending = True
        for pid in self.processes:
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGTERM)
        if self.processes:
            self.loop.call_later(GRACE, self.kill)
        else:
            self.clear()

    def kill(self) -> None:
        """End those that did not."""
        for pid in self.processes:
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)

    def clear(self) -> None:
        """No process is left."""
        if self.timer is not None:
            self.timer.cancel()
        if self.listener is not None:
            self.listener.close()
        self.errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.ended(self)


def stamps(app: App) -> list[int]:
    """When an app's watched files last changed."""
    found = []
    for name in app.watched:
        with contextlib.suppress(OSError):
            found.append(os.stat(name).st_mtime_ns)
    return found
