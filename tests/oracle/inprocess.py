"""Ownhost within this process, without root: its workers over a configuration, each of which acts as its identity.

Who chooses and plans is gates' and the supervisor's own code, and a worker is one. Connections are socket pairs. In the
place of the processes around a worker, it is made here when it is first needed, and programs run as whoever runs this.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import socket
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import Context, copy_context
from itertools import count
from pathlib import Path
from typing import Any, cast

import uvloop

from harness import World
from oracle.behind import backends
from oracle.owners import ACTING, noted
from oracle.servers import Served
from oracle.tree import make_tree
from ownhost import modules
from ownhost.apps import backends as connections
from ownhost.config.reader import read
from ownhost.identity.accounts import find
from ownhost.identity.identity import Assignment, Refusal
from ownhost.modules.log_config import logs_of
from ownhost.processes import mailbox
from ownhost.processes.gate.client import PEEK_SIZE, Client, Event, look
from ownhost.processes.gate.held import Held
from ownhost.processes.mailbox import Handover
from ownhost.processes.messages import Channel, Message, Relay
from ownhost.processes.slices import LogPlaces
from ownhost.processes.supervisor import startup
from ownhost.processes.supervisor.backend_files import BackendFiles
from ownhost.processes.supervisor.named_files import NamedFiles
from ownhost.processes.worker.worker import Worker
from ownhost.request.errorlog import ERROR_LOG
from ownhost.request.given_files import GivenFiles
from ownhost.request.programs import Lease, Limits

CLIENT = "127.0.0.1"
CLIENT_PORT = 4000
PATIENCE = 20.0  # seconds that anything may take
LAST_TURNS = 10  # of the loop, until what is closed is gone
FIRST_PORT = 20_000  # of the cases: nobody listens


class Inside:
    """A configuration's workers, by the number of their identity, on an event loop in a thread of its own."""

    def __init__(self, configuration: Path) -> None:
        modules.load()
        self.config = read(str(configuration))
        self.plan = startup.plan(self.config, as_root=True)
        self.files = BackendFiles.open(self.config, NamedFiles())
        self.log = configuration.with_suffix(".log").open("w+b")
        self.loop = _Loop()
        self.workers: dict[int, tuple[Worker, Context]] = {}
        self.sockets: list[socket.socket] = []  # that stand for other processes' ends
        self.bugs: list[str] = []
        # What is kept to backends belongs to a loop: another Inside may have some.
        self.kept, connections._peers = connections._peers, {}
        self.loop.set_exception_handler(lambda _, context: self.bugs.append(repr(context)))
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def connect(self, port: int) -> socket.socket:
        """A client's connection to a port of 127.0.0.1."""
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        theirs.setblocking(False)
        self.loop.call_soon_threadsafe(self.loop.add_reader, theirs, self.look, theirs, port)
        return ours

    def look(self, sock: socket.socket, port: int) -> None:
        """Choose who gets a connection, as a gate does. Clients here send a whole head at once."""
        self.loop.remove_reader(sock)
        client = Client(CLIENT, CLIENT_PORT, CLIENT, port, 0.0)
        found = look(client, sock.recv(PEEK_SIZE, socket.MSG_PEEK))
        if found.event is Event.CLOSED:
            sock.close()
            return
        assert found.event is Event.NAMED, found
        client.host = found.host
        client.server = self.plan.index.names(CLIENT, port).find(found.host)
        self.give(self.plan.own(self.config.servers[client.server]), Held(sock, client).handover(), sock)

    def give(self, number: int, handover: Handover, sock: socket.socket) -> None:
        """Have an identity's worker serve a connection."""
        if number not in self.workers:
            self.workers[number] = self._made(number)
        worker, context = self.workers[number]
        self.loop.call_soon(worker.serve, handover, sock.detach(), context=context)

    def relay(self, number: int, message: Relay) -> None:
        """Make a pair for a worker that wants another identity to answer, as the supervisor does."""
        relays = self.workers[number][0].relays
        wanted = Assignment(message.user or None, message.group or None, message.nice)
        complete = wanted.complete(self.plan.default)
        target = self.plan.name(message.server, wanted, find(complete.user or "", complete.group or ""))
        if isinstance(target, Refusal):
            relays.refuse(message.serial, target.logged)
            return
        ours, theirs = socket.socketpair()
        self.give(target, Handover(message.server, relay=True), theirs)
        relays.take(message.serial, ours)

    def _made(self, number: int) -> tuple[Worker, Context]:
        slice_ = pickle.loads(pickle.dumps(self.plan.worker_slice(number)))
        scopes = [slice_.main, *slice_.servers]
        slice_.logs = LogPlaces(
            {scope.settings[ERROR_LOG]: 2 for scope in scopes},
            {log.target: 2 for scope in scopes for log in logs_of(scope)},
        )
        upper, box = mailbox.mailbox_pair()
        orders, other = socket.socketpair()
        self.sockets += (upper, other)
        channel = cast(Channel, _Supervisor(self, number))
        descriptors = [box.detach(), orders.detach(), self.log.fileno()]
        context = copy_context()
        context.run(ACTING.set, self.plan.identities[number])
        worker = context.run(Worker, channel, slice_, descriptors, self.loop)
        worker.title_due = True  # for ever: the title of this process is not the worker's
        for service in worker.services.values():
            server = service.site.virtual_host
            opened = self.files.opened(server, secret=self.plan.own(server) == number)
            service.site.opened = GivenFiles({name: [os.dup(one) for one in found] for name, found in opened.items()})
            service.site.launcher = _Programs()
        return worker, context

    def close(self) -> None:
        """End all connections, and see that nothing was a bug."""
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(2 * PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)
        self.loop.close()
        for end in self.sockets:
            end.close()
        self.files.files.close()
        with self.log:
            self.log.seek(0)
            said = self.log.read().decode("utf-8", "replace")
        self.bugs += [line for line in said.splitlines() if "a bug in Ownhost" in line]
        assert not self.bugs, self.bugs

    async def _end(self) -> None:
        for worker, _ in self.workers.values():
            for connection in list(worker.connections):
                connection.close()  # type: ignore[attr-defined]  # all that a worker has can
            worker.relays.pool.close()
            worker.lingering.end()
            for writer in worker.writers:
                writer.finish()
            worker.waiting.close()
            for service in worker.services.values():
                service.site.opened.close()
            worker.mailbox.close()
            worker.orders.close()
        connections._peers = self.kept
        for transport in self.loop.transports:
            transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            _, waiting = await asyncio.wait(others, timeout=PATIENCE)
            assert not waiting, waiting
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)


@contextlib.contextmanager
def serving(configuration: Path) -> Iterator[Inside]:
    """The workers of a configuration, until the block ends."""
    inside = Inside(configuration)
    try:
        yield inside
    finally:
        inside.close()


@contextlib.contextmanager
def tree_of_cases() -> Iterator[Callable[[Collection[str]], Served]]:
    """The tree of all cases, owned by those who are noted; what is behind runs. It makes what is served of cases."""
    world = World()
    with contextlib.ExitStack() as running:
        running.callback(world.close)
        running.enter_context(noted(world.folder))
        make_tree(world)
        behind = running.enter_context(backends(world.folder))
        yield lambda names: Served(dict(zip(names, count(FIRST_PORT))), behind, world.folder)


class _Loop(uvloop.Loop):
    """An event loop that knows its connections to servers behind: it cannot be closed before they are."""

    def __init__(self) -> None:
        super().__init__()
        self.transports: list[asyncio.Transport] = []

    async def create_connection(self, *args: Any, **more: Any) -> Any:
        connection: Any = await super().create_connection(*args, **more)
        self.transports.append(connection[0])
        return connection


class _Supervisor:
    """What a worker has for a channel: it wants pairs."""

    def __init__(self, inside: Inside, number: int) -> None:
        self.inside = inside
        self.number = number

    def send(self, message: Message) -> None:
        if isinstance(message, Relay):
            self.inside.loop.call_soon(self.inside.relay, self.number, message)


class _Programs:
    """In a launcher's place (request.programs.Launcher): programs for one request, and no apps."""

    async def lease(self, app: object) -> Lease:
        raise AssertionError(f"{app} stays, and needs a launcher")

    async def execute(
        self, command: Sequence[bytes], environment: Mapping[bytes, bytes], folder: str, stdin: int, limits: Limits
    ) -> _Running:
        output, program_output = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        errors, program_errors = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(program_output, True)
        os.set_blocking(program_errors, True)
        process = None
        try:
            process = subprocess.Popen(
                command, env=environment, cwd=folder, stdin=stdin, stdout=program_output, stderr=program_errors
            )
        except OSError as error:
            os.write(program_errors, f"{error}\n".encode())
        finally:
            os.close(program_output)
            os.close(program_errors)
        return _Running(output, errors, process)


class _Running:
    """A program that runs (request.programs.Execution)."""

    def __init__(self, output: int, errors: int, process: subprocess.Popen[bytes] | None) -> None:
        self.output, self.errors = output, errors
        self._process = process

    def close(self, *, output_complete: bool) -> None:
        os.close(self.output)
        os.close(self.errors)
        if self._process is not None:
            if not output_complete:
                self._process.kill()
            self._process.wait(PATIENCE)
