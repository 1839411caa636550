"""Which Python owners' applications will use, and whether their owners can run it: reported at the
start, not at the first request.

It is computed from modes and access lists. What this process cannot look at is not reported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ownhost.apps.python_app import PYTHONS, python_in
from ownhost.config.directive import Problem, Setting
from ownhost.config.model import Section, VirtualHost
from ownhost.identity.identity import Identity
from ownhost.identity.permissions import Need, Obstacle, find_obstacle
from ownhost.modules import mod_asgi, mod_wsgi
from ownhost.modules.python_daemons import Daemon, Daemons
from ownhost.processes.supervisor.plan import Plan


@dataclass(frozen=True, slots=True)
class Kind:
    """The settings of one kind of Python applications."""

    aliases: Setting[Any]  # the aliases of either
    daemons: Setting[Daemons]
    group: Setting[str]
    home: Setting[str] | None = None


KINDS = (
    Kind(mod_wsgi.ALIASES, mod_wsgi.DAEMONS, mod_wsgi.PROCESS_GROUP, mod_wsgi.PYTHON_HOME),
    Kind(mod_asgi.ALIASES, mod_asgi.DAEMONS, mod_asgi.PROCESS_GROUP),
)


def notes(plan: Plan, may_look: Callable[[str], bool]) -> list[Problem]:
    """The virtual hosts whose applications have a missing Python, or one that their owner may not run.

    `may_look`: at which paths.
    """
    found = []
    refused = dict(plan.refused_servers())
    for server in plan.config.servers:
        if server.id in refused:
            continue
        owner = plan.identities[plan.own(server)]
        for kind in KINDS:
            where = server.origins.get(kind.daemons.name) or server.origins.get(kind.aliases.name) or server.source
            homes = [home for home in _homes(server, kind) if not home or may_look(python_in(home))]
            found += [Problem(where, trouble) for home in homes if (trouble := _trouble(home, owner))]
    return list(dict.fromkeys(found))


def _homes(server: VirtualHost, kind: Kind) -> Iterator[str]:
    """The virtual environments of a server's applications; "" is none, for the default Python."""
    aliases = server.settings[kind.aliases]
    if not aliases:
        return
    groups = {alias.process_group for alias in aliases if alias.process_group}
    if len(groups) < len(aliases):
        groups |= {server.settings[kind.group], *_said(server.sections, kind.group)}
    daemons = server.settings[kind.daemons]
    general = server.settings[kind.home] if kind.home else ""
    yield from dict.fromkeys(daemons.get(group, Daemon()).python_home or general for group in sorted(groups))


def _said(sections: Iterable[Section], setting: Setting[str]) -> Iterator[str]:
    """The values of a setting in sections, and in those inside them."""
    for section in sections:
        if setting in section.settings:
            yield section.settings[setting]
        yield from _said(section.sections, setting)


def _trouble(home: str, owner: Identity) -> str:
    """Why an owner cannot run the Python of a virtual environment; "" if no reason is known."""
    pythons = [python_in(home)] if home else PYTHONS
    found = [find_obstacle(python, owner, Need.RUN) for python in pythons]
    if any(one is None and os.access(python, os.F_OK) for one, python in zip(found, pythons, strict=True)):
        return ""
    obstacle = next((one for one in found if isinstance(one, Obstacle)), None)
    if obstacle is not None:
        who = f"{owner.name} (uid {owner.uid}) cannot run {' or '.join(pythons)}"
        return f"{who}, for Python applications: {obstacle.shown}, and they may not {obstacle.verb} it"
    if any(found):  # behind a folder that this process cannot look into
        return ""
    return f"there is no {' or '.join(pythons)}, for Python applications; python-home= names a virtual environment"
