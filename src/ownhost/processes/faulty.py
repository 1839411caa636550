"""A virtual host with an error: what is left of it.

It is chosen as before, by its addresses and names. Its owner answers with 500, and it writes its
own logs. It speaks TLS with its keys. Nothing else counts: half of a set of access rules may mean
the opposite. If its owner is not known, no owner answers it, and no process gets its keys.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ownhost.config.directive import Problem, Setting, Settings
from ownhost.config.model import Config, Fault, VirtualHost
from ownhost.config.server_name import SERVER_NAME
from ownhost.identity.assignment import ASSIGN_GROUP_ID_EXPR, ASSIGN_USER_ID, ASSIGN_USER_ID_EXPR, NICE_VALUE
from ownhost.modules.core_server import PROTOCOLS, PROTOCOLS_HONOR_ORDER
from ownhost.modules.log_config import CUSTOM_LOGS, GLOBAL_LOGS, LOG_FORMATS
from ownhost.modules.ssl import directives as ssl
from ownhost.request.errorlog import ERROR_LOG, ERROR_LOG_FORMAT, LOG_LEVEL
from ownhost.request.hosts import SERVER_ALIASES
from ownhost.request.names import SERVER_ADMIN, SERVER_SIGNATURE

LOGS: tuple[Setting[Any], ...] = (ERROR_LOG, CUSTOM_LOGS, GLOBAL_LOGS)
_TLS: tuple[Setting[Any], ...] = tuple(one for one in vars(ssl).values() if isinstance(one, Setting))
_KEPT: tuple[Setting[Any], ...] = (
    SERVER_NAME,
    SERVER_ALIASES,
    SERVER_ADMIN,
    SERVER_SIGNATURE,
    ASSIGN_USER_ID,
    NICE_VALUE,
    *LOGS,
    LOG_FORMATS,
    ERROR_LOG_FORMAT,
    LOG_LEVEL,
    PROTOCOLS,
    PROTOCOLS_HONOR_ORDER,
    *_TLS,
)
_COMPUTED = (ASSIGN_USER_ID_EXPR, ASSIGN_GROUP_ID_EXPR)


def reduce(config: Config) -> Config:
    """A configuration in which virtual hosts with errors are reduced to the above."""
    hosts = [_reduced(config.main, server) if server.fault else server for server in config.virtual_hosts]
    return replace(config, virtual_hosts=hosts)


def blame(config: Config, problems: Collection[tuple[int, Setting[Any], Problem]]) -> Config:
    """A configuration with one more error in some virtual hosts: server id, what it cannot set after all, and why."""
    hosts = list(config.virtual_hosts)
    for id_, setting, problem in problems:
        server = hosts[id_ - 1]
        before = server.fault or Fault(())
        if problem in before.problems:
            continue
        spoiled = before.spoiled | {setting.name}
        hosts[id_ - 1] = replace(server, fault=replace(before, problems=(*before.problems, problem), spoiled=spoiled))
    return reduce(replace(config, virtual_hosts=hosts))


def is_ownerless(main: VirtualHost, server: VirtualHost) -> bool:
    """Whether it is unknown which owner a virtual host with an error has."""
    fault = server.fault
    if fault is None:
        return False
    said = _says(main, server, ASSIGN_USER_ID)
    return ASSIGN_USER_ID.name in fault.spoiled or (fault.unknown and not said)


def tls_problem(server: VirtualHost) -> Problem | None:
    """Why a virtual host with an error cannot speak TLS, whatever its keys are: its TLS lines are unreadable."""
    if server.fault is None or server.fault.spoiled.isdisjoint(setting.name for setting in _TLS):
        return None
    return server.fault.problems[0]


def _says(main: VirtualHost, server: VirtualHost, setting: Setting[Any]) -> bool:
    """Whether a virtual host itself sets a setting."""
    return server.origins.get(setting.name) != main.origins.get(setting.name)


def _reduced(main: VirtualHost, server: VirtualHost) -> VirtualHost:
    assert server.fault is not None
    spoiled = server.fault.spoiled - {SERVER_NAME.name}
    kept = [s.name for s in _KEPT if s.name not in spoiled and _says(main, server, s)]
    values = main.settings.inherited(Settings()).values | {name: server.settings.values[name] for name in kept}
    origins = main.origins | {name: server.origins[name] for name in kept}
    for setting in _COMPUTED:
        values.pop(setting.name, None)
    # A virtual host that names a certificate is meant to speak TLS, even if the line that says so
    # cannot be read.
    engine, certificates = ssl.SSL_ENGINE.name, ssl.SSL_CERTIFICATES.name
    if engine not in kept and certificates in kept:
        values[engine], origins[engine] = True, origins[certificates]
    return replace(server, settings=Settings(values), origins=origins, sections=[])
