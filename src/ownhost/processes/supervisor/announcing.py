"""What the server reports once it listens: to the log, to the terminal, to systemd."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

from ownhost import __version__
from ownhost.config.directive import Problem
from ownhost.config.notes import folded
from ownhost.identity import landlock
from ownhost.processes.control_groups import delegated
from ownhost.processes.descriptors import too_few_for
from ownhost.processes.supervisor import startup
from ownhost.processes.supervisor.logs import Logs
from ownhost.processes.supervisor.plan import Plan
from ownhost.request.request import Level

NOT_DELEGATED = (
    "no control group of version 2 was delegated to this server (Delegate=yes of a systemd service): "
    "what owners' programs leave running is ended one by one"
)


def announce(plan: Plan, logs: Logs, costs: Iterable[Problem], remarks: Iterable[Problem]) -> None:
    """Report that the server listens, which virtual hosts are not served, and what could be better."""
    where = ", ".join(str(listener.address) for listener in plan.config.listeners)
    count = len(plan.config.virtual_hosts)
    message = f"listening on {where}; {count} virtual hosts, {len(plan.identities)} identities"
    logs.error(Level.NOTICE, f"ownhost {__version__}: {message}")
    for problem in costs:
        logs.error(Level.ERROR, str(problem))
        print(problem, file=sys.stderr)
    print(f"ownhost: {message}", file=sys.stderr, flush=True)
    for level, line in _remarks(plan, remarks):
        logs.error(level, line)
    startup.notify_systemd(f"READY=1\nMAINPID={os.getpid()}")


def _remarks(plan: Plan, remarks: Iterable[Problem]) -> Iterator[tuple[Level, str]]:
    for server, refused in plan.refused_servers():
        found = plan.config.servers[server]
        if found.fault is None:
            yield Level.ERROR, f"{found.source}: this virtual host is answered with 500: {refused}"
    if reason := landlock.missing():
        yield Level.NOTICE, reason
    if reason := too_few_for(len(plan.identities)):
        yield Level.WARN, reason
    if delegated() is None:
        yield Level.INFO, NOT_DELEGATED
    for note in folded(remarks):
        yield Level.WARN, str(note)
