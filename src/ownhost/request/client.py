"""The client: its address, and its name in DNS.

Looking up a name blocks the process, and so all requests of its identity. So names are remembered
for a while.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from ownhost.config.networks import Address, parse_address
from ownhost.request.request import Request

REMEMBERED = 60.0  # seconds
MOST_NAMES = 4_096

_names: dict[tuple[str, str], tuple[float, object]] = {}


def address(request: Request) -> Address:
    """The client's address."""
    request.pure = False
    return parse_address(request.endpoints.client)


def is_local(request: Request) -> bool:
    """Whether the client is on this machine: a loopback address, or the address that it connected to."""
    own = address(request)
    return own.is_loopback or own == parse_address(request.endpoints.local)


def name(request: Request) -> str:
    """The client's name, in lower case; "" if it has none, or if the name does not lead back to the address."""
    request.pure = False
    client = request.endpoints.client.partition("%")[0]
    found = _remembered("name", client, _reverse)
    return found if isinstance(found, str) else ""


def has_name(request: Request, host: str) -> bool:
    """Whether a host name leads to the client's address."""
    found = _remembered("addresses", host.lower(), _addresses)
    return isinstance(found, frozenset) and address(request) in found


def _remembered(kind: str, key: str, look_up: Callable[[str], object]) -> object:
    now = time.monotonic()
    until, found = _names.get((kind, key), (0.0, None))
    if until < now:
        if len(_names) >= MOST_NAMES:
            _names.clear()
        found = look_up(key)
        _names[kind, key] = now + REMEMBERED, found
    return found


def _reverse(client: str) -> str:
    try:
        host = socket.gethostbyaddr(client)[0]
    except OSError:
        return ""
    return host.lower() if parse_address(client) in _addresses(host) else ""


def _addresses(host: str) -> frozenset[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(parse_address(str(entry[4][0])) for entry in found)
