"""Starting the forkserver, and ending it.

Nothing of Ownhost is imported here: this comes before all else, as the forkserver has most to import.
"""

from __future__ import annotations

import socket
import subprocess
import sys

END = 10.0  # seconds: more than the forkserver takes


class ForkserverProcess:
    """The forkserver, as its parent sees it."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.process = process
        self.control = control

    def end(self) -> None:
        """End the forkserver and with it every process, and wait for that."""
        self.control.close()
        try:
            self.process.wait(timeout=END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_forkserver() -> ForkserverProcess:
    """Start the forkserver: a program of its own, with nothing of this process's environment or memory."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    flags = "-PsB" if sys.dont_write_bytecode else "-Ps"
    process = subprocess.Popen(
        [sys.executable, flags, "-m", "ownhost.processes.forkserver", str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        cwd="/",
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    return ForkserverProcess(process, ours)
