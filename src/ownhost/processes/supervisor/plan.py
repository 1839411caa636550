"""The plan: which identities a configuration needs, and which slice of it each process gets.

Identity number 0 is the default, `User` and `Group`: requests without an AssignUserID run as that,
unless LimitUIDRange or LimitGIDRange forbids it. Neutral processes run as `roles`, which serve no
requests. Assignments with the same identity share its number. If expressions name the users of a
virtual host, identities are numbered when they are first named (`Plan.name`), for that virtual host
alone: its workers are told of no other.

All connections of a virtual host go to its own identity, which relays requests that sections and
expressions give to others.

An assignment without an identity (an unknown name, an id out of range) is a refusal: the virtual
host's own identity answers its requests with 500. If that one was refused, the default identity
does. It is told the reason, and the virtual host only if sections or expressions may still name
others. The same goes for a virtual host with an error that hides its owner.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ownhost.apps.spooling import spooling
from ownhost.config.directive import ConfigError, Problem
from ownhost.config.model import Config, Section, VirtualHost
from ownhost.config.server_name import SERVER_NAME
from ownhost.http.limits import KEEP_ALIVE_TIMEOUT, TIMEOUT, head_limits
from ownhost.identity.accounts import Found, find
from ownhost.identity.assignment import ASSIGN_USER_ID, MAX_CLIENTS_VHOST
from ownhost.identity.identity import UNASSIGNED, Assignment, Identity, Refusal
from ownhost.identity.roles import Judge
from ownhost.modules.fronts import Fronts, fronts_of
from ownhost.modules.mpm import LISTEN_BACKLOG, MAX_REQUEST_WORKERS, WORKER_IDLE_TIMEOUT
from ownhost.modules.owners import MAX_OWNER_PROCESSES, processes_of
from ownhost.modules.reqtimeout import REQUEST_READ_TIMEOUT
from ownhost.modules.ssl.directives import SSL_ENGINE
from ownhost.modules.unixd import GROUP, USER
from ownhost.processes.faulty import is_ownerless
from ownhost.processes.messages import Sender
from ownhost.processes.slices import DEFAULT_IDENTITY, FrontSlice, GateSlice, LauncherSlice, Limits, WorkerSlice
from ownhost.request.hosts import HostIndex
from ownhost.request.routing import choices_of, fixed_assignment, is_fixed, main_for_logging, with_identities

Counted = tuple[str, int, int]  # the key of MaxClientsVHost's count: server name, port, number of the identity


@dataclass
class Plan:
    """Identities by number, and the servers that need them."""

    config: Config
    judge: Judge
    identities: list[Identity] = field(default_factory=list)
    serves: dict[int, list[int]] = field(default_factory=dict)  # identity number -> ids of servers it may serve
    numbers: dict[Identity, int] = field(default_factory=dict)  # of identities that the configuration lists
    named: dict[tuple[int, Identity], int] = field(default_factory=dict)  # by server id and identity: of expressions
    routes: dict[int, dict[Assignment, int]] = field(default_factory=dict)  # server id -> its listed assignments
    refusals: dict[int, dict[Assignment, str]] = field(default_factory=dict)
    roles: Mapping[str, Identity] = field(default_factory=dict)  # the identities of neutral processes

    @property
    def default(self) -> Assignment:
        """The identity of User and Group."""
        settings = self.config.main.settings
        return Assignment(settings[USER], settings[GROUP])

    @cached_property
    def index(self) -> HostIndex:
        """All names at all addresses."""
        return HostIndex.build(self.config.servers)

    @cached_property
    def proxies(self) -> Fronts:
        """The front proxies that the administrator lists."""
        return fronts_of(self.config)

    @cached_property
    def ended_by(self) -> dict[int, list[int]]:
        """Identity number -> the ids of the servers whose connections it gets."""
        found: dict[int, list[int]] = {}
        for server in self.config.servers:
            found.setdefault(self.own(server), []).append(server.id)
        return found

    @cached_property
    def secret(self) -> bytes:
        """The key for digests of names, which are told to processes without these names."""
        return secrets.token_bytes(32)

    def find(self, assignment: Assignment) -> Identity | Refusal:
        """The identity of an assignment, whether or not it may be used. This asks the user database, and blocks."""
        wanted = assignment.complete(self.default)
        assert wanted.user is not None
        assert wanted.group is not None
        return self.judge(wanted, find(wanted.user, wanted.group))

    def own(self, server: VirtualHost) -> int:
        """The identity of requests that no section gives to another: the default if the server's own was refused."""
        return self.routes[server.id].get(fixed_assignment(server.settings), DEFAULT_IDENTITY)

    def counted_as(self, server: VirtualHost) -> Counted:
        """Virtual hosts of one name, port and owner are counted together."""
        name = server.settings[SERVER_NAME]
        return name.host, name.port or (server.addresses[0].port if server.addresses else 0), self.own(server)

    def limited(self, number: int) -> list[VirtualHost]:
        """The servers of an identity whose clients are counted."""
        servers = (self.config.servers[id_] for id_ in self.serves[number])
        return [server for server in servers if server.settings[MAX_CLIENTS_VHOST]]

    def processes(self, number: int) -> tuple[int, int]:
        """RLIMIT_NPROC of an identity's processes, soft and hard."""
        servers = [self.config.servers[id_] for id_ in self.serves[number]]
        return processes_of(self.config.main.settings[MAX_OWNER_PROCESSES], servers)

    def gate_slice(self, handover: int) -> GateSlice:
        """Every gate's slice; `handover` is the size of one."""
        servers = self.config.servers
        return GateSlice(
            listeners=[listener.address for listener in self.config.listeners],
            index=self.index,
            own={server.id: self.own(server) for server in servers},
            tls=frozenset(server.id for server in servers if server.settings[SSL_ENGINE]),
            fronts=self.proxies,
            handover=handover,
            main=main_for_logging(self.config.main, (REQUEST_READ_TIMEOUT,)),
        )

    def front_slice(self, handover: int) -> FrontSlice:
        """Every front's slice; `handover` as for gates."""
        servers = self.config.servers
        same: dict[Limits, Limits] = {}  # most servers have the main server's: sent once
        limits = {server.id: limits_of(server) for server in servers}
        return FrontSlice(
            index=self.index,
            own={server.id: self.own(server) for server in servers},
            limits={id_: same.setdefault(found, found) for id_, found in limits.items()},
            handover=handover,
            main=main_for_logging(self.config.main, (REQUEST_READ_TIMEOUT,)),
        )

    def worker_slice(self, number: int) -> WorkerSlice:
        """A worker's slice, without its descriptors, which the starter adds."""
        refused = {} if number != DEFAULT_IDENTITY else self.answered_without_owner()
        ends = [self.config.servers[id_] for id_ in self.ended_by.get(number, ())]
        return WorkerSlice(
            identity=self.identities[number],
            servers=[self.config.servers[id_] for id_ in self.serves[number]],
            mine={
                id_: frozenset(found for found, route in self.routes[id_].items() if route == number)
                for id_ in self.serves[number]
            },
            default=self.default,
            main=main_for_logging(self.config.main, (REQUEST_READ_TIMEOUT,)),
            names=self.index.restricted(ends, self.config.main, self.secret),
            refused=refused,
            in_range=number != DEFAULT_IDENTITY or self.identities[number] in self.numbers,
            idle_timeout=self.config.main.settings[WORKER_IDLE_TIMEOUT],
            spooling=spooling(self.config.main.settings),
        )

    def launcher_slice(self, number: int) -> LauncherSlice:
        """A launcher's slice, without the logs, which the starter adds."""
        main = self.config.main
        return LauncherSlice(
            name=self.identities[number].name,
            at_once=main.settings[MAX_REQUEST_WORKERS],
            queue=main.settings[LISTEN_BACKLOG],
            servers=[main_for_logging(self.config.servers[id_], ()) for id_ in self.serves[number]],
            main=main_for_logging(main, ()),
        )

    def sender(self, number: int, log: int, kind: str) -> Sender:
        """The sender of lines for a shared log: a process of this identity."""
        listed = number == DEFAULT_IDENTITY or number in self.numbers.values()
        server = -1 if listed else self.serves[number][0]  # the logger may not know those that expressions name
        return Sender(log, kind, number, self.identities[number].name, server)

    def refused_servers(self) -> Iterator[tuple[int, str]]:
        """Servers whose own assignment was refused, and why."""
        for server in self.config.servers:
            reason = self.refusals[server.id].get(fixed_assignment(server.settings))
            if reason is not None:
                yield server.id, reason

    def answered_without_owner(self) -> dict[int, str]:
        """Servers without an identity for any of their requests, and why."""
        return {id_: reason for id_, reason in self.refused_servers() if self.has_no_identity(self.config.servers[id_])}

    def refused(self) -> list[Problem]:
        """Each configured assignment without an identity, at its place."""
        found: dict[str, Problem] = {}
        main = self.config.main
        for server in self.config.servers:
            if is_ownerless(main, server):
                continue
            scopes: list[VirtualHost | Section] = [server, *with_identities(server.sections)]
            for scope in scopes:
                assignment = fixed_assignment(scope.settings)
                refusal = self.find(assignment) if assignment in self.refusals[server.id] else None
                if isinstance(refusal, Refusal):
                    nobody = ASSIGN_USER_ID not in scope.settings
                    source = main.origins.get(USER.name) if nobody else scope.origins.get(ASSIGN_USER_ID.name)
                    what = "requests without an AssignUserID are" if nobody else "requests for it are"
                    message = f"no identity: {refusal.reason}; {what} answered with 500"
                    problem = Problem(source or scope.source, message)
                    found.setdefault(str(problem), problem)
        return list(found.values())

    def has_no_identity(self, server: VirtualHost) -> bool:
        """Whether no request of a server has an identity: its own was refused.

        If that is only the default, its sections and expressions may still name others.
        """
        refused = fixed_assignment(server.settings) in self.refusals[server.id]
        return refused and (server.settings[ASSIGN_USER_ID] is not None or is_fixed(server))

    def known(self, server_id: int, assignment: Assignment) -> int | Refusal | None:
        """The number of the identity for a server's request, if the configuration says it.

        None if the user database must be asked. The asker is not trusted.
        """
        server = self.config.servers[server_id]
        listed = self.routes[server_id].get(assignment)
        if listed is None and (self.has_no_identity(server) or not choices_of(server).allow(assignment)):
            return Refusal("this virtual host never serves as that")
        return listed

    def name(self, server_id: int, assignment: Assignment, found: Found) -> int | Refusal:
        """The same if the configuration does not say it, from the user database's answer for the whole assignment."""
        known = self.known(server_id, assignment)
        if known is not None:
            return known
        identity = self.judge(assignment.complete(self.default), found)
        if isinstance(identity, Refusal):
            return identity
        listed = self.numbers.get(identity)
        if listed is not None and server_id in self.serves[listed]:
            return listed
        number = self.named.get((server_id, identity))
        if number is None:
            number = self.named[server_id, identity] = self._add(identity)
            self.serves[number] = [server_id]
        return number

    def _add(self, identity: Identity) -> int:
        self.identities.append(identity)
        return len(self.identities) - 1

    def number_listed(self, server: VirtualHost) -> None:
        """Number the identities that a server lists. If the server has none, neither have its sections."""
        routes = self.routes.setdefault(server.id, {})
        refusals = self.refusals.setdefault(server.id, {})
        own = fixed_assignment(server.settings)
        if is_ownerless(self.config.main, server):
            refusals[own] = str(server.fault)
            return
        for assignment in (own, *choices_of(server).listed()):
            identity = self.find(assignment)
            if isinstance(identity, Refusal):
                refusals[assignment] = identity.logged
                if assignment == own and self.has_no_identity(server):
                    return
                if assignment == own:
                    self.serves[DEFAULT_IDENTITY].append(server.id)
                continue
            if identity not in self.numbers:
                self.numbers[identity] = self._add(identity)
            routes[assignment] = number = self.numbers[identity]
            served = self.serves.setdefault(number, [])
            if server.id not in served:
                served.append(server.id)


def limits_of(server: VirtualHost) -> Limits:
    """A virtual host's connections, as fronts are told."""
    settings = server.settings
    return Limits(
        head_limits(settings), settings[REQUEST_READ_TIMEOUT], settings[TIMEOUT], settings[KEEP_ALIVE_TIMEOUT]
    )


def make_plan(
    config: Config, judge: Judge, neutral: Identity | Refusal, roles: Mapping[str, Identity] | None = None
) -> Plan:
    """Number the identities of a configuration. Raises ConfigError if `User` or `Group` cannot be used.

    `neutral` is the identity of `User` and `Group` for processes that serve no requests, `roles`
    those of the neutral processes.
    """
    plan = Plan(config, judge, roles=roles or {})
    if isinstance(neutral, Refusal):
        main = config.main
        source = main.origins.get(USER.name) or main.origins.get(GROUP.name) or main.source
        said = [setting.name for setting in (USER, GROUP) if setting not in main.settings]
        why = f"there is no {' and no '.join(said)} line" if said else neutral.reason
        message = f"User and Group cannot be the default identity: {why}"
        raise ConfigError([Problem(source, message)])
    plan._add(neutral)
    plan.serves[DEFAULT_IDENTITY] = []
    if plan.find(UNASSIGNED) == neutral:
        plan.numbers[neutral] = DEFAULT_IDENTITY
    for server in config.servers:
        plan.number_listed(server)
    return plan
