"""Connections to servers behind this one: opened as the identity that serves, kept where the protocol lets them be."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from ownhost.http.limits import TIMEOUT
from ownhost.http.message import HTTPError
from ownhost.modules.mod_proxy import PROXY_TIMEOUT
from ownhost.modules.proxying.backend import Backend
from ownhost.request.request import Request

MOST_KEPT = 16  # idle connections to one backend
KEPT_FOR = 30.0  # seconds


@dataclass(slots=True)
class Peer:
    """What is known of a server behind this one."""

    idle: list[Connection] = field(default_factory=list)
    slots: asyncio.Semaphore | None = None  # for connections in use (max=)
    failed: float = float("-inf")  # loop time at which it could not be reached


@dataclass(slots=True, eq=False)
class Connection:
    """A connection to a backend. `used` has answered a request before: it may have been closed meanwhile."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: Peer
    used: bool = False
    since: float = 0.0  # loop time since which it is idle

    def close(self) -> None:
        """Be through with it."""
        self.writer.close()
        self._free_slot()

    def give_back(self) -> None:
        """Keep it for the next request, if there is room."""
        if len(self.peer.idle) >= MOST_KEPT:
            self.close()
            return
        self.used = True
        self.since = asyncio.get_running_loop().time()
        self.peer.idle.append(self)
        self._free_slot()

    def _free_slot(self) -> None:
        if self.peer.slots is not None:
            self.peer.slots.release()


_peers: dict[tuple[str, str, int, int], Peer] = {}


def timeout_of(request: Request, backend: Backend) -> float:
    """Seconds that a backend may say nothing."""
    return backend.parameters.timeout or request.site.settings[PROXY_TIMEOUT] or request.site.settings[TIMEOUT]


async def connect(request: Request, backend: Backend, *, fresh: bool = False) -> Connection:
    """A connection to a backend: an idle one, if there is one and it need not be fresh. Raises HTTPError 500, 503."""
    peer = _peer(backend)
    now = asyncio.get_running_loop().time()
    if now - peer.failed < backend.parameters.retry:
        why = f"{_name(backend)} could not be reached {now - peer.failed:.0f} s ago, and is left alone"
        raise HTTPError(503, why, module="proxy")
    limit = backend.parameters.connection_timeout or timeout_of(request, backend)
    if peer.slots is not None:
        try:
            async with asyncio.timeout(limit):
                await peer.slots.acquire()
        except TimeoutError:
            why = f"all {backend.parameters.maximum} connections to {_name(backend)} are in use"
            raise HTTPError(503, why, module="proxy") from None
    try:
        found = None if fresh else _idle(peer)
        return found or await _open(backend, peer, limit)
    except BaseException:
        if peer.slots is not None:
            peer.slots.release()
        raise


def _peer(backend: Backend) -> Peer:
    """What is known of a backend; those that ProxyPass says different limits for are different ones."""
    maximum = backend.parameters.maximum
    key = (backend.socket, backend.host, backend.port, maximum)
    if key not in _peers:
        _peers[key] = Peer(slots=asyncio.Semaphore(maximum) if maximum else None)
    return _peers[key]


def _idle(peer: Peer) -> Connection | None:
    """A connection that was kept, and that the other side has not closed."""
    now = asyncio.get_running_loop().time()
    while peer.idle:
        kept = peer.idle.pop()
        if not kept.reader.at_eof() and now - kept.since < KEPT_FOR:
            return kept
        kept.writer.close()
    return None


async def _open(backend: Backend, peer: Peer, limit: float) -> Connection:
    """A new connection. Raises HTTPError 500, 503."""
    try:
        async with asyncio.timeout(limit):
            if backend.socket:
                reader, writer = await asyncio.open_unix_connection(backend.socket)
            else:
                reader, writer = await asyncio.open_connection(backend.host.strip("[]"), backend.port)
    except socket.gaierror as error:
        raise HTTPError(500, f"{backend.host} has no address: {error.strerror}", module="proxy") from None
    except OSError as error:  # TimeoutError is one
        peer.failed = asyncio.get_running_loop().time()
        why = error.strerror or str(error) or f"no answer within {limit:.0f} s"
        raise HTTPError(503, f"attempt to connect to {_name(backend)} failed: {why}", module="proxy") from None
    peer.failed = float("-inf")
    return Connection(reader, writer, peer)


def _name(backend: Backend) -> str:
    return backend.socket or f"{backend.host}:{backend.port}"
