"""The servers that are compared: starting, stopping, and how much memory they take."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 30.0  # seconds that a server may take to start or to stop


Command = tuple[str, ...]
CORES = sorted(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Cores:
    """Where processes may run."""

    server: tuple[int, ...]
    clients: tuple[int, ...]


EVERYWHERE = Cores(tuple(CORES), tuple(CORES))  # as the kernel likes
# Half of the machine each: then it is the server that is measured, also where its clients have as much to do as it has.
APART = Cores(tuple(CORES[: max(1, len(CORES) // 2)]), tuple(CORES[len(CORES) // 2 :]))


def on(cores: Sequence[int]) -> Command:
    """What runs a command on some of the machine's cores only."""
    return "taskset", "--cpu-list", ",".join(map(str, cores))


@dataclass(frozen=True)
class Program:
    """A server that can be run in the foreground: its commands, each followed by a configuration's file name."""

    name: str
    commands: tuple[Command, ...]


APACHE_COMMAND = ("/usr/sbin/apache2", "-DFOREGROUND", "-f")
APACHE = Program("Apache + mpm_itk", (APACHE_COMMAND,))
NGINX_COMMAND = ("/usr/sbin/nginx", "-g", "daemon off;", "-c")
NGINX = Program("nginx", (NGINX_COMMAND,))
OWNHOST = Program("Ownhost", ((sys.executable, "-m", "ownhost", "run", "-f"),))

# Writes the configuration files for a folder of its own, the sites and a port; in the order of a program's commands.
Configure = Callable[[Path, Path, int], tuple[Path, ...]]


@dataclass(frozen=True)
class Peer:
    """A server and how it is told what to serve."""

    program: Program
    configure: Configure


@dataclass(frozen=True)
class Server:
    """A running server: its main processes, its port on 127.0.0.1, and which cores it has."""

    program: Program
    pids: tuple[int, ...]
    port: int
    cores: Cores = EVERYWHERE

    def memory(self) -> int:
        """The proportional set size of all its processes, in bytes: shared pages count once, in shares."""
        return sum(map(_proportional_set_size, _with_descendants(self.pids)))


@contextlib.contextmanager
def running(program: Program, configurations: Sequence[Path], port: int, cores: Cores = EVERYWHERE) -> Iterator[Server]:
    """Run a server until the block ends. Raises RuntimeError where it does not start to listen."""
    with contextlib.ExitStack() as started:
        processes = [
            started.enter_context(_running((*on(cores.server), *command), configuration))
            for command, configuration in zip(program.commands, configurations, strict=True)
        ]
        _wait_until_listening(program, processes, port)
        yield Server(program, tuple(process.pid for process in processes), port, cores)


@contextlib.contextmanager
def _running(command: Command, configuration: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command, str(configuration)], process_group=0)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_listening(program: Program, processes: Sequence[subprocess.Popen[bytes]], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while all(process.poll() is None for process in processes) and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{program.name} did not start; what it said is above")


def _with_descendants(pids: Sequence[int]) -> set[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = set(pids)
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _proportional_set_size(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
