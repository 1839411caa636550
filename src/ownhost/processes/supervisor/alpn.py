"""Which virtual hosts offer HTTP/2: pure.

Browsers use one HTTP/2 connection for every name in its certificate. So it is offered only if one
identity has the connections of all those names that this server serves at the same address.
Otherwise HTTP/1.1 is offered, where each name has its own connections. A virtual host that serves
as several users has one identity for its connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from ownhost.config.directive import Problem
from ownhost.config.model import ListenAddress, VirtualHost
from ownhost.modules.core_server import PROTOCOLS
from ownhost.processes.supervisor.plan import Plan
from ownhost.request.hosts import SERVER_ALIASES, SERVER_NAME

HTTP1 = ("http/1.1",)


def offered(plan: Plan, names: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
    """What ALPN may choose, by server. `names` are those in each server's certificates."""
    servers = plan.config.servers
    return {
        id_: servers[id_].settings[PROTOCOLS] if not others(plan, servers[id_], certified) else HTTP1
        for id_, certified in names.items()
    }


def others(plan: Plan, server: VirtualHost, certified: Sequence[str]) -> list[VirtualHost]:
    """The virtual hosts that a client could expect on a connection to `server`, and that its owner does not have."""
    return [
        other
        for other in plan.config.servers
        if plan.own(other) != plan.own(server)
        and _meet(server.addresses, other.addresses)
        and _share(certified, names_of(other))
    ]


def notes(plan: Plan, names: Mapping[int, Sequence[str]]) -> list[Problem]:
    """Where h2 was asked for and is not offered, and why not."""
    found = []
    for id_, certified in names.items():
        server = plan.config.servers[id_]
        if "h2" in server.settings[PROTOCOLS] and (in_the_way := others(plan, server, certified)):
            where = server.origins.get(PROTOCOLS.name, server.source)
            who = server.settings[SERVER_NAME].host or server.source
            found.append(Problem(where, f"HTTP/2 is not offered to clients of {who}: {_why(in_the_way)}"))
    return found


def _why(in_the_way: Sequence[VirtualHost]) -> str:
    first, *more = in_the_way
    name = first.settings[SERVER_NAME].host
    also = f" and {len(more)} more" if more else ""
    return f"its certificate also covers {name} ({first.source}){also}, which another user may serve"


def names_of(server: VirtualHost) -> list[str]:
    """ServerName and ServerAliases, which may have wildcards."""
    return [server.settings[SERVER_NAME].host, *server.settings[SERVER_ALIASES]]


def _meet(ones: Iterable[ListenAddress], others_: Sequence[ListenAddress]) -> bool:
    """Whether two servers may answer at one address."""
    return any(
        (one.port == other.port or not one.port or not other.port)
        and (one.host == other.host or not one.host or not other.host)
        for one in ones
        for other in others_
    )


def _share(certified: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a certificate's names cover one of a server's; if both have wildcards, whether they might."""
    return any(_covers(one.lower(), name) for one in certified for name in names if name)


def _covers(certified: str, name: str) -> bool:
    if "*" not in name and "?" not in name:
        return fnmatchcase(name, certified)
    if "*" not in certified:
        return fnmatchcase(certified, name)
    return True
