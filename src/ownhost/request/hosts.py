"""Which virtual host a request is for: its local address and port first, then its host name.

Apache's rules (vhosts/details.html): a virtual host with the address and port is preferred to one
with the address and any port, that to one with any address and the port, that to any address and
any port. Among the virtual hosts that share such an address, the first with the name is chosen
(ServerName, ServerAlias, in the order of the configuration); else one whose <VirtualHost> was
written with that name; else the first. The main server answers if no virtual host has the address.

A virtual host whose own address cannot be read has its names at every address, after all others,
and is never the first of an address: its requests must not go to another site, nor another site's
to it.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from ownhost.config.arguments import choice, flag, ignored, words
from ownhost.config.directive import (
    SECTIONS,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Setting,
    Where,
    declare,
    extend,
)
from ownhost.config.model import VirtualHost
from ownhost.config.server_name import SERVER_NAME, ServerName

__all__ = [
    "SERVER_ALIASES",
    "SERVER_NAME",
    "STRICT_HOST_CHECK",
    "USE_CANONICAL_NAME",
    "USE_CANONICAL_PHYSICAL_PORT",
    "HostIndex",
    "NameTable",
    "ServerName",
]

_LAST = sys.maxsize
OTHER_OWNER = -1  # in place of a server's id: another owner has this name


@dataclass(frozen=True, slots=True)
class NameTable:
    """The virtual hosts that share an address: names to server ids.

    Each name has the position of its server in the configuration, since an earlier wildcard beats a
    later exact name. The part of a table that one owner is told has OTHER_OWNER for all other owners'
    servers, and none of their names. Digests replace them, except for wildcards: a digest is of use
    only to a process that knows the name already.
    """

    default: int = 0
    exact: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> place, server id
    wildcards: tuple[tuple[int, re.Pattern[str], int], ...] = ()  # place, pattern, server id
    others: frozenset[bytes] = frozenset()  # digests of other owners' names
    secret: bytes = b""  # keys the digests

    def find(self, host: str) -> int:
        """The server for a host name: lower case, no port, no dot at its end, "" if the request names none."""
        if not host:
            return self.default
        place, server = self.exact.get(host, (_LAST, self.default))
        if self.others and place == _LAST and _digest(host, self.secret) in self.others:
            return OTHER_OWNER
        for earlier, pattern, wild in self.wildcards:
            if earlier >= place:
                break
            if pattern.fullmatch(host):
                return wild
        return server

    def restricted(self, own: Collection[int], names: Iterable[str], secret: bytes) -> NameTable:
        """The part for the owner of some servers, whose names include `names`: enough to find those."""
        answers = self.default in own or any(server in own for _, _, server in self.wildcards)
        if not answers:
            found = {name: self.find(name) for name in names if name in self.exact}
            return NameTable(OTHER_OWNER, {name: (0, server) for name, server in found.items() if server in own})
        exact = {name: entry for name, entry in self.exact.items() if entry[1] in own}
        wildcards = tuple(
            (place, one, server if server in own else OTHER_OWNER) for place, one, server in self.wildcards
        )
        others = frozenset(_digest(name, secret) for name in self.exact if self.find(name) not in own)
        return NameTable(self.default if self.default in own else OTHER_OWNER, exact, wildcards, others, secret)


@dataclass(frozen=True, slots=True)
class HostIndex:
    """All virtual hosts, by address. Plain data that pickles; built once per configuration."""

    tables: dict[tuple[str, int], NameTable]  # address or "", port or 0
    main: NameTable = NameTable()  # at addresses of no virtual host

    @classmethod
    def build(cls, servers: Sequence[VirtualHost]) -> HostIndex:
        """Index the main server, which comes first, and the virtual hosts."""
        members: dict[tuple[str, int], dict[int, VirtualHost]] = {}
        for server in sorted(servers[1:], key=_is_placeless):
            for address in server.addresses:
                members.setdefault((address.host, address.port), {})[server.id] = server
        return cls({place: _table(list(hosts.values()), place, servers[0]) for place, hosts in members.items()})

    def names(self, local_address: str, local_port: int) -> NameTable:
        """The table for connections to a local address: numeric, without brackets."""
        host = _plain(local_address)
        for place in ((host, local_port), (host, 0), ("", local_port), ("", 0)):
            table = self.tables.get(place)
            if table is not None:
                return table
        return self.main

    def restricted(self, servers: Sequence[VirtualHost], main: VirtualHost, secret: bytes) -> HostIndex:
        """The part for the owner of some servers. At addresses without them, no name is the owner's."""
        own = {server.id for server in servers}
        names = {name for server in servers for name in _written_names(server, main)}
        places = {(address.host, address.port) for server in servers for address in server.addresses}
        tables = {
            place: table.restricted(own, names, secret) if place in places or table.default in own else _OTHER_OWNERS
            for place, table in self.tables.items()
        }
        return HostIndex(tables, self.main if self.main.default in own else _OTHER_OWNERS)


_OTHER_OWNERS = NameTable(OTHER_OWNER)


def _digest(name: str, secret: bytes) -> bytes:
    return blake2b(name.encode("utf-8", "surrogateescape"), key=secret, digest_size=8).digest()


def _written_names(server: VirtualHost, main: VirtualHost) -> Iterator[str]:
    """All names that may lead to a server in a table, except wildcards."""
    yield from own_names(server, main)
    yield from server.settings[SERVER_ALIASES]
    for written in server.hosts:
        yield f"[{written}]" if ":" in written else written


def _plain(address: str) -> str:
    """An address in its usual form; IPv4 in IPv6 (::ffff:a.b.c.d) as IPv4."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address.partition("%")[0])
    return str(parsed.ipv4_mapped or parsed)


def _table(hosts: list[VirtualHost], place: tuple[str, int], main: VirtualHost) -> NameTable:
    exact: dict[str, tuple[int, int]] = {}
    wildcards = []
    for order, server in enumerate(hosts):
        for name in own_names(server, main):
            exact.setdefault(name, (order, server.id))
        for alias in server.settings[SERVER_ALIASES]:
            if "*" in alias or "?" in alias:
                wildcards.append((order, wildcard(alias), server.id))
            else:
                exact.setdefault(alias, (order, server.id))
    for order, server in enumerate(hosts, len(hosts)):
        for address, written in zip(server.addresses, server.hosts, strict=False):
            if (address.host, address.port) == place:
                exact.setdefault(f"[{written}]" if ":" in written else written, (order, server.id))
    return NameTable(main.id if _is_placeless(hosts[0]) else hosts[0].id, exact, tuple(wildcards))


def _is_placeless(server: VirtualHost) -> bool:
    return server.fault is not None and server.fault.placeless


def own_names(server: VirtualHost, main: VirtualHost) -> list[str]:
    """The server's ServerName. The main server's counts only for a virtual host at any address."""
    inherited = server.origins.get(SERVER_NAME.name) == main.origins.get(SERVER_NAME.name)
    if inherited and (_is_placeless(server) or not any(address.host == "" for address in server.addresses)):
        return []
    name = server.settings[SERVER_NAME].host
    return [name] if name else []


def goes_by(server: VirtualHost, host: str) -> bool:
    """Whether the configuration names a host for a virtual host: as ServerName, as ServerAlias, or in <VirtualHost>."""
    settings = server.settings
    written = (f"[{name}]" if ":" in name else name for name in server.hosts)
    return host in (settings[SERVER_NAME].host, *written) or any(
        wildcard(alias).fullmatch(host) for alias in settings[SERVER_ALIASES]
    )


def refuses(server: VirtualHost, host: str) -> bool:
    """Whether StrictHostCheck refuses requests for a host that the virtual host would get by default."""
    return server.settings[STRICT_HOST_CHECK] and bool(host) and not goes_by(server, host)


def wildcard(alias: str) -> re.Pattern[str]:
    """A ServerAlias with wildcards: "*" is any text, "?" any character, nothing else is special.

    The first place where a part between two stars fits is as good as any later one, so it is never
    tried again.
    """
    first, *others = (re.escape(part).replace(r"\?", ".") for part in alias.split("*"))
    if not others:
        return re.compile(first, re.DOTALL)
    *middle, last = others
    parts = "".join(f"(?>.*?{part})" for part in middle if part)
    return re.compile(f"{first}{parts}.*{last}", re.DOTALL)


def parse_aliases(call: Call) -> tuple[str, ...]:
    """Parse ServerAlias: names in lower case."""
    return tuple(name.lower() for name in words(1)(call))


def parse_canonical(call: Call) -> bool:
    """Parse UseCanonicalName. Its value DNS would look up names while a request waits."""
    if call.args and call.args[0].lower() == "dns":
        raise ArgumentError("DNS is not supported yet: expected On or Off")
    return choice({"On": True, "Off": False})(call)


SERVER_ALIASES: Setting[tuple[str, ...]] = Setting("ServerAlias", ())
STRICT_HOST_CHECK = Setting("StrictHostCheck", False)
USE_CANONICAL_NAME = Setting("UseCanonicalName", False)
USE_CANONICAL_PHYSICAL_PORT = Setting("UseCanonicalPhysicalPort", False)

declare(
    Directive(
        "ServerAlias",
        "core",
        "name...",
        Where.VIRTUAL_HOST,
        "Further names of a virtual host; * and ? are wildcards.",
        parse_aliases,
        setting=SERVER_ALIASES,
        fold=extend,
    )
)
declare(
    Directive(
        "ServerPath",
        "core",
        "path",
        SERVERS,
        "The path of a virtual host for clients that do not send its name.",
        ignored(),
        answer=Answer.NO_EFFECT,
        note="has no effect: requests that name no host get the first virtual host at their address",
    )
)
declare(
    Directive(
        "NameVirtualHost",
        "core",
        "address[:port]",
        SERVERS,
        "Not needed since Apache 2.4: virtual hosts at one address are distinguished by name.",
        ignored(),
        answer=Answer.NO_EFFECT,
    )
)
declare(
    Directive(
        "StrictHostCheck",
        "core",
        "On|Off",
        SERVERS,
        (
            "Whether a request for a host that no virtual host at the address has gets a 400. "
            "Otherwise the first virtual host answers."
        ),
        flag(),
        setting=STRICT_HOST_CHECK,
        default="Off",
    )
)
declare(
    Directive(
        "UseCanonicalName",
        "core",
        "On|Off",
        SECTIONS,
        "Whether a server calls itself by its ServerName, or by the name in the request.",
        parse_canonical,
        setting=USE_CANONICAL_NAME,
        default="Off",
    )
)
declare(
    Directive(
        "UseCanonicalPhysicalPort",
        "core",
        "On|Off",
        SECTIONS,
        "Whether a server that gives its port uses the one at which the connection arrived.",
        flag(),
        setting=USE_CANONICAL_PHYSICAL_PORT,
        default="Off",
    )
)
