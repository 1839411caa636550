"""What programs start and leave behind: collected by whoever has adopted it, and ended with it.

A process that has adopted orphans (PR_SET_CHILD_SUBREAPER) becomes the parent of every process below it whose own
parent ended. So a launcher knows all that its programs left running, and the forkserver what a launcher did.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path


def children() -> list[int]:
    """The pids of this process's children, those that it adopted among them."""
    own = os.getpid()
    return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()]


def strangers(known: Collection[int]) -> list[int]:
    """The children that nobody here started and that still run. Those that ended are collected."""
    found = []
    for pid in children():
        if pid not in known and os.waitpid(pid, os.WNOHANG)[0] == 0:
            found.append(pid)
    return found


def end_all() -> None:
    """End all children, and what becomes a child by that, until only those are left that this process may not end."""
    while ended := [pid for pid in children() if kill(pid)]:
        for pid in ended:
            os.waitpid(pid, 0)


def kill(pid: int) -> bool:
    """End a process. False where it may not be: a set-user-id program."""
    with contextlib.suppress(PermissionError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False
