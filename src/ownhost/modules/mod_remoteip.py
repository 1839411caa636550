"""mod_remoteip: front proxies that the administrator lists, and their clients.

A listed proxy names its client in a field of the request (RemoteIPHeader) or at the beginning of
the connection (the PROXY protocol). From then on, that is the request's client, for access rules,
logs and programs. Only %{c}a and CONN_REMOTE_ADDR still name the proxy.

Unlike in Apache, only listed proxies are believed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ownhost.config.addresses import resolve
from ownhost.config.arguments import flag, single, words
from ownhost.config.directive import SERVERS, ArgumentError, Call, Directive, Setting, declare, extend
from ownhost.config.lexer import words as split_words
from ownhost.config.networks import Address, Network, is_network, parse_address, parse_network
from ownhost.http.message import Head
from ownhost.request.module import Module, register
from ownhost.request.request import Endpoints, Level, Request

PROXY_IPS = "remoteip-proxy-ip-list"  # the note, as in Apache
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Addresses that no client of a proxy outside of the own network can have (RFC 1918, RFC 3927,
# loopback).
_PRIVATE = tuple(map(parse_network, ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")))
_GLOBAL = parse_network("2000::/3")  # RFC 4291: global unicast


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxies of one network. An internal proxy is believed even about private addresses.

    That ends once an external proxy is in the chain.
    """

    network: Network
    internal: bool  # of the own network, as are its clients


@dataclass(frozen=True, slots=True, eq=False)
class Proxies:
    """All proxies of a scope, first to last."""

    listed: tuple[Proxy, ...] = ()

    def find(self, address: Address) -> Proxy | None:
        """The first that contains an address."""
        return next((one for one in self.listed if address in one.network), None)


@dataclass(frozen=True, slots=True)
class Found:
    """The client of a request.

    `left` is the part of the field that was not believed; `via`, the external proxies on the way.
    """

    client: str
    left: str
    via: tuple[str, ...]


@functools.lru_cache(maxsize=256)  # fields may be long
def walk(peer: str, said: str, proxies: Proxies) -> Found | None:
    """Follow a list of addresses from its end, while each was added by a listed proxy. None: no one is believed.

    `peer` is the connection's client, `said` the field: its last address is the client of the peer.
    """
    address, client, via, left = parse_address(peer), "", [], said
    internal = True  # until an external proxy is in the chain
    while left and (proxy := proxies.find(address)) is not None:
        internal = internal and proxy.internal
        before, _, last = left.rpartition(",")
        spoken_for = _address(last.strip(" "))
        if spoken_for is None or not (internal or _is_public(spoken_for)):
            left = left.rstrip(" ")
            break
        if not internal:
            via.append(client or peer)
        address, client, left = spoken_for, str(spoken_for), before
    return Found(client, left, tuple(via)) if client else None


def _address(text: str) -> Address | None:
    """A numeric address without a zone, or None. Names are not looked up, as all other requests would wait."""
    try:
        return None if "%" in text else parse_address(text)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    """Whether a proxy outside of the own network can have a client with that address."""
    if address.version == 6:
        return address in _GLOBAL
    return not any(address in network for network in _PRIVATE)


# Directives


def parse_field_name(call: Call) -> str:
    """The name of a field of requests."""
    name = single(call)
    if not _FIELD_NAME.fullmatch(name):
        raise ArgumentError(f"expected the name of a field, not {name!r}")
    return name


def networks_of(found: Iterable[str]) -> tuple[Network, ...]:
    """The meaning of words: addresses, networks, and hosts, which are looked up now. Raises ArgumentError."""
    networks: list[Network] = []
    for word in found:
        if is_network(word) or "/" in word:
            networks.append(parse_network(word))
            continue
        try:
            networks += map(parse_network, resolve(word))
        except OSError as error:
            raise ArgumentError(f"{word} has no address: {error.strerror}") from None
    return tuple(networks)


def _listed(*, internal: bool) -> Callable[[Call], Proxies]:
    parse = words(1)
    return lambda call: Proxies(tuple(Proxy(network, internal) for network in networks_of(parse(call))))


def _listed_in_file(*, internal: bool) -> Callable[[Call], Proxies]:
    def parse(call: Call) -> Proxies:
        name = call.path(single(call))
        proxies: list[Proxy] = []
        for number, line in enumerate(Path(name).read_text("utf-8", "replace").splitlines(), 1):
            try:
                found = networks_of(split_words(line.partition("#")[0]))
            except ArgumentError as error:
                raise ArgumentError(f"{name}:{number}: {error}") from None
            proxies += (Proxy(network, internal) for network in found)
        return Proxies(tuple(proxies))

    return parse


def _fold(before: Proxies | None, more: Proxies) -> Proxies:
    return more if before is None else Proxies((*before.listed, *more.listed))


HEADER = Setting("RemoteIPHeader", "")
PROXIES_HEADER = Setting("RemoteIPProxiesHeader", "")
PROXIES: Setting[Proxies] = Setting("RemoteIPTrustedProxy", Proxies())
PROXY_PROTOCOL = Setting("RemoteIPProxyProtocol", False)
EXCEPTIONS: Setting[tuple[Network, ...]] = Setting("RemoteIPProxyProtocolExceptions", ())

_NETWORKS = "address|network|host..."
for _name, _internal, _help in (
    ("RemoteIPTrustedProxy", False, "proxies that are believed, except about private addresses of clients."),
    ("RemoteIPInternalProxy", True, "proxies that are believed, even about private addresses of clients."),
):
    for _suffix, _syntax, _what, _parse in (
        ("", _NETWORKS, "Names", _listed(internal=_internal)),
        ("List", "file", "Names a file of", _listed_in_file(internal=_internal)),
    ):
        declare(
            Directive(
                name=_name + _suffix,
                module="mod_remoteip",
                syntax=_syntax,
                where=SERVERS,
                help=f"{_what} {_help}",
                parse=_parse,
                setting=PROXIES,
                fold=_fold,
            )
        )
declare(
    Directive(
        name="RemoteIPHeader",
        module="mod_remoteip",
        syntax="field",
        where=SERVERS,
        help="The field in which listed proxies name their client, usually X-Forwarded-For.",
        parse=parse_field_name,
        setting=HEADER,
        differs="If no proxy is listed, no client is believed. Apache believes every client.",
    )
)
declare(
    Directive(
        name="RemoteIPProxiesHeader",
        module="mod_remoteip",
        syntax="field",
        where=SERVERS,
        help="A field that lists the trusted proxies through which a request came.",
        parse=parse_field_name,
        setting=PROXIES_HEADER,
    )
)
declare(
    Directive(
        name="RemoteIPProxyProtocol",
        module="mod_remoteip",
        syntax="On|Off",
        where=SERVERS,
        default="Off",
        help="Whether listed proxies begin their connections to these addresses with the PROXY protocol.",
        parse=flag(),
        setting=PROXY_PROTOCOL,
        differs="Listed proxies must use it, and no other client may. In Apache, every client must.",
    )
)
declare(
    Directive(
        name="RemoteIPProxyProtocolExceptions",
        module="mod_remoteip",
        syntax=_NETWORKS,
        where=SERVERS,
        help="Listed proxies that do not use the PROXY protocol.",
        parse=lambda call: networks_of(words(1)(call)),
        setting=EXCEPTIONS,
        fold=extend,
    )
)


# Requests


def arrive(request: Request) -> None:
    """Find out the client of a request, before any other decision."""
    settings, endpoints = request.site.settings, request.endpoints
    name = settings[HEADER]
    said = request.head.values.get(name.lower())
    if said is None or endpoints.peer:  # a proxy that used the PROXY protocol has already said it
        return
    found = walk(endpoints.client, said, settings[PROXIES])
    if found is None:
        return
    request.endpoints = from_proxy(endpoints, found.client)
    request.head = with_field(request.head, name, found.left)
    if found.via:
        request.notes[PROXY_IPS] = via = ", ".join(found.via)
        if settings[PROXIES_HEADER]:
            request.head = with_field(request.head, settings[PROXIES_HEADER], via)
    by = f"proxies {', '.join(found.via)}" if found.via else "internal proxies"
    request.log(Level.TRACE1, "remoteip", f"Using {found.client} as client's IP by {by}")


def from_proxy(endpoints: Endpoints, client: str) -> Endpoints:
    """The ends of a connection for a request from another client. The connection's client is the peer from then on."""
    ends = endpoints.client, endpoints.client_port
    return replace(endpoints, client=client, peer=ends[0], peer_port=ends[1], known=endpoints.tls)


def with_field(head: Head, name: str, value: str) -> Head:
    """A head with another value of a field; without it for ""."""
    key = name.lower()
    fields = [field for field in head.fields if field[0].lower() != key]
    values = {other: text for other, text in head.values.items() if other != key}
    if value:
        fields.append((name, value))
        values[key] = value
    return replace(head, fields=fields, values=values)


register(
    Module(
        name="mod_remoteip",
        identifier="remoteip_module",
        order=5,
        uses=lambda server: bool(server.settings[HEADER]),
        arrive=arrive,
    )
)
