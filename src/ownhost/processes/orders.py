"""What workers ask of their identity's launcher: one SEQPACKET message each, with descriptors beside it.

Both ends are the same owner's: a launcher runs whatever it is told to, as that owner. So only the
form is checked.

    Run  descriptors: standard input, output, error, and the lease
    Use  descriptor: the lease

A lease is a socket. An answer comes on it when the request's turn has come: {"error": why} if it
never will. The program is in use until either end is closed. A later {"wanted": "back"} asks for
that to be soon. A worker's message on it begins with one of the bytes below.
"""

from __future__ import annotations

import array
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ownhost.apps.app import App, Protocol
from ownhost.processes.descriptors import close_all, receive_with_descriptors
from ownhost.processes.messages import ProtocolError
from ownhost.request.programs import Limits

MAX_ORDER = 180_000  # bytes: what fits into a socket's buffer by Linux's default
MAX_WORD = 65_536  # bytes of a worker's message on a lease

HEARD_ALL = b"\1"  # of a program that ran for one request: its output was read to the end
WAITS = b"\2"  # of an app: no process has taken the request
REPEATED = b"\3"  # of an app, messages follow: a response had them, and standard error has them, too


@dataclass(frozen=True, slots=True)
class Run:
    """Run a program for one request."""

    command: tuple[bytes, ...]
    environment: dict[bytes, bytes]
    folder: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Use:
    """Have an app ready, and answer `{"socket": path}`. Its standard error goes to this server's error log."""

    app: App
    server: int


def send_order(sock: socket.socket, order: Run | Use, descriptors: Sequence[int]) -> None:
    """Send an order. Raises OSError; ValueError if it is too large."""
    data = json.dumps(_as_json(order)).encode()
    if len(data) > MAX_ORDER:
        raise ValueError(f"a program's variables of {len(data)} bytes are more than fit ({MAX_ORDER})")
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    sock.sendmsg([data], [rights], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def receive_order(sock: socket.socket) -> tuple[Run | Use, list[int]] | None:
    """The next order; None at the end. Raises BlockingIOError, ProtocolError."""
    data, descriptors, flags = receive_with_descriptors(sock, MAX_ORDER + 1, 4, socket.MSG_DONTWAIT)
    if not data and not descriptors:
        return None
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError("it is too large")
        order = _from_json(json.loads(data))
        if len(descriptors) != (4 if isinstance(order, Run) else 1):
            raise ValueError("it has the wrong descriptors")
    except (ValueError, TypeError, KeyError) as error:
        close_all(descriptors)
        raise ProtocolError(f"an invalid order: {error}") from None
    return order, descriptors


def _as_json(order: Run | Use) -> dict[str, Any]:
    if isinstance(order, Use):
        return {"use": asdict(order.app), "server": order.server}
    return {
        "run": [part.decode("latin-1") for part in order.command],
        "environment": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in order.environment.items()],
        "folder": order.folder,
        "limits": asdict(order.limits),
    }


def _from_json(values: dict[str, Any]) -> Run | Use:
    if "use" in values:
        found = values["use"]
        for name in ("command", "watched"):
            found[name] = tuple(found[name])
        for name in ("environment", "files"):
            found[name] = tuple((key, value) for key, value in found[name])
        return Use(App(**{**found, "protocol": Protocol(found["protocol"])}), int(values["server"]))
    environment = {name.encode("latin-1"): value.encode("latin-1") for name, value in values["environment"]}
    limits = Limits(**{name: None if pair is None else tuple(pair) for name, pair in values["limits"].items()})
    return Run(tuple(part.encode("latin-1") for part in values["run"]), environment, values["folder"], limits)
