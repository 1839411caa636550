"""The two servers that are compared: starting, stopping, and how much memory they take."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 30.0  # seconds that a server may take to start or to stop


@dataclass(frozen=True)
class Program:
    """A server that can be run in the foreground; the configuration's file name follows the command."""

    name: str
    command: tuple[str, ...]


APACHE = Program("Apache + mpm_itk", ("/usr/sbin/apache2", "-DFOREGROUND", "-f"))
OWNHOST = Program("Ownhost", (sys.executable, "-m", "ownhost", "run", "-f"))


@dataclass(frozen=True)
class Server:
    """A running server: its main process and its port on 127.0.0.1."""

    program: Program
    pid: int
    port: int

    def memory(self) -> int:
        """The proportional set size of all its processes, in bytes: shared pages count once, in shares."""
        return sum(map(_proportional_set_size, _with_descendants(self.pid)))


@contextlib.contextmanager
def running(program: Program, configuration: Path, port: int) -> Iterator[Server]:
    """Run a server until the block ends. Raises RuntimeError where it does not start to listen."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *program.command, str(configuration)], process_group=0
    )
    try:
        _wait_until_listening(program, process, port)
        yield Server(program, process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_listening(program: Program, process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{program.name} did not start; what it said is above")


def _with_descendants(pid: int) -> set[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _proportional_set_size(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
