"""The start of `run`, step by step.

`check` takes the same steps as a trial, which makes nothing and gives up no rights.

A step raises ConfigError if the server cannot start: `run` ends there, a trial goes on with the
next step. Errors that cost single virtual hosts are found, too. The server starts all the same,
unless it is strict.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ownhost.config.directive import ConfigError, Problem, Setting
from ownhost.config.model import Config, VirtualHost
from ownhost.identity import become, prctl, seccomp
from ownhost.identity.assignment import ENABLE_CAPABILITIES
from ownhost.modules.core_server import PID_FILE
from ownhost.modules.log_config import CUSTOM_LOGS, GLOBAL_LOGS
from ownhost.modules.owners import UMASK
from ownhost.modules.ssl.directives import SSL_CERTIFICATES
from ownhost.processes import faulty
from ownhost.processes.descriptors import raise_limit
from ownhost.processes.keyfiles import KeyProblem
from ownhost.processes.messages import TO_SUPERVISOR, Certified, Channel, Unusable
from ownhost.processes.slices import DEFAULT_IDENTITY, SweeperSlice
from ownhost.processes.supervisor import alpn, likely_mistakes, pythons, startup, trusted
from ownhost.processes.supervisor.backend_files import BackendFiles
from ownhost.processes.supervisor.children import Children
from ownhost.processes.supervisor.examination import DEADLINE, Examination, Order
from ownhost.processes.supervisor.forking import ForkserverProcess, start_forkserver
from ownhost.processes.supervisor.jobs import make_orders
from ownhost.processes.supervisor.keys import Keys, tls_servers
from ownhost.processes.supervisor.logfiles import LogError, PipedLog, mode_of, open_target, targets, try_log
from ownhost.processes.supervisor.logs import Logs
from ownhost.processes.supervisor.named_files import NamedFiles
from ownhost.processes.supervisor.plan import Plan
from ownhost.processes.supervisor.state import State
from ownhost.processes.supervisor.trusted import NotRoots
from ownhost.request.errorlog import ERROR_LOG, LogTarget

NO_BACKEND = "requests that need it are answered with 500"
NO_TLS = "its connections end before they are encrypted"


@dataclass
class Preparation:
    """The results of the steps. `end` closes them, when no process is left."""

    config: Config
    strict: bool = False
    trial: bool = False
    plan: Plan = field(init=False)
    has_plan: bool = False  # always set, except in a trial without a usable User and Group
    logs: Logs = field(init=False)
    keys: Keys = field(default_factory=Keys)
    backend_files: BackendFiles = field(default_factory=BackendFiles)
    files: NamedFiles = field(default_factory=NamedFiles)  # files that both of them name
    tried: dict[LogTarget, set[int]] = field(default_factory=dict)  # in a trial: logs for their writers to try
    forkserver: ForkserverProcess | None = None  # a trial starts one when needed
    listeners: list[socket.socket] = field(default_factory=list)
    state: State = field(init=False)
    pid_file: startup.PidFile = field(default_factory=startup.PidFile)
    errors: list[Problem] = field(default_factory=list)  # in a trial: why the server would not start
    notes: list[Problem] = field(default_factory=list)
    end: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    as_root: bool = field(default_factory=lambda: os.geteuid() == 0)  # whether identities are looked up as for root

    @property
    def owners(self) -> frozenset[int]:
        """The groups that sites are served with."""
        identities = self.plan.identities if self.has_plan else ()
        return frozenset(gid for one in identities for gid in (one.gid, *one.groups))

    @functools.cached_property
    def children(self) -> Children:
        """The processes that the forkserver makes."""
        if self.forkserver is None:
            self.forkserver = start_forkserver()
            self.end.callback(self.forkserver.end)
        control, confined = (Channel(end, TO_SUPERVISOR["forkserver"]) for end in self.forkserver.controls)
        return Children(control, confined, self.config.main.settings[UMASK])

    def take_steps(self) -> None:
        """Take them all. Raises ConfigError unless it is a trial."""
        for step in STEPS:
            try:
                step(self)
            except ConfigError as error:
                if not self.trial:
                    raise
                self.errors += error.problems

    def remarks(self) -> list[Problem]:
        """Remarks that are not errors; in a trial, also what cannot be checked without root."""
        found = [*self.config.notes, *self.notes, *likely_mistakes.notes(self.config, self.may_look)]
        if self.has_plan:
            found += [*alpn.notes(self.plan, self.keys.names), *pythons.notes(self.plan, self.may_look)]
        return found

    def may_look(self, path: str) -> bool:
        """Whether this process may look at a path's target. A server leaves owners' folders to their owners."""
        return self.trial or trusted.is_roots(Path(path), self.owners)

    def costs(self) -> list[Problem]:
        """Errors that cost single virtual hosts, and what they cost."""
        found = [
            Problem(problem.source, f"{problem.message}: this virtual host ({server.source}) is answered with 500")
            for server in self.config.virtual_hosts
            for problem in (server.fault.problems if server.fault else ())
        ]
        faults = self.config.faults
        broken = [problem for problem in self.keys.broken.values() if problem not in faults]
        ended = [Problem(one.source, f"{one.message}: {NO_TLS}") for one in broken]
        needed = [Problem(one.source, f"{one.message}: {NO_BACKEND}") for one in self.backend_files.problems]
        return [*found, *ended, *needed]

    def only_root_knows(self, problem: Problem, *, forbidden: bool) -> bool:
        """Note, in a trial, what this process may not look at. False if that is not the reason."""
        if not (self.trial and forbidden and os.geteuid() != 0):
            return False
        self.notes.append(Problem(problem.source, f"{problem.message}: only root could check that"))
        return True


def find_addresses(start: Preparation) -> None:
    """There must be a Listen line, and no address twice."""
    startup.check_listeners(start.config)
    start.notes += startup.unreachable(start.config)


def number_identities(start: Preparation) -> None:
    """The identities. An assignment without one costs its requests."""
    try:
        start.plan = startup.plan(start.config, as_root=start.as_root)
    except startup.NeedsRoot as error:
        if not start.trial:
            raise
        start.notes += [Problem(one.source, f"{one.message}; checked on behalf of root") for one in error.problems]
        start.as_root = True
        start.plan = startup.plan(start.config, as_root=True)
    start.has_plan = True


def make_state(start: Preparation) -> None:
    """A folder for each owner's programs. Folders of killed servers are removed, by processes of their owners."""
    if start.trial:
        return
    start.state = start.end.enter_context(contextlib.closing(State.open(start.config, start.owners)))
    dead = list(start.state.dead())
    orders = [
        Order("sweeper", DEFAULT_IDENTITY, who, SweeperSlice(f"{state.path}/{who.uid}-{who.gid}"))
        for state in (start.state, *dead)
        for who in state.left()
    ]
    for _ in Examination(start.children).look(orders) if orders else ():
        pass  # sweepers say nothing
    for state in dead:
        state.close()
    for identity in start.plan.identities:
        start.state.of(identity)


def give_up_rights(start: Preparation) -> None:
    """Give up what the supervisor does not need."""
    if not start.trial:
        raise_limit()
        if os.geteuid() == 0:
            become.limit_supervisor(keep_capabilities=not start.config.main.settings[ENABLE_CAPABILITIES])
        prctl.set_no_new_privs()
        seccomp.install(seccomp.SUPERVISOR)


def open_logs(start: Preparation) -> None:
    """Every log.

    If one of the main server's cannot be opened, the server does not start; others cost their
    virtual hosts.
    """
    opened: dict[LogTarget, int | PipedLog] = {}
    left: dict[LogTarget, int | None] = {}  # for their writers, and the modes of new ones
    own: list[Problem] = []
    blamed: list[tuple[int, Setting[Any], Problem]] = []
    for target, servers in targets(start.config).items():
        mode = mode_of(start.config, servers)
        try:
            if start.trial:
                try_log(target, start.owners)
            else:
                opened[target] = open_target(target, mode, start.owners)
        except LogError as error:
            if isinstance(error.__cause__, NotRoots) and target != start.config.main.settings[ERROR_LOG]:
                left[target] = mode
                start.tried.update({target: servers} if start.trial else {})
                continue
            found = [(id_, *_log_problem(start.config.servers[id_], target, str(error))) for id_ in sorted(servers)]
            if start.only_root_knows(found[0][2], forbidden=error.forbidden):
                continue
            if 0 in servers:
                own.append(found[0][2])
            else:
                blamed += found
    if own:
        raise startup.StartError(own, "\n".join(problem.message for problem in own))
    if blamed:
        start.config = faulty.blame(start.config, blamed)
        if start.has_plan:
            start.plan = startup.plan(start.config, as_root=start.as_root)
    if not start.trial:
        start.logs = start.end.enter_context(contextlib.closing(Logs(start.config, start.plan, opened, left)))


def _log_problem(server: VirtualHost, target: LogTarget, reason: str) -> tuple[Setting[Any], Problem]:
    setting = next(
        (
            setting
            for setting in (CUSTOM_LOGS, GLOBAL_LOGS)
            if any(log.target == target for log in server.settings[setting])
        ),
        ERROR_LOG,
    )
    return setting, Problem(server.origins.get(setting.name, server.source), reason)


def open_keys(start: Preparation) -> None:
    """Certificates and keys. Those that do not fit cost their virtual host."""
    _open_keys(start, tls_servers(start.config))


def _open_keys(start: Preparation, servers: Iterable[VirtualHost]) -> None:
    start.files = start.end.enter_context(contextlib.closing(NamedFiles(start.owners)))
    start.keys = Keys.open(servers, start.files)
    for id_ in sorted(start.keys.forbidden):
        if start.only_root_knows(start.keys.broken[id_], forbidden=True):
            del start.keys.broken[id_]


def open_backend_files(start: Preparation) -> None:
    """The TLS files for servers behind this one. A missing one costs the requests that need it."""
    start.backend_files = BackendFiles.open(start.config, start.files)
    for problem in start.backend_files.forbidden:
        if not start.only_root_knows(problem, forbidden=True):
            start.backend_files.problems.append(problem)


def examine(start: Preparation) -> None:
    """Have those files checked by processes of their owners."""
    _examine(start, start.config.servers)
    if start.has_plan:
        start.keys.protocols = alpn.offered(start.plan, start.keys.names)


def _examine(start: Preparation, servers: Iterable[VirtualHost]) -> None:
    logs: dict[int, list[str]] = {}
    for target, writers in start.tried.items():
        for id_ in writers:
            logs.setdefault(id_, []).append(target.value)
    orders = make_orders(servers, start.plan if start.has_plan else None, start.keys, start.backend_files, logs)
    for said in Examination(start.children).look(orders) if orders else ():
        server = start.config.servers[said.server]
        if isinstance(said, Unusable) and said.scope < 0:
            _, problem = _log_problem(server, LogTarget("file", said.setting), said.reason)
            start.notes.append(Problem(problem.source, f"{problem.message}: its lines are lost until it can be opened"))
            continue
        if isinstance(said, Unusable) and said.passing:
            problem = KeyProblem(server, said.setting, said.reason).problem
            if start.only_root_knows(problem, forbidden=True):
                continue
        if isinstance(said, Certified) or said.scope == 0:
            start.keys.take(server, said)
        else:
            start.backend_files.take(server, said)
    asked = {id_ for order in orders for id_ in order.servers}
    for server in start.keys.sound:
        if server.id in asked and not start.keys.of(server) and server.id not in start.keys.broken:
            what = f"its certificate could not be looked at within {DEADLINE:.0f} s: its clients are not offered HTTP/2"
            start.notes.append(Problem(server.origins.get(SSL_CERTIFICATES.name, server.source), what))


def be_strict(start: Preparation) -> None:
    """With --strict, errors that cost single virtual hosts prevent the start."""
    refused = start.plan.refused() if start.has_plan else []
    if start.strict and (problems := [*start.costs(), *refused]):
        raise ConfigError(problems)
    if start.trial:  # the server's log says it in mpm-itk's words
        start.notes += refused


def listen(start: Preparation) -> None:
    """The addresses."""
    if start.trial:
        start.notes += startup.try_listeners(start.config)
    else:
        start.listeners = startup.open_listeners(start.config)


def write_pid(start: Preparation) -> None:
    """The PidFile, if one is wanted."""
    try:
        if start.trial:
            startup.find_pid_file(start.config, start.owners)
        else:
            start.pid_file.write(start.config, start.owners)
    except NotRoots as error:
        name = start.config.main.settings[PID_FILE]
        what = f"the PidFile {name} is not written: {error.strerror}"
        start.notes.append(Problem(startup.pid_file_source(start.config), what))
    except startup.Forbidden as error:
        if not start.only_root_knows(error.problems[0], forbidden=True):
            raise


@dataclass(frozen=True, slots=True)
class Looked:
    """An examiner's view of a server's keys: names, errors, and what only root could see."""

    names: tuple[str, ...]
    problem: Problem | None = None
    unseen: Problem | None = None


def look_at_keys(config: Config, server: VirtualHost) -> Looked:
    """What a start would find out about the keys of one server."""
    start = Preparation(config, trial=True)
    with start.end:
        with contextlib.suppress(ConfigError):
            number_identities(start)
        start.notes.clear()
        _open_keys(start, [server])
        _examine(start, [server])
    unseen = next(iter(start.notes), None)
    return Looked(tuple(start.keys.names.get(server.id, ())), start.keys.broken.get(server.id), unseen)


def with_faults(config: Config) -> Config:
    """The configuration, with what a start would find wrong with virtual hosts' logs."""
    start = Preparation(config, trial=True)
    with contextlib.suppress(ConfigError):
        open_logs(start)
    return start.config


Step = Callable[[Preparation], None]
STEPS: tuple[Step, ...] = (
    find_addresses,
    number_identities,
    make_state,
    give_up_rights,
    open_logs,
    open_keys,
    open_backend_files,
    examine,
    be_strict,
    listen,
    write_pid,
)
