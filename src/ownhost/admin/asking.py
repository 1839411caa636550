"""The question of `explain`: a URL as a request, its address, and the virtual host that is chosen for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from ownhost.config.addresses import numeric
from ownhost.config.model import Config, ListenAddress, VirtualHost
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import Head, HTTPError
from ownhost.http.tls import VERSIONS, TLSFacts, TLSPolicy
from ownhost.modules.ssl.directives import SSL_ENGINE, policy_of
from ownhost.request.hosts import SERVER_ALIASES, SERVER_NAME, HostIndex, refuses
from ownhost.request.request import Endpoints

LOOPBACK = "127.0.0.1"  # the default address of client and server
CLIENT_PORT = 40_000
PORTS = {"http": 80, "https": 443}


class ExplainError(Exception):
    """There is nothing to explain: the URL or a header field is invalid. One sentence."""


@dataclass(slots=True)
class Question:
    """A request to explain: one that no client sent."""

    url: str
    headers: Sequence[str] = ()
    method: str = "GET"
    client: str = LOOPBACK


@dataclass(slots=True)
class Asked:
    """The request as the server would see it.

    `refused` says why the virtual host does not get it, with `status`; "" if it does. Status 0 is
    no response at all.
    """

    head: Head
    endpoints: Endpoints
    server: VirtualHost
    chosen: str  # why it is that virtual host
    named: bool  # whether it has the requested name
    refused: str = ""
    status: int = 0
    tls: str = ""  # the protocols at the address


def read_question(config: Config, question: Question) -> Asked:
    """Find the virtual host that would get a request. Raises ExplainError."""
    parts = split_url(question.url)
    port = parts.port or PORTS[parts.scheme]
    head = _head(config.main, parts, question)
    index = HostIndex.build(config.servers)
    local = _local_address(config, index, parts.hostname or "", head.host, port)
    names = index.names(local, port)
    server = config.servers[names.find(head.host)]
    secure = parts.scheme == "https"
    endpoints = Endpoints(question.client or LOOPBACK, CLIENT_PORT, local, port, secure=secure)
    chosen, named = _why(server, names.default, head.host, f"{local}:{port}")
    asked = Asked(head, endpoints, server, chosen, named, _not_listening(config, local, port))
    if not asked.refused:
        _agree_on_tls(asked, config.servers[names.default])
        if refuses(server, head.host) and (not asked.refused or asked.status == 421):
            why = f"StrictHostCheck is on, and no virtual host there goes by {head.host}"
            asked.refused, asked.status = why, 400
    return asked


def _agree_on_tls(asked: Asked, first: VirtualHost) -> None:
    """Whether both sides speak TLS, or neither: the first virtual host at an address decides for all."""
    if not asked.endpoints.secure:
        if first.settings[SSL_ENGINE]:
            asked.tls = "only TLS is spoken here (SSLEngine): use https:// instead"
            asked.refused, asked.status = asked.tls, 400
    elif not first.settings[SSL_ENGINE]:
        asked.tls = "none is spoken here: SSLEngine is off"
        asked.refused = "the TLS handshake fails: SSLEngine is off here; use http:// instead"
    elif not asked.server.settings[SSL_ENGINE]:
        name = first.settings[SERVER_NAME].host or str(first.source)
        asked.tls = f"SSLEngine is off for this virtual host; the connection is made with the certificate of {name}"
        asked.refused, asked.status = asked.tls, 421
    else:
        policy = policy_of(asked.server)
        asked.tls = _spoken(policy)
        asked.endpoints.known = _facts(policy, asked.head.host)


def split_url(url: str) -> SplitResult:
    """The parts of a URL; http:// may be left out. Raises ExplainError."""
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ExplainError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ExplainError(f"expected a URL such as http://alice.example/path, not {url!r}")
    return parts


def _not_listening(config: Config, local: str, port: int) -> str:
    """Why a connection to an address fails; "" if it succeeds."""
    if _listens(config, local, port):
        return ""
    listening = ", ".join(_shown(listener.address) for listener in config.listeners)
    if not listening:
        return f"connection refused: nothing listens on port {port}, as there is no Listen line"
    at = f" of {local}" if any(listener.address.port == port for listener in config.listeners) else ""
    return f"connection refused: nothing listens on port {port}{at}; listening: {listening}"


def _shown(address: ListenAddress) -> str:
    return str(address) if address.host else str(address.port)


def _listens(config: Config, local: str, port: int) -> bool:
    taken = (listener.address for listener in config.listeners)
    return any(one.port == port and one.host in ("", "0.0.0.0", "::", local) for one in taken)  # noqa: S104


def _local_address(config: Config, index: HostIndex, asked: str, host: str, port: int) -> str:
    """The local address to which a client of a URL connects.

    The URL's own, if it has one. Otherwise one with a listener: that of virtual hosts with the
    name, that of any virtual host, that of a Listen line; loopback if all are equal.
    """
    if numeric(asked):
        return asked
    at_port = [(address, names) for (address, at), names in index.tables.items() if address and at in (port, 0)]
    wanted = [address for address, names in at_port if host in names.exact] + [address for address, _ in at_port]
    wanted += [LOOPBACK, *(one.address.host for one in config.listeners if one.address.port == port)]
    return next((address for address in wanted if _listens(config, address, port)), wanted[0])


def _why(server: VirtualHost, default: int, host: str, at: str) -> tuple[str, bool]:
    """Why a virtual host gets a request, and whether it has the requested name."""
    if server.id == 0:
        return f"no virtual host is at {at}: the main server", True
    if host == server.settings[SERVER_NAME].host:
        return "its ServerName", True
    if server.id != default or host in server.settings[SERVER_ALIASES]:
        return "its ServerAlias", True
    return f"the first at {at}, as no other goes by that name", False


def _head(main: VirtualHost, parts: SplitResult, question: Question) -> Head:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = [f"Host: {parts.netloc.rpartition('@')[2]}"]
    for header in question.headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise ExplainError(f"expected a header field such as 'Cookie: a=b', not {header!r}")
        if name.strip().lower() == "host":
            fields.pop(0)
        fields.append(f"{name.strip()}: {value.strip()}")
    text = "\r\n".join((f"{question.method} {target} HTTP/1.1", *fields, "", ""))
    try:
        return parse_head(text.encode("utf-8"), head_limits(main.settings))
    except HTTPError as error:
        raise ExplainError(f"that is not a request, and is answered with {error.status}: {error.reason}") from None


def _spoken(policy: TLSPolicy) -> str:
    """The versions of TLS, and whether clients are asked for certificates."""
    asked = {"none": "are not asked for", "optional": "are asked for", "require": "are required"}[policy.verify]
    return f"{' or '.join(_versions(policy))}; clients' certificates {asked}"


def _versions(policy: TLSPolicy) -> list[str]:
    return [name for name in VERSIONS if name in policy.versions]


def _facts(policy: TLSPolicy, host: str) -> TLSFacts:
    """The connection that an up-to-date client without a certificate would have."""
    return TLSFacts(_versions(policy)[-1], "TLS_AES_256_GCM_SHA384", 256, host, resumed=False, algorithm_bits=256)
