"""Single measurements of one server."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from servers import Server, on
from sites import ALICE, BOB, FILE, HUGE, IDLE, LARGE, SHARED, USERS, Owner

SETTLE = 2.0  # seconds until a server has started all its processes, or noticed that its clients left


@dataclass(frozen=True)
class Load:
    """A way to load a server with wrk."""

    name: str
    connections: int
    threads: int
    headers: tuple[str, ...]
    asked: tuple[str, ...] = ()  # host, path, host, path...: asked in turn, where given
    path: str = FILE  # else this is asked for
    by_owner: bool = False  # only what serves as the owner can do it
    apart: bool = False  # servers and clients have half of the cores each
    address: str = "127.0.0.1"  # that is connected to, and from; ::1 is a front proxy's


NEW_CONNECTION = Load("new connection per request", 32, 2, (f"Host: {ALICE.host}", "Connection: close"))
KEEP_ALIVE = Load("keep-alive", 32, 2, (f"Host: {ALICE.host}",))
PROGRAM_LOADS = (NEW_CONNECTION, KEEP_ALIVE)
LOADS = (
    NEW_CONNECTION,
    KEEP_ALIVE,
    Load("100 KiB, keep-alive", 16, 2, KEEP_ALIVE.headers, path=LARGE, apart=True),
    Load("10 MiB, keep-alive", 4, 2, KEEP_ALIVE.headers, path=HUGE, apart=True),
    Load(
        "a front proxy's connection with owners alternating",
        8,
        8,
        (),
        (ALICE.host, FILE, BOB.host, FILE),
        address="[::1]",
    ),
    Load(
        "users by expression alternating on one keep-alive connection",
        8,
        8,
        (),
        tuple(part for user in USERS for part in (SHARED.host, f"/~{user}{FILE}")),
        by_owner=True,
    ),
)


def requests_per_second(
    server: Server, load: Load, seconds: int, path: str = "", scheme: str = "http"
) -> dict[str, Any]:
    """Load a server, asking for `path`, or what the load names. Complete responses with status 2xx are the `rate`."""
    command = ["wrk", "-t", str(load.threads), "-c", str(load.connections), "-d", f"{seconds}s"]
    command += ["-s", str(Path(__file__).with_name("wrk.lua"))]
    for header in load.headers:
        command += ["-H", header]
    command += [f"{scheme}://{load.address}:{server.port}{path or load.path}", "--", *load.asked]
    command = [*on(server.cores.clients), *command]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(output.rpartition("RESULT ")[2])
    return {"rate": (result["responses"] - result["not_2xx"]) / result["seconds"], **result}


def check(server: Server, owners: Sequence[Owner], path: str) -> None:
    """See that each of the owners' pages is made by that owner. Raises ValueError, OSError."""
    for owner in owners:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        with contextlib.closing(client):
            _ask(client, owner, path)


def first_requests(server: Server) -> dict[str, Any]:
    """Ask each idle owner's site once, on connections that stay: time to the whole answer (ms), memory (bytes).

    What the server's processes grow by is divided by the number of owners: once while every owner has one
    client, once after all clients left.
    """
    time.sleep(SETTLE)  # it listens before all of its processes are there
    before = server.memory()
    with contextlib.ExitStack() as clients:
        times = [_first_request(server, owner, clients) for owner in IDLE]
        with_clients = server.memory()
    time.sleep(SETTLE)
    after = server.memory()
    return {
        "first_request_ms": times,
        "median_ms": median(times),
        "memory_before": before,
        "memory_per_owner_with_client": (with_clients - before) / len(IDLE),
        "memory_per_idle_owner": (after - before) / len(IDLE),
    }


def _first_request(server: Server, owner: Owner, clients: contextlib.ExitStack) -> float:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    clients.callback(client.close)
    started = time.perf_counter()
    _ask(client, owner)
    return (time.perf_counter() - started) * 1000


def alternation(server: Server, requests: int = 20) -> dict[str, int]:
    """Ask two owners in turn on a proxy's connection: how many were answered, how often it had to be opened again."""
    answered = reopened = 0
    client = http.client.HTTPConnection("::1", server.port, timeout=10)
    with contextlib.closing(client):
        for number in range(requests):
            try:
                _ask(client, (ALICE, BOB)[number % 2])
                answered += 1
            except (OSError, http.client.HTTPException):
                client.close()
            reopened += client.sock is None  # also after "Connection: close"
    return {"requests": requests, "answered": answered, "connection_lost": reopened}


def _ask(client: http.client.HTTPConnection, owner: Owner, path: str = FILE) -> None:
    """GET the owner's file or page. Raises ValueError on an answer that is not the owner's."""
    client.request("GET", path, headers={"Host": owner.host})
    response = client.getresponse()
    body = response.read()
    if response.status != 200 or not body.startswith(b"%d\n" % owner.id):
        raise ValueError(f"{owner.host} answered {response.status} {body[:20]!r}")
