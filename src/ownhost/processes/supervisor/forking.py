"""Starting the forkservers, and ending them.

This file imports nothing of Ownhost: it runs before all else, as the forkserver has most to import.
"""

from __future__ import annotations

import socket
import subprocess
import sys

END = 10.0  # seconds: more than the forkserver takes


class ForkserverProcess:
    """The forkserver, as its parent sees it. `controls` are its control channel, and that of the one that it forks."""

    def __init__(self, process: subprocess.Popen[bytes], controls: tuple[socket.socket, socket.socket]) -> None:
        self.process = process
        self.controls = controls

    def end(self) -> None:
        """End the forkserver and with it every process, and wait for that."""
        for control in self.controls:
            control.close()
        try:
            self.process.wait(timeout=END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_forkserver() -> ForkserverProcess:
    """Start the forkserver: a program of its own, with nothing of this process's environment or memory."""
    control, confined = (socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
    given = [control[1].fileno(), confined[1].fileno()]
    flags = "-PsB" if sys.dont_write_bytecode else "-Ps"
    process = subprocess.Popen(
        [sys.executable, flags, "-m", "ownhost.processes.forkserver", *map(str, given)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        cwd="/",
        pass_fds=given,
    )
    for _, theirs in (control, confined):
        theirs.close()
    return ForkserverProcess(process, (control[0], confined[0]))
