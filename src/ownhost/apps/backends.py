"""Connections to servers behind this one: opened as the identity that serves, kept where the protocol lets them be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ownhost.http.limits import TIMEOUT
from ownhost.http.message import HTTPError
from ownhost.modules.mod_proxy import PROXY_TIMEOUT
from ownhost.modules.proxying.backend import Backend
from ownhost.request.request import Request

MOST_KEPT = 16  # idle connections to one backend
KEPT_FOR = 30.0  # seconds


@dataclass(slots=True)
class Connection:
    """A connection to a backend. `used` has answered a request before: it may have been closed meanwhile."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    key: tuple[str, str, int]
    used: bool = False
    since: float = 0.0  # loop time since which it is idle


_idle: dict[tuple[str, str, int], list[Connection]] = {}


def timeout_of(request: Request, backend: Backend) -> float:
    """Seconds that a backend may say nothing."""
    return backend.parameters.timeout or request.site.settings[PROXY_TIMEOUT] or request.site.settings[TIMEOUT]


async def connect(request: Request, backend: Backend, *, fresh: bool = False) -> Connection:
    """A connection to a backend: an idle one, if there is one and it need not be fresh. Raises HTTPError 503, 504."""
    key = (backend.socket, backend.host, backend.port)
    now = asyncio.get_running_loop().time()
    idle = _idle.get(key, [])
    while idle and not fresh:
        kept = idle.pop()
        if not kept.reader.at_eof() and now - kept.since < KEPT_FOR:
            return kept
        kept.writer.close()
    limit = backend.parameters.connection_timeout or timeout_of(request, backend)
    where = backend.socket or f"{backend.host}:{backend.port}"
    try:
        async with asyncio.timeout(limit):
            if backend.socket:
                reader, writer = await asyncio.open_unix_connection(backend.socket)
            else:
                reader, writer = await asyncio.open_connection(backend.host.strip("[]"), backend.port)
    except TimeoutError:
        raise HTTPError(504, f"cannot connect to {where} within {limit:.0f} s", module="proxy") from None
    except OSError as error:
        why = f"attempt to connect to {where} failed: {error.strerror or error}"
        raise HTTPError(503, why, module="proxy") from None
    return Connection(reader, writer, key)


def give_back(connection: Connection) -> None:
    """Keep a connection for the next request, if there is room."""
    idle = _idle.setdefault(connection.key, [])
    if len(idle) >= MOST_KEPT:
        connection.writer.close()
        return
    connection.used = True
    connection.since = asyncio.get_running_loop().time()
    idle.append(connection)
