"""Addresses: Listen, and what stands in <VirtualHost ...>.

address = "*" | "_default_" | IPv4 | "[" IPv6 "]" | host name
listen  = [address ":"] port
virtual = address [":" (port | "*")]
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace

from ownhost.config.arguments import number
from ownhost.config.directive import SERVER_ONLY, ArgumentError, Call, Directive, Setting, append, declare
from ownhost.config.model import ListenAddress, Listener

Resolver = Callable[[str], list[str]]  # a host name to numeric addresses; OSError if there are none

ANY = ("*", "_default_")


def resolve(host: str) -> list[str]:
    """The numeric addresses of a host name, in the system's order. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def numeric(host: str) -> str | None:
    """A numeric address in its usual form; None if it is a name. IPv4 in IPv6 (::ffff:a.b.c.d) becomes IPv4."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)


def split_address(text: str) -> tuple[str, str]:
    """Cut "host:port" in two: the host without brackets ("" if missing), and the port as text ("" if missing)."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in host or "%" in host:
            raise ArgumentError(f"expected an IPv6 address in brackets, not {text!r}")
        return host, rest[1:]
    if text.count(":") > 1:
        raise ArgumentError(f"expected an IPv6 address in brackets: [{text}]")
    host, colon, port = text.rpartition(":")
    return (host, port) if colon else ("", text) if text.isdigit() else (text, "")


def virtual_addresses(text: str, default_port: int, resolver: Resolver) -> list[ListenAddress]:
    """The addresses that one argument of <VirtualHost> means; several if a host name has several.

    `default_port` counts if the argument has no port; 0 is any. Raises `ArgumentError`; OSError for
    a name that has no address.
    """
    if text == "*":
        return [ListenAddress("", 0)]
    host, port = split_address(text)
    if not host:
        raise ArgumentError(f"expected an address before the port: *:{port or text}")
    wanted = 0 if port == "*" else number(port, 1, 65535) if port else default_port
    if host.lower() in ANY:
        return [ListenAddress("", wanted)]
    literal = numeric(host)
    hosts = [literal] if literal else resolver(host)
    return [ListenAddress("" if address in ("0.0.0.0", "::") else address, wanted) for address in hosts]  # noqa: S104


def parse_listen(call: Call) -> Listener:
    """Parse Listen. A host name is resolved once the whole configuration is read."""
    if not 1 <= len(call.args) <= 2:
        raise ArgumentError(f"expected an address and port, and perhaps a protocol, got {len(call.args) or 'none'}")
    host, port = split_address(call.args[0])
    if not port:
        raise ArgumentError(f"expected a port: {call.args[0]}:80")
    address = ListenAddress("" if host == "*" else numeric(host) or host, number(port, 1, 65535))
    usual = "https" if address.port == 443 else "http"
    return Listener(address, call.source, call.args[1].lower() if len(call.args) > 1 else usual)


IPV4_ANY = "0.0.0.0"  # noqa: S104 - a name


def resolve_listeners(
    listeners: Iterable[Listener], resolver: Resolver
) -> tuple[list[Listener], list[tuple[Listener, str]]]:
    """Listen lines with their host names resolved, and those that are wrong, each with why.

    All of IPv4 is part of all of IPv6, where both are listed.
    """
    found: dict[ListenAddress, Listener] = {}
    wrong: list[tuple[Listener, str]] = []
    for listener in listeners:
        try:
            resolved = _resolved(listener, resolver)
        except OSError as error:
            wrong.append((listener, f"Listen: {listener.address.host} has no address: {error.strerror}"))
            continue
        for one in resolved:
            if one.address in found:
                wrong.append((listener, f"Listen: {one.address} is in {found[one.address].source} already"))
            found[one.address] = one
    every = {ListenAddress(IPV4_ANY, address.port) for address in found if address.host in ("", "::")}
    return [listener for address, listener in found.items() if address not in every], wrong


def _resolved(listener: Listener, resolver: Resolver) -> list[Listener]:
    host, port = listener.address.host, listener.address.port
    if not host or numeric(host):
        return [listener]
    return [replace(listener, address=ListenAddress(found, port)) for found in resolver(host)]


LISTENERS: Setting[tuple[Listener, ...]] = Setting("Listen", ())

declare(
    Directive(
        "Listen",
        "core",
        "[address:]port [protocol]",
        SERVER_ONLY,
        "An address and port at which to accept connections. Each Listen adds one.",
        parse_listen,
        setting=LISTENERS,
        fold=append,
    )
)
