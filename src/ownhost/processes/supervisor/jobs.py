"""Which process checks which keys when the server starts: pure.

Files in an owner's folders are opened, and so checked, by a process of that owner. Files that root
opened are checked by processes of `User`, several virtual hosts at a time: a process for each owner
would take a large server seconds to start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ownhost.config.model import VirtualHost
from ownhost.identity.identity import Identity
from ownhost.modules.ssl.proxy_directives import named_files, scopes
from ownhost.processes.keyfiles import named
from ownhost.processes.slices import DEFAULT_IDENTITY, ExaminerSlice
from ownhost.processes.supervisor.backend_files import BackendFiles
from ownhost.processes.supervisor.examination import Order
from ownhost.processes.supervisor.keys import Keys
from ownhost.processes.supervisor.plan import Plan
from ownhost.processes.supervisor.startup import own_identity

TOGETHER = 50  # virtual hosts per process whose files root opened


@dataclass(slots=True)
class Job:
    """The job of one examiner, and its identity."""

    number: int  # of the identity
    who: Identity
    content: ExaminerSlice = field(default_factory=lambda: ExaminerSlice([], set(), {}, {}, {}))
    descriptors: list[int] = field(default_factory=list)

    def order(self) -> Order:
        """The job as an order."""
        servers = frozenset(server.id for server in self.content.servers)
        return Order("examiner", self.number, self.who, self.content, self.descriptors, servers)

    def give(self, opened: Mapping[str, Sequence[int]]) -> None:
        """Add a file that root opened."""
        for name, descriptors in opened.items():
            if name not in self.content.opened:
                first = len(self.descriptors)
                self.descriptors += descriptors
                self.content.opened[name] = list(range(first, len(self.descriptors)))


def make_orders(
    servers: Iterable[VirtualHost],
    plan: Plan | None,
    keys: Keys,
    backend_files: BackendFiles,
    logs: Mapping[int, Sequence[str]],
) -> list[Order]:
    """The orders. `logs`: those that servers' owners will try, by server id.

    A server without an identity is not checked.
    """
    made: dict[tuple[bool, int], Job] = {}
    as_root = os.geteuid() == 0
    refused = dict(plan.refused_servers()) if plan else {}
    sound = {server.id for server in keys.sound}
    together = 0
    for server in servers:
        backends = backend_files.to_examine(server)
        if not (server.id in sound or backends or server.id in logs):
            continue
        if not as_root:
            job = made.setdefault((False, 0), Job(DEFAULT_IDENTITY, own_identity()))
        elif plan is None or server.id in refused:
            continue
        elif server.id in logs or not keys.files.left.isdisjoint(_names(server)):
            number = plan.own(server)
            job = made.setdefault((True, number), Job(number, plan.identities[number]))
        else:
            job = made.setdefault(
                (False, together // TOGETHER), Job(DEFAULT_IDENTITY, plan.identities[DEFAULT_IDENTITY])
            )
            together += 1
        job.content.servers.append(server)
        job.content.backends[server.id] = backends
        job.content.logs[server.id] = list(logs.get(server.id, ()))
        if server.id in sound:
            job.content.tls.add(server.id)
            job.give(keys.opened(server))
        if backends:
            job.give(backend_files.opened(server))
    return [job.order() for job in made.values()]


def _names(server: VirtualHost) -> set[str]:
    """All files and folders that a server names for TLS."""
    behind = (one for scope in scopes(server) for one in named_files(scope.settings))
    return {name for _, name in (*named(server.settings), *behind)}
