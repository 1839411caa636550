"""What a worker's clients share: the virtual hosts of one identity, the event loop, and the waits there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from typing import Protocol

from setproctitle import setproctitle

from ownhost.http.deadlines import Deadlines, Timed
from ownhost.processes.heartbeat import OWN
from ownhost.processes.logwriters import LogWriters
from ownhost.processes.messages import Busy, Channel
from ownhost.processes.scoreboard import Clients
from ownhost.processes.slices import WorkerSlice
from ownhost.processes.worker.client_watch import ClientWatch
from ownhost.processes.worker.dialogue import Dialogue
from ownhost.processes.worker.encryption import Encryption
from ownhost.processes.worker.launching import LauncherClient
from ownhost.processes.worker.lingering import Lingering
from ownhost.processes.worker.own_identity import OwnIdentity
from ownhost.processes.worker.relaying import Relays
from ownhost.processes.worker.service import Service
from ownhost.processes.worker.turn import Turn
from ownhost.processes.worker.waiting import Waiting
from ownhost.request.given_files import GivenFiles
from ownhost.request.hosts import NameTable
from ownhost.request.request import Level

LOAD_INTERVAL = 0.25  # seconds over which a worker's load is measured
BUSY_SHARE = 0.9  # of a core: with more, one worker is not enough
BEAT = 5.0  # seconds between two signs of life: a fraction of how long a worker may stand still
TITLE_INTERVAL = 1.0  # seconds between updates of the process title
COARSE = 0.1  # seconds that a client's deadline may be late


class Staying(Timed, Protocol):
    """A client that stays longer than one turn."""

    def close_if_idle(self) -> None:
        """For a stop: end it if nothing has begun."""


class Shared:
    """One identity's virtual hosts, and its open connections."""

    def __init__(
        self, channel: Channel, slice_: WorkerSlice, descriptors: list[int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.channel = channel
        self.loop = loop
        self.slice = slice_
        self.orders = socket.socket(fileno=descriptors[1])
        writers = LogWriters(slice_.logs, descriptors, loop, slice_.servers, slice_.main)
        self.writers = writers.all()
        self.programs = {
            command: Dialogue(loop, command, descriptors[talk], descriptors[errors], self.log)
            for command, (talk, errors) in slice_.programs.items()
        }
        self.turn = Turn(loop.call_soon)
        self.services = self._services(writers, descriptors)
        # For messages of no virtual host: the main server's settings, if this identity has its log.
        served = next(iter(self.services.values()), None)
        self.default = served or Service(slice_.main, OwnIdentity(slice_, slice_.main), writers, self.turn.at_end)
        self.names: dict[tuple[str, int], NameTable] = {}  # that were looked up before, by address
        self.relays = Relays(loop, channel)
        self.connections: set[Staying] = set()
        self.waiting = Waiting(loop)
        self.deadlines = Deadlines(loop, COARSE)
        self.watch = ClientWatch(loop)
        self.lingering = Lingering(loop, self.end_if_done)
        self.heartbeat = OWN.heartbeat
        self.load_is_watched = False
        self.title_due = False
        self.stopping = False

    def _services(self, writers: LogWriters, descriptors: list[int]) -> dict[int, Service]:
        """The virtual hosts, by their ids."""
        clients = _counters(self.slice, descriptors)
        encryption = {
            server.id: Encryption(server, self.slice.tls[server.id], descriptors, self.loop)
            for server in self.slice.servers
            if server.id in self.slice.tls
        }
        services = {
            server.id: Service(
                server,
                OwnIdentity(self.slice, server),
                writers,
                self.turn.at_end,
                clients.get(server.id),
                encryption.get(server.id),
            )
            for server in self.slice.servers
        }
        for server_id, service in services.items():
            service.site.programs = self.programs
            opened = self.slice.opened.get(server_id, {})
            service.site.opened = GivenFiles.numbered(opened, descriptors)
            service.site.launcher = LauncherClient(self.loop, self.orders, server_id, service.timeout)
        return services

    def log(self, level: Level, message: str, module: str = "core") -> None:
        """Write to the error log of no virtual host in particular."""
        self.default.error_log.log(level, module, message)

    def names_at(self, local: str, port: int) -> NameTable:
        """This worker's names at an address; remembered from now on."""
        names = self.names[local, port] = self.slice.names.names(local, port)
        return names

    def adopt(self, connection: Staying) -> None:
        """A connection stays longer than one turn."""
        self.connections.add(connection)
        self.heartbeat.idle_since = 0.0
        self.title_changed()

    def forget(self, connection: Staying) -> None:
        """A connection is closed, or passed on."""
        if connection in self.connections:
            self.connections.discard(connection)
            self.deadlines.drop(connection)
            self.note_idle()
            self.title_changed()
            self.end_if_done()

    def end_if_done(self) -> None:
        """At a stop: leave once the last client has."""
        if self.stopping and not self.connections and not self.lingering:
            self.relays.pool.close()
            self.loop.stop()

    def note_idle(self) -> None:
        """Note on this process's page that it has no connection, if so: the one idle for longest leaves first."""
        if not self.connections:
            self.heartbeat.idle_since = time.monotonic()

    def beat(self) -> None:
        """Note on this process's page, now and then, that the loop goes on, as long as there are clients."""
        self.heartbeat.busy_since = time.monotonic()
        self.loop.call_later(BEAT, self.beat_on)

    def beat_on(self) -> None:
        """The next sign of life; none without clients."""
        if self.connections or self.lingering:
            self.beat()
        else:
            self.heartbeat.busy_since = 0.0

    def watch_load(self) -> None:
        """Measure how much of the next moment is work. Called at the beginning of work, if no measurement runs."""
        self.load_is_watched = True
        self.loop.call_later(LOAD_INTERVAL, self.check_load, time.process_time(), self.loop.time())

    def check_load(self, cpu_before: float, time_before: float) -> None:
        """A worker that fills its core asks for another one: the next connections go to a worker with time."""
        self.load_is_watched = False
        if time.process_time() - cpu_before > BUSY_SHARE * (self.loop.time() - time_before):
            self.report_load()

    def report_load(self) -> None:
        """Tell the supervisor that one worker is not enough. Its policy decides."""
        with contextlib.suppress(OSError):
            self.channel.send(Busy())

    def title_changed(self) -> None:
        """Update the title, but not at every change."""
        if not self.title_due:
            self.title_due = True
            self.loop.call_later(TITLE_INTERVAL, self.update_title)

    def update_title(self) -> None:
        """Show role, identity and load to ps(1)."""
        self.title_due = False
        count = len(self.connections)
        plural = "" if count == 1 else "s"
        setproctitle(f"ownhost: worker {self.slice.identity.name} ({count} connection{plural})")


def _counters(slice_: WorkerSlice, descriptors: list[int]) -> dict[int, Clients]:
    """The counters of the clients of each server, if they are counted: mapped, and the descriptors closed for good."""
    found: dict[int, Clients] = {}
    for count in slice_.counts:
        clients = Clients(descriptors[count.writing], descriptors[count.reading], count.page)
        os.close(descriptors[count.writing])
        os.close(descriptors[count.reading])
        found.update(dict.fromkeys(count.servers, clients))
    return found
