"""Connections to servers behind this one: opened as the identity that serves, kept if the protocol allows it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ownhost.apps import backend_tls, unix_sockets
from ownhost.apps.backend_tls import Wanted
from ownhost.http.limits import TIMEOUT
from ownhost.http.message import HTTPError
from ownhost.http.tls_client import objection
from ownhost.modules.proxying.backend import Backend
from ownhost.modules.proxying.connections import PROXY_TIMEOUT, RECEIVE_BUFFER, SOURCE_ADDRESS
from ownhost.request.request import Request

MOST_KEPT = 16  # idle connections to one backend
KEPT_FOR = 30.0  # seconds


@dataclass(slots=True)
class Peer:
    """The state of a server behind this one."""

    idle: list[Connection] = field(default_factory=list)
    slots: asyncio.Semaphore | None = None  # for connections in use (max=)
    failed: float = float("-inf")  # loop time of the last failure to connect


@dataclass(slots=True, eq=False)
class Connection:
    """A connection to a backend. `used` has answered a request before: it may have been closed since."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: Peer
    name: str = ""  # sent as SNI, if it is encrypted
    used: bool = False
    since: float = 0.0  # loop time since which it is idle

    def close(self) -> None:
        """Close it."""
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


_Key = tuple[str, str, int, int, int, Any]
_peers: dict[_Key, Peer] = {}


def timeout_of(request: Request, backend: Backend) -> float:
    """Seconds that a backend may be silent."""
    return backend.parameters.timeout or request.site.settings[PROXY_TIMEOUT] or request.site.settings[TIMEOUT]


async def connect(request: Request, backend: Backend, *, fresh: bool = False) -> Connection:
    """A connection to a backend: an idle one, if there is one and it need not be fresh. Raises HTTPError 500, 503."""
    want = backend_tls.wanted(request, backend)
    peer = _peer(backend, want)
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
        found = None if fresh else _idle(peer, want.name if want else "")
        return found or await _open(request, backend, peer, want, limit)
    except BaseException:
        if peer.slots is not None:
            peer.slots.release()
        raise


def _peer(backend: Backend, want: Wanted | None) -> Peer:
    """The state of a backend; different ways to speak to it have different states."""
    maximum = backend.parameters.maximum
    server, tls = (want.server, want.tls) if want else (0, None)
    key = (backend.socket, backend.host, backend.port, maximum, server, tls)
    if key not in _peers:
        _peers[key] = Peer(slots=asyncio.Semaphore(maximum) if maximum else None)
    return _peers[key]


def _idle(peer: Peer, name: str) -> Connection | None:
    """A kept connection for that name that the other side has not closed."""
    now = asyncio.get_running_loop().time()
    others: list[Connection] = []
    found = None
    while peer.idle and found is None:
        kept = peer.idle.pop()
        if kept.reader.at_eof() or now - kept.since >= KEPT_FOR:
            kept.writer.close()
        elif kept.name != name:
            others.append(kept)
        else:
            found = kept
    peer.idle += reversed(others)
    return found


async def _open(request: Request, backend: Backend, peer: Peer, want: Wanted | None, limit: float) -> Connection:
    """A new connection. Raises HTTPError 500, 503."""
    context = backend_tls.context_of(request, want) if want else None
    try:
        async with asyncio.timeout(limit):
            sock = await _connected(request, backend, limit)
    except socket.gaierror as error:
        raise HTTPError(500, f"{backend.host} has no address: {error.strerror}", module="proxy") from None
    except OSError as error:  # TimeoutError is one
        peer.failed = asyncio.get_running_loop().time()
        why = os.strerror(error.errno) if error.errno else f"no answer within {limit:.0f} s"
        raise HTTPError(503, f"attempt to connect to {_name(backend)} failed: {why}", module="proxy") from None
    peer.failed = float("-inf")
    if want is None or context is None:
        return Connection(*await asyncio.open_connection(sock=sock), peer)
    return await _encrypted(request, backend, sock, peer, want, context)


async def _connected(request: Request, backend: Backend, limit: float) -> socket.socket:
    """A socket that is connected to the first of a backend's addresses that accepts. Raises OSError."""
    settings, said = request.site.settings, backend.parameters
    buffer = settings[RECEIVE_BUFFER] if said.receive_buffer is None else said.receive_buffer
    options: list[tuple[int, int]] = [(socket.SO_RCVBUF, buffer)] if buffer else []
    if said.keepalive:
        options.append((socket.SO_KEEPALIVE, 1))
    if backend.socket:
        return await _connected_to(socket.AF_UNIX, backend.socket, options, limit)
    source = settings[SOURCE_ADDRESS]
    failure: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, address in await _addresses(backend.host.strip("[]"), backend.port):
        try:
            return await _connected_to(family, address, options, limit, source)
        except OSError as error:
            failure = error
    raise failure


async def _addresses(host: str, port: int) -> Sequence[tuple[int, Any]]:
    """The addresses of a host. Raises gaierror."""
    try:  # a numeric address needs no thread
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


async def _connected_to(
    family: int, address: Any, options: Iterable[tuple[int, int]], limit: float, source: str = ""
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        for option, value in options:
            sock.setsockopt(socket.SOL_SOCKET, option, value)
        if source:
            sock.bind((source, 0))
        if family == socket.AF_UNIX:
            await unix_sockets.connect(sock, address, limit)
        else:
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _encrypted(
    request: Request, backend: Backend, sock: socket.socket, peer: Peer, want: Wanted, context: ssl.SSLContext
) -> Connection:
    """The connection on a socket, after the handshake. Raises HTTPError 500, as Apache does."""
    limit = timeout_of(request, backend)
    writer = None
    try:
        async with asyncio.timeout(limit):
            reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=want.name)
        why = objection(want.tls.policy, _shown_certificate(writer), want.name)
    except TimeoutError:
        why = f"no answer within {limit:.0f} s"
    except (OSError, ValueError) as error:  # ValueError: the name is invalid
        why = _reason(error)
    if not why:
        assert writer is not None
        return Connection(reader, writer, peer, want.name)
    if writer is not None:
        writer.transport.abort()
    else:
        with contextlib.suppress(OSError):
            sock.close()
    said = f"Error during SSL Handshake with remote server returned by {request.uri}"
    raise HTTPError(500, f"{said}: {_name(backend)}: {why}", module="proxy")


def _shown_certificate(writer: asyncio.StreamWriter) -> bytes | None:
    found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(True)
    return found


def _reason(error: Exception) -> str:
    """Why a handshake failed, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"SSL Proxy connect failed: certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"SSL Proxy connect failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return f"SSL Proxy connect failed: {error}"


def _name(backend: Backend) -> str:
    return backend.socket or f"{backend.host}:{backend.port}"
