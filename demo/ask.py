"""Send requests to a server on this machine, and find out which process answered."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 2.0  # seconds until a connection is held by one process alone


@dataclass(frozen=True)
class Answer:
    """A response, and the uid and gid of the process that holds its connection; None if unclear."""

    status: int
    body: bytes
    uid: int | None
    gid: int | None


class Client:
    """One keep-alive connection to 127.0.0.1 (the process that answered is the one that holds the other end)."""

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def ask(self, host: str, path: str) -> Answer:
        """GET a path of a host. Raises OSError or http.client.HTTPException if no answer comes."""
        self.connection.request("GET", path, headers={"Host": host})
        response = self.connection.getresponse()
        body = response.read()
        held = self.connection.sock is not None  # otherwise the server has closed it
        uid, gid = credentials(holder(self.connection.sock)) if held else (None, None)
        return Answer(response.status, body, uid, gid)

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


def holder(client: socket.socket) -> int | None:
    """The pid of the one process that holds the other end of a connection within this machine."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        holders = list(_holders(f"socket:[{_peer_inode(client)}]"))
        if len(holders) == 1:
            return holders[0]
        time.sleep(0.02)
    return None


def credentials(pid: int | None) -> tuple[int | None, int | None]:
    """A process's uid and gid, if real, effective, saved and file system ids are all the same."""
    if pid is None:
        return None, None
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    uids, gids = set(fields["Uid"].split()), set(fields["Gid"].split())
    return (int(uids.pop()) if len(uids) == 1 else None, int(gids.pop()) if len(gids) == 1 else None)


def _peer_inode(client: socket.socket) -> str:
    ends = [_as_in_proc(client.getpeername()), _as_in_proc(client.getsockname())]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1:3] == ends:
            return columns[9]
    return ""


def _as_in_proc(address: tuple[str, int]) -> str:
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return f"{number:08X}:{address[1]:04X}"


def _holders(link: str) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if any(str(entry.readlink()) == link for entry in folder.iterdir()):
                yield int(folder.parent.name)
