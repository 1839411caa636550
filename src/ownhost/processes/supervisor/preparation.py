"""The start of `run`, step by step. `check` takes the same steps as a trial, in which nothing is made or given up.

A step raises ConfigError where the server cannot start: `run` ends there, a trial goes on with the next one. What costs
single virtual hosts is found, too, and the server starts all the same, unless it is to be strict.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ownhost.config.directive import ConfigError, Problem, Setting
from ownhost.config.model import Config, VirtualHost
from ownhost.identity import become, prctl, seccomp
from ownhost.identity.assignment import ENABLE_CAPABILITIES
from ownhost.modules.log_config import CUSTOM_LOGS, GLOBAL_LOGS
from ownhost.processes import faulty
from ownhost.processes.descriptors import raise_limit
from ownhost.processes.supervisor import alpn, likely_mistakes, pythons, startup
from ownhost.processes.supervisor.backend_files import BackendFiles
from ownhost.processes.supervisor.keys import Keys
from ownhost.processes.supervisor.logfiles import LogError, PipedLog, mode_of, open_target, targets, try_log
from ownhost.processes.supervisor.logs import Logs
from ownhost.processes.supervisor.plan import Plan
from ownhost.request.errorlog import ERROR_LOG, LogTarget

NO_BACKEND = "requests that need it are answered with 500"
NO_TLS = "its connections end before they are encrypted"


@dataclass(slots=True)
class Preparation:
    """What there is once the steps are taken. `end` closes it, when no process is left."""

    config: Config
    strict: bool = False
    trial: bool = False
    plan: Plan = field(init=False)
    has_plan: bool = False  # always, but in a trial where User and Group are nobody
    logs: Logs = field(init=False)
    keys: Keys = field(default_factory=Keys)
    backend_files: BackendFiles = field(default_factory=BackendFiles)
    listeners: list[socket.socket] = field(default_factory=list)
    pid_file: startup.PidFile = field(init=False)
    errors: list[Problem] = field(default_factory=list)  # of a trial: why the server would not start
    notes: list[Problem] = field(default_factory=list)
    end: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    as_root: bool = field(default_factory=lambda: os.geteuid() == 0)  # whether identities are looked up as for root

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
        """What is remarkable, and no error; in a trial, also what cannot be said without root."""
        found = [*self.config.notes, *self.notes, *likely_mistakes.notes(self.config)]
        if self.has_plan:
            found += [*alpn.notes(self.plan, self.keys.names), *pythons.notes(self.plan)]
        return found

    def costs(self) -> list[Problem]:
        """What costs single virtual hosts, and how."""
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
        """Note, in a trial, what this process may not look at. False where it is no question of that."""
        if not (self.trial and forbidden and os.geteuid() != 0):
            return False
        self.notes.append(Problem(problem.source, f"{problem.message}: only root could check that"))
        return True


def find_addresses(start: Preparation) -> None:
    """There must be something to listen on, and no address twice."""
    startup.check_listeners(start.config)
    start.notes += startup.unheard(start.config)


def number_identities(start: Preparation) -> None:
    """Who serves. An assignment that gives no identity costs what it is for."""
    try:
        start.plan = startup.plan(start.config, as_root=start.as_root)
    except startup.NeedsRoot as error:
        if not start.trial:
            raise
        start.notes += [Problem(one.source, f"{one.message}; checked as for root") for one in error.problems]
        start.as_root = True
        start.plan = startup.plan(start.config, as_root=True)
    start.has_plan = True


def give_up_rights(start: Preparation) -> None:
    """What the supervisor does not need."""
    if not start.trial:
        raise_limit()
        if os.geteuid() == 0:
            become.limit_supervisor(keep_capabilities=not start.config.main.settings[ENABLE_CAPABILITIES])
        prctl.set_no_new_privs()
        seccomp.install(seccomp.SUPERVISOR)


def open_logs(start: Preparation) -> None:
    """Every log. Where one of the main server's cannot be opened, nobody starts; others cost their virtual hosts."""
    opened: dict[LogTarget, int | PipedLog] = {}
    own: list[Problem] = []
    blamed: list[tuple[int, Setting[Any], Problem]] = []
    for target, servers in targets(start.config).items():
        try:
            if start.trial:
                try_log(target)
            else:
                opened[target] = open_target(target, mode_of(start.config, servers))
        except LogError as error:
            found = [(id_, *_log_problem(start.config.servers[id_], target, error)) for id_ in sorted(servers)]
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
        start.logs = start.end.enter_context(contextlib.closing(Logs(start.config, start.plan, opened)))


def _log_problem(server: VirtualHost, target: LogTarget, error: LogError) -> tuple[Setting[Any], Problem]:
    setting = next(
        (
            setting
            for setting in (CUSTOM_LOGS, GLOBAL_LOGS)
            if any(log.target == target for log in server.settings[setting])
        ),
        ERROR_LOG,
    )
    return setting, Problem(server.origins.get(setting.name, server.source), str(error))


def open_keys(start: Preparation) -> None:
    """Certificates and keys. Those that do not fit cost their virtual host."""
    start.keys = start.end.enter_context(contextlib.closing(Keys.open(start.config)))
    for id_ in sorted(start.keys.forbidden):
        if start.only_root_knows(start.keys.broken[id_], forbidden=True):
            del start.keys.broken[id_]
    if start.has_plan:
        start.keys.protocols = alpn.offered(start.plan, start.keys.names)


def open_backend_files(start: Preparation) -> None:
    """What TLS with servers behind this one takes. What is missing costs the requests that need it."""
    start.backend_files = start.end.enter_context(contextlib.closing(BackendFiles.open(start.config)))
    for problem in start.backend_files.forbidden:
        if not start.only_root_knows(problem, forbidden=True):
            start.backend_files.problems.append(problem)


def be_strict(start: Preparation) -> None:
    """What costs single virtual hosts keeps all from starting, where that is wanted."""
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
    """The PidFile, if there is to be one."""
    if not start.trial:
        start.pid_file = startup.PidFile(start.config)
        return
    try:
        startup.try_pid_file(start.config)
    except startup.Forbidden as error:
        if not start.only_root_knows(error.problems[0], forbidden=True):
            raise


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
    give_up_rights,
    open_logs,
    open_keys,
    open_backend_files,
    be_strict,
    listen,
    write_pid,
)
