"""What a new worker gets beside its slice: its mailbox, logs, pages to count clients on, programs to ask.

All of it is descriptors, which the slice names by number. `Provisions` also says what to take back
or end when the worker is gone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ownhost.modules.ssl.directives import SSL_ENGINE
from ownhost.processes.messages import Sender
from ownhost.processes.scoreboard import Board
from ownhost.processes.slices import Count, LauncherSlice, TLSGiven, WorkerSlice
from ownhost.processes.supervisor.backend_files import BackendFiles
from ownhost.processes.supervisor.children import LogSender
from ownhost.processes.supervisor.keys import Keys
from ownhost.processes.supervisor.logs import Logs
from ownhost.processes.supervisor.plan import Counted, Plan
from ownhost.processes.supervisor.state import State
from ownhost.processes.tickets import TicketSecret
from ownhost.request.errorlog import ERROR_LOG, LOG_RATE_LIMIT, LogTarget
from ownhost.request.module import MODULES

Command = tuple[str, ...]
Told = TypeVar("Told", WorkerSlice, LauncherSlice)


@dataclass(slots=True)
class Provisions(Generic[Told]):
    """What one process gets. `descriptors` are sent; those in `ends` are closed here afterwards."""

    slice: Told
    descriptors: list[int]
    ends: list[int] = field(default_factory=list)
    log_senders: list[LogSender] = field(default_factory=list)  # its senders for shared logs
    pages: list[tuple[Board, int]] = field(default_factory=list)  # its pages for counting clients
    programs: list[tuple[Command, list[int]]] = field(default_factory=list)  # programs to start, and their ends

    def add(self, descriptor: int) -> int:
        """Add one more descriptor. Returns its number in the slice."""
        self.descriptors.append(descriptor)
        return len(self.descriptors) - 1


class Provider:
    """Puts provisions together. `new_sender` makes a sender for a shared log."""

    def __init__(
        self,
        plan: Plan,
        logs: Logs,
        keys: Keys,
        backend_files: BackendFiles,
        state: State,
        new_sender: Callable[[Sender], LogSender],
    ) -> None:
        self.plan = plan
        self.logs = logs
        self.keys = keys
        self.backend_files = backend_files
        self.state = state
        self.secrets: dict[tuple[int, int], TicketSecret] = {}  # by identity number and server id
        self.new_sender = new_sender
        self.boards: dict[Counted, Board] = {}  # made when the first worker serves what is counted there

    def provide_launcher(self, number: int, orders: int) -> Provisions[LauncherSlice]:
        """What a launcher of this identity gets."""
        given = Provisions(self.plan.launcher_slice(number), [orders])
        given.slice.state = self.state.of(self.plan.identities[number])
        self._give_logs(given, number, error={server.settings[ERROR_LOG] for server in given.slice.servers})
        return given

    def provide(self, number: int, mailbox: int, orders: int) -> Provisions[WorkerSlice]:
        """What a worker of this identity gets."""
        given = Provisions(self.plan.worker_slice(number), [mailbox, orders])
        error, access = self.logs.written_by(self.plan.serves[number])
        self._give_logs(given, number, error, access)
        self._give_counts(given, number)
        self._give_programs(given)
        self._give_keys(given, number)
        self._give_backend_files(given, number)
        return given

    def _give_logs(
        self, given: Provisions[Told], number: int, error: Iterable[LogTarget], access: Iterable[LogTarget] = ()
    ) -> None:
        places, error, access = given.slice.logs, set(error), set(access)
        places.rate = self.plan.config.main.settings[LOG_RATE_LIMIT]
        places.own = {one: self.logs.left[one] for one in error | access if one in self.logs.left}
        if places.own:
            error.add(self.logs.main)  # where it logs that it cannot open one
        for target in error - set(places.own):
            places.error[target] = self._give_log(given, number, target, "error")
        for target in access - set(places.own):
            places.access[target] = self._give_log(given, number, target, "access")

    def _give_log(self, given: Provisions[Told], number: int, target: LogTarget, kind: str) -> int:
        """A log itself, if no other identity writes it; else a sender for it."""
        shared = self.logs.shared_number(target)
        if shared is None:
            return given.add(self.logs.descriptor(target))
        sender = self.new_sender(self.plan.sender(number, shared, kind))
        given.log_senders.append(sender)
        given.ends.append(sender.sending)
        return given.add(sender.sending)

    def _give_counts(self, given: Provisions[WorkerSlice], number: int) -> None:
        counted: dict[Counted, list[int]] = {}
        for server in self.plan.limited(number):
            counted.setdefault(self.plan.counted_as(server), []).append(server.id)
        for key, servers in counted.items():
            board = self.boards.get(key) or self.boards.setdefault(key, Board())
            page = board.take()
            given.pages.append((board, page))
            count = Count(tuple(servers), given.add(board.writing), given.add(board.reading), page)
            given.slice.counts.append(count)

    def _give_programs(self, given: Provisions[WorkerSlice]) -> None:
        commands = {
            command
            for server in given.slice.servers
            for module in MODULES.values()
            if module.programs is not None
            for command in module.programs(server)
        }
        for command in sorted(commands):
            ours, theirs = (end.detach() for end in socket.socketpair())
            reading, writing = os.pipe2(os.O_CLOEXEC)
            given.slice.programs[command] = given.add(ours), given.add(reading)
            given.ends += (ours, reading)
            given.programs.append((command, [theirs, writing]))

    def _give_keys(self, given: Provisions[WorkerSlice], number: int) -> None:
        """The keys of the virtual hosts whose connections this identity ends, not those of sections or expressions."""
        for server in given.slice.servers:
            if self.plan.own(server) != number or not server.settings[SSL_ENGINE]:
                continue
            secret = self.secrets.setdefault((number, server.id), TicketSecret.new())
            secret.advance()
            broken = None if server.id in self.keys.passing else self.keys.broken.get(server.id)
            opened = {} if broken else self._give_opened(given, self.keys.opened(server))
            protocols = self.keys.protocols.get(server.id, ("http/1.1",))
            given.slice.tls[server.id] = TLSGiven(opened, secret, protocols, str(broken) if broken else "")

    @staticmethod
    def _give_opened(given: Provisions[WorkerSlice], opened: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
        """Descriptors for one virtual host alone, which the worker closes after it has read them."""
        numbers: dict[int, int] = {}
        for descriptor in (one for descriptors in opened.values() for one in descriptors):
            if descriptor not in numbers:
                numbers[descriptor] = given.add(descriptor)
        return {name: [numbers[one] for one in descriptors] for name, descriptors in opened.items()}

    def _give_backend_files(self, given: Provisions[WorkerSlice], number: int) -> None:
        """The TLS files for servers behind this one. Keys go only to the virtual host's own identity."""
        for server in given.slice.servers:
            own = self.plan.own(server) == number
            opened = self.backend_files.opened(server, secret=own)
            given.slice.opened[server.id] = self._give_opened(given, opened)
