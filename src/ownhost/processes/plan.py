"""The plan: which identities a configuration needs, and which slice of it each process gets. Pure.

Identity number 0 is the default, `User` and `Group`. Assignments that come to the same identity share its number. An
assignment that gives no identity (an unknown name, an id out of range) is a refusal: its requests go to the
default identity's workers, which answer 500 and log why; they are sent the reason, not the virtual host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ownhost.config.directive import ConfigError, Problem
from ownhost.config.model import Config, VirtualHost
from ownhost.identity.assignment import ASSIGN_USER_ID
from ownhost.identity.identity import Assignment, Identity, Refusal
from ownhost.modules.mpm import WORKER_IDLE_TIMEOUT
from ownhost.modules.unixd import GROUP, USER
from ownhost.processes.slices import DEFAULT_IDENTITY, GateSlice, WorkerSlice
from ownhost.request import resolve
from ownhost.request.errorlog import LogTarget
from ownhost.request.hosts import HostIndex

LookUp = Callable[[Assignment], Identity | Refusal]


@dataclass(slots=True)
class Plan:
    """Identities by number, and who needs them."""

    config: Config
    identities: list[Identity]
    assignments: dict[Assignment | None, int]  # what a request's settings say -> identity number
    refusals: dict[Assignment, str]
    serves: dict[int, list[int]] = field(default_factory=dict)  # identity number -> ids of servers it may serve
    numbers: dict[Identity, int] = field(default_factory=dict)

    def own(self, server: VirtualHost) -> int:
        """The identity that serves what no section gives to another: the default where its own was refused."""
        return self.assignments.get(resolve.fixed_assignment(server), DEFAULT_IDENTITY)

    def gate_slice(self, secret: bytes) -> GateSlice:
        """What every gate is told."""
        servers = self.config.servers
        return GateSlice(
            listeners=[listener.address for listener in self.config.listeners],
            index=HostIndex.build(servers),
            own={server.id: self.own(server) for server in servers},
            views={server.id: resolve.routing_view(server) for server in servers if not resolve.is_fixed(server)},
            assignments=dict(self.assignments),
            identities=len(self.identities),
            secret=secret,
            main=resolve.routing_view(self.config.main),
        )

    def worker_slice(self, number: int, logs: dict[LogTarget, int]) -> WorkerSlice:
        """What a worker of this identity is told; `logs` maps the targets it writes to its descriptors."""
        refused = dict(self.refused_servers()) if number == DEFAULT_IDENTITY else {}
        servers = [self.config.servers[id_] for id_ in self.serves[number]]
        # Who else is served here is not its to know: only the assignments of its own virtual hosts.
        own = {found for server in servers for found in resolve.assignments(server)} | {None}
        return WorkerSlice(
            number=number,
            identity=self.identities[number],
            servers=servers,
            assignments={found: number for found, number in self.assignments.items() if found in own},
            refusals={found: reason for found, reason in self.refusals.items() if found in own},
            refused_servers=refused,
            logs=logs,
            main=resolve.routing_view(self.config.main),
            idle_timeout=self.config.main.settings[WORKER_IDLE_TIMEOUT],
        )

    def refused_servers(self) -> Iterator[tuple[int, str]]:
        """Servers whose own assignment was refused, and why."""
        for server in self.config.servers:
            reason = self.refusals.get(server.settings[ASSIGN_USER_ID])  # type: ignore[arg-type]
            if reason is not None:
                yield server.id, reason


def make_plan(config: Config, look_up: LookUp) -> Plan:
    """Number the identities of a configuration. Raises ConfigError where `User` or `Group` cannot be used."""
    main = config.main
    default = look_up(Assignment(main.settings[USER], main.settings[GROUP]))
    if isinstance(default, Refusal):
        source = main.origins.get(USER.name) or main.origins.get(GROUP.name) or main.source
        raise ConfigError([Problem(source, f"User and Group cannot be the default identity: {default.reason}")])
    plan = Plan(config, [default], {None: DEFAULT_IDENTITY}, {}, numbers={default: DEFAULT_IDENTITY})
    plan.serves[DEFAULT_IDENTITY] = []
    for server in config.servers:
        # A server whose own assignment was refused is nobody's: not even its sections' identities get it.
        own = resolve.fixed_assignment(server)
        number = _number(plan, own, look_up)
        if number is None:
            continue
        others = (_number(plan, assignment, look_up) for assignment in resolve.assignments(server))
        for served_by in dict.fromkeys((number, *(other for other in others if other is not None))):
            plan.serves.setdefault(served_by, []).append(server.id)
    return plan


def _number(plan: Plan, assignment: Assignment | None, look_up: LookUp) -> int | None:
    """The number of the identity that an assignment comes to; None where it is refused."""
    if assignment in plan.assignments:
        return plan.assignments[assignment]
    assert assignment is not None
    if assignment in plan.refusals:
        return None
    identity = look_up(assignment)
    if isinstance(identity, Refusal):
        plan.refusals[assignment] = identity.reason
        return None
    number = plan.numbers.setdefault(identity, len(plan.identities))
    if number == len(plan.identities):
        plan.identities.append(identity)
    plan.assignments[assignment] = number
    return number
