"""A worker.

NAME        serves one identity's requests
TRUSTS      the supervisor; what a gate says of a connection, after parsing the head again itself
RUNS AS     its identity, for life; no capabilities, undumpable, set*id and exec refused by the kernel
TALKS TO    clients (their sockets come out of its mailbox), other workers (requests that are relayed), its launcher
ENDS WHEN   it has been idle for a while, it was told to stop and is done, or its channel ends

It holds its own identity's virtual hosts, logs and mailbox, and nothing of any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
from typing import NoReturn

import uvloop
from setproctitle import setproctitle

from ownhost.apps import spooling
from ownhost.http.deadlines import Deadlines
from ownhost.http.message import Head, HTTPError
from ownhost.identity import landlock, seccomp
from ownhost.processes import heap, mailbox
from ownhost.processes.logwriters import LogWriters
from ownhost.processes.mailbox import Handover
from ownhost.processes.messages import Busy, Channel, Leave, NotRelayed, ProtocolError, Relayed
from ownhost.processes.pulse import OWN
from ownhost.processes.scoreboard import Clients
from ownhost.processes.slices import WorkerSlice, receive_slice
from ownhost.processes.worker.client import Client
from ownhost.processes.worker.client_watch import ClientWatch
from ownhost.processes.worker.connection import Connection
from ownhost.processes.worker.dialogue import Dialogue
from ownhost.processes.worker.encryption import Encryption
from ownhost.processes.worker.fronted import FrontedConnection
from ownhost.processes.worker.handshake import Handshake
from ownhost.processes.worker.launching import LauncherClient
from ownhost.processes.worker.lingering import Lingering
from ownhost.processes.worker.mine import Mine
from ownhost.processes.worker.relayed import RelayedConnection
from ownhost.processes.worker.relaying import Relays
from ownhost.processes.worker.service import Service
from ownhost.processes.worker.waiting import Waiting
from ownhost.processes.worker.written import written_folders
from ownhost.request import bugs
from ownhost.request.given_files import GivenFiles
from ownhost.request.hosts import NameTable, refuses
from ownhost.request.request import Level

TAKE_BATCH = 8  # connections taken out of the mailbox per turn, so that those being served get theirs
LOAD_INTERVAL = 0.25  # seconds over which a worker's load is measured
BUSY_SHARE = 0.9  # of a core: with more, one worker is not enough
BUSY_TURNS = 8  # full batches in a row before the supervisor is told that one worker is not enough
BEAT = 5.0  # seconds between two signs of life: a fraction of what a worker may stand still
TITLE_INTERVAL = 1.0  # seconds between updates of the process title
INET, INET6, STREAM = int(socket.AF_INET), int(socket.AF_INET6), int(socket.SOCK_STREAM)
COARSE = 0.1  # seconds that a client's deadline may be late


def _misdirected(connection: Client, asked: str) -> HTTPError:
    """The error for a request over TLS that the connection was not made for: Apache's words, which fail2ban reads."""
    tls = connection.endpoints.tls
    named = f"{tls.server_name} provided via SNI" if tls is not None and tls.server_name else "(no SNI was provided)"
    reason = f"AH02032: Hostname {named} and hostname {asked} provided via HTTP have no compatible SSL setup"
    return HTTPError(421, reason, module="ssl", level=Level.ERROR)


def _unnamed(service: Service, asked: str) -> HTTPError:
    """The error for a request for a host that nobody goes by, where StrictHostCheck is on."""
    server = service.site.virtual_host
    if server.id:
        number = "AH10157"
        where = f"in the matching virtual host (default vhost for current connection is {server.source})"
    else:
        number, where = "AH10156", "in the global server configuration"
    reason = f"{number}: Requested hostname '{asked}' did not match any ServerName/ServerAlias {where}"
    return HTTPError(400, reason, level=Level.WARN)


def main(channel: Channel) -> NoReturn:
    """Run a worker: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    landlock.restrict(landlock.reading_only(written_folders(slice_)))
    seccomp.install(seccomp.WORKER)
    gc.collect()  # what is left of a spare process's rehearsal: its event loop alone is 0.25 MiB
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(channel, slice_, descriptors, loop)
    gc.freeze()
    heap.give_back_zeros(loop)
    worker.run()
    raise SystemExit(0)


class Worker:
    """One identity's virtual hosts, and the connections that are being served."""

    def __init__(
        self, channel: Channel, slice_: WorkerSlice, descriptors: list[int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.channel = channel
        self.loop = loop
        self.slice = slice_
        spooling.begin(slice_.spooling)
        self.mailbox, self.orders = (socket.socket(fileno=descriptor) for descriptor in descriptors[:2])
        self.left_over = [socket.socket(fileno=descriptors[place]) for place in slice_.left_over]
        writers = LogWriters(slice_.logs, descriptors, loop, slice_.servers, slice_.main)
        self.writers = writers.all()
        clients = _counters(slice_, descriptors)
        self.programs = {
            command: Dialogue(loop, command, descriptors[talk], descriptors[errors], self.log)
            for command, (talk, errors) in slice_.programs.items()
        }
        encryption = {
            server.id: Encryption(server, slice_.tls[server.id], descriptors, loop)
            for server in slice_.servers
            if server.id in slice_.tls
        }
        self.services = {
            server.id: Service(
                server,
                Mine(slice_, server),
                writers,
                loop.call_soon,
                clients.get(server.id),
                encryption.get(server.id),
            )
            for server in slice_.servers
        }
        for server_id, service in self.services.items():
            service.site.programs = self.programs
            opened = slice_.opened.get(server_id, {})
            service.site.opened = GivenFiles.numbered(opened, descriptors)
            service.site.launcher = LauncherClient(loop, self.orders, server_id, service.timeout)
        # For what belongs to no virtual host: the main server's settings, where this identity has its log.
        served = next(iter(self.services.values()), None)
        self.default = served or Service(slice_.main, Mine(slice_, slice_.main), writers, loop.call_soon)
        self.names: dict[tuple[str, int], NameTable] = {}  # that were looked up before, by address
        self.relays = Relays(self)
        self.connections: set[Client | Handshake] = set()
        self.waiting = Waiting(loop)
        self.deadlines = Deadlines(loop, COARSE)
        self.watch = ClientWatch(loop)
        self.lingering = Lingering(loop, self.end_if_done)
        self.pulse = OWN.pulse
        self.taken = 0  # connections, in all
        self.full_batches = 0
        self.load_is_watched = False
        self.title_due = False
        self.stopping = False

    def run(self) -> None:
        """Serve until idle, told to stop, or alone."""
        self.channel.sock.setblocking(False)
        self.loop.add_reader(self.channel.fileno(), self.take_message)
        self.loop.add_reader(self.mailbox.fileno(), self.take)
        self.loop.call_soon(self.take_left_over)
        self.loop.set_exception_handler(self.on_bug)
        self.loop.call_later(self.slice.idle_timeout, self.leave_if_idle, self.taken)
        self.update_title()
        self.note_idle()
        self.loop.run_forever()
        for writer in self.writers:
            writer.finish()

    def on_bug(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """An exception that nobody expected: say so in the log, and go on with the other connections."""
        message, error = str(context.get("message")), context.get("exception")
        found = error if isinstance(error, BaseException) else RuntimeError(message)
        bugs.report(lambda level, _, text: self.log(level, text), found, message)

    def log(self, level: Level, message: str, module: str = "core") -> None:
        """Write to the error log of no virtual host in particular."""
        self.default.error_log.log(level, module, message)

    # Connections arrive

    def take(self) -> None:
        """Take connections out of the mailbox, and serve each one's first request at once."""
        if not self.pulse.busy_since:
            self.beat()
        for _ in range(TAKE_BATCH):
            try:
                received = mailbox.receive_handover(self.mailbox)
            except BlockingIOError:
                self.full_batches = 0
                self.note_idle()
                return
            except ProtocolError as error:
                self.log(Level.CRIT, f"a gate spoke nonsense: {error}")
                continue
            if received is None:  # somebody of this identity has shut it down: the supervisor makes another one
                self.loop.remove_reader(self.mailbox.fileno())
                return
            self.taken += 1
            self.serve(*received)
        self.note_idle()
        self.full_batches += 1
        if self.full_batches >= BUSY_TURNS:
            self.full_batches = 0
            self.ask_for_help()

    def serve(self, handover: Handover, descriptor: int) -> None:
        """Serve a connection that a gate hands over, or requests that another worker or a front relays."""
        if handover.relay:
            kind = FrontedConnection if handover.front else RelayedConnection
            kind(self, socket.socket(fileno=descriptor), handover).begin()
            return
        sock = socket.SocketType(INET6 if ":" in handover.local else INET, STREAM, 0, descriptor)
        if handover.encrypted:
            Handshake(self, sock, handover, self.services.get(handover.server, self.default)).begin()
        else:
            Connection(self, sock, handover).begin()

    def watch_load(self) -> None:
        """See how much of the next moment goes into work. Called by whoever begins some, where nobody watches."""
        self.load_is_watched = True
        self.loop.call_later(LOAD_INTERVAL, self.check_load, time.process_time(), self.loop.time())

    def check_load(self, cpu_before: float, time_before: float) -> None:
        """A worker that fills its core asks for another: connections to come go to whoever has time."""
        self.load_is_watched = False
        if time.process_time() - cpu_before > BUSY_SHARE * (self.loop.time() - time_before):
            self.ask_for_help()

    def ask_for_help(self) -> None:
        """Tell the supervisor that one worker is not enough; what comes of it is its policy's to say."""
        with contextlib.suppress(OSError):
            self.channel.send(Busy())

    def names_at(self, local: str, port: int) -> NameTable:
        """What this worker knows of the names at an address: from now on it is remembered."""
        names = self.names[local, port] = self.slice.names.names(local, port)
        return names

    def find(self, connection: Client, head: Head) -> Service | None:
        """The virtual host of a request; None where that is another owner's. Raises HTTPError where it is nobody's."""
        endpoints = connection.endpoints
        place = endpoints.local, endpoints.local_port
        server = (self.names.get(place) or self.names_at(*place)).find(head.host)
        refusal = self.slice.refused.get(server)
        if refusal is not None:
            raise HTTPError(500, refusal, module="mpm_itk")
        found = self.services.get(server)
        if endpoints.secure:
            answers = self.admit(connection, found, head.host)
        elif found is None or (connection.fresh and server != connection.server):
            return None
        else:
            answers = found
        if found is not None and found.checks_hosts and refuses(found.site.virtual_host, head.host):
            connection.denial = _unnamed(found, head.host)
        return answers

    def admit(self, connection: Client, found: Service | None, asked: str) -> Service:
        """Who answers a request over TLS for a host. One that the connection was not made for is denied."""
        own = self.services.get(connection.server)
        if found is None or not (found is own or (own is not None and found.shares_connections_of(own))):
            connection.denial = _misdirected(connection, asked)
            return own or found or self.default
        if found.encryption is not None and found.encryption.strict:
            tls = connection.endpoints.tls
            if tls is None or not tls.server_name:
                reason = "AH02033: No hostname was provided via SNI for a name based virtual host"
                connection.denial = HTTPError(403, reason, module="ssl")
        return found

    def take_left_over(self) -> None:
        """Serve what is in mailboxes that somebody of this identity has shut down, and be the one who closes them."""
        while self.left_over:
            with self.left_over.pop() as broken, contextlib.suppress(BlockingIOError, ProtocolError):
                while received := mailbox.receive_handover(broken):
                    self.taken += 1
                    self.serve(*received)

    # Connections stay, and leave

    def adopt(self, connection: Client | Handshake) -> None:
        """A connection stays for longer than one turn."""
        self.connections.add(connection)
        self.pulse.idle_since = 0.0
        self.title_changed()

    def forget(self, connection: Client | Handshake) -> None:
        """A connection is closed, or somebody else's."""
        if connection in self.connections:
            self.connections.discard(connection)
            self.deadlines.drop(connection)
            self.note_idle()
            self.title_changed()
            self.end_if_done()

    def beat(self) -> None:
        """Say on this process's page, now and then, that the loop goes on, for as long as anybody is served."""
        self.pulse.busy_since = time.monotonic()
        self.loop.call_later(BEAT, self.beat_on)

    def beat_on(self) -> None:
        """The next beat; none where nobody is served."""
        if self.connections or self.lingering:
            self.beat()
        else:
            self.pulse.busy_since = 0.0

    def note_idle(self) -> None:
        """Say on this process's page that it has no connection, if so: who is idle for long leaves first."""
        if not self.connections:
            self.pulse.idle_since = time.monotonic()

    def end_if_done(self) -> None:
        """At a stop: leave once the last client has."""
        if self.stopping and not self.connections and not self.lingering:
            self.relays.pool.close()
            self.loop.stop()

    def title_changed(self) -> None:
        """Have the title updated, but not at every change."""
        if not self.title_due:
            self.title_due = True
            self.loop.call_later(TITLE_INTERVAL, self.update_title)

    def update_title(self) -> None:
        """Show role, identity and load to ps(1)."""
        self.title_due = False
        count = len(self.connections)
        plural = "" if count == 1 else "s"
        setproctitle(f"ownhost: worker {self.slice.identity.name} ({count} connection{plural})")

    # The end

    def take_message(self) -> None:
        """The supervisor says stop, or leave, or is gone."""
        received = None
        with contextlib.suppress(ProtocolError, OSError):
            received = self.channel.receive()
        match received:
            case None:
                self.loop.stop()
            case (Relayed(serial), (descriptor,)):
                self.relays.take(serial, socket.socket(fileno=descriptor))
            case (NotRelayed(serial, reason), _):
                self.relays.refuse(serial, reason)
            case (Leave(), _):
                self.leave()
            case _:
                self.stop()

    def leave(self) -> None:
        """Make room for somebody else's worker. What arrives meanwhile wakes the supervisor, which starts anew."""
        if not (self.connections or self.lingering):
            self.loop.stop()

    def stop(self) -> None:
        """Take what is in the mailbox, finish what is begun, close what is idle, then leave."""
        self.stopping = True
        self.loop.remove_reader(self.mailbox.fileno())
        while self.take_one_batch():
            pass
        for connection in list(self.connections):
            connection.close_if_idle()
        self.end_if_done()

    def take_one_batch(self) -> bool:
        """Whether there may be more in the mailbox."""
        before = self.taken
        self.take()
        return self.taken > before

    def leave_if_idle(self, taken_before: int) -> None:
        """Leave where nothing happened for a while. What arrives meanwhile wakes the supervisor, which starts anew."""
        if self.connections or self.lingering or self.taken != taken_before:
            self.loop.call_later(self.slice.idle_timeout, self.leave_if_idle, self.taken)
        else:
            self.loop.stop()


def _counters(slice_: WorkerSlice, descriptors: list[int]) -> dict[int, Clients]:
    """Where the clients of each server are counted, if they are: mapped, and the descriptors closed for good."""
    found: dict[int, Clients] = {}
    for count in slice_.counts:
        clients = Clients(descriptors[count.writing], descriptors[count.reading], count.page)
        os.close(descriptors[count.writing])
        os.close(descriptors[count.reading])
        found.update(dict.fromkeys(count.servers, clients))
    return found
