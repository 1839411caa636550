"""Processes that programs start and leave behind: collected by the process that adopted them, and ended with it.

A process that adopts orphans (PR_SET_CHILD_SUBREAPER) becomes the parent of every process below it
whose own parent has ended. So a launcher knows all that its programs left running, and the
forkserver what a launcher did.

Processes may fork and exit faster than they can be counted. So they are ended in rounds: all that
are found are stopped, parents first, until a round finds no running one. Only then are they killed,
so that none sees another's end and starts a new one. A stopped process counts for RLIMIT_NPROC, and
may start nothing any more if the kernel allows us to set that. So the rounds end.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Collection
from pathlib import Path

MOMENT = 0.001  # seconds for killed processes to end
NO_MORE = (0, 0)  # of RLIMIT_NPROC: a process with this limit never starts another


def children() -> list[int]:
    """The pids of this process's children, including adopted ones."""
    return _children_of(os.getpid())


def _children_of(pid: int) -> list[int]:
    """The children of all threads of a process; none if it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError), open(thread / "children") as file:
                found += map(int, file.read().split())
    return found


def strangers(*known: Collection[int]) -> list[int]:
    """The running children that this process did not start. Ended ones are collected.

    A process may have exited since the look, and its child has come to us instead. So the look is
    repeated.
    """
    while True:
        seen = [pid for pid in children() if not any(pid in ones for ones in known)]
        running = [pid for pid in seen if os.waitpid(pid, os.WNOHANG)[0] == 0]
        if running or not seen:
            return running


def end_all(seconds: float) -> bool:
    """End everything below this process.

    Returns whether that is done: it takes at most `seconds`, and a few milliseconds.

    A process that this one may not end is left: a set-user-id program.
    """
    until = time.monotonic() + seconds
    immune: set[int] = set()
    while strangers(immune):
        immune |= end_below(os.getpid(), immune, until - time.monotonic())
        if time.monotonic() > until:
            return False
        time.sleep(MOMENT)
    return True


def end_below(parent: int, known: Collection[int], seconds: float) -> set[int]:
    """End all processes below one, except the known ones and what is below these. Returns those that may not be ended.

    All are stopped first. Meanwhile none is collected: a zombie counts for RLIMIT_NPROC, and leaves
    less room for others. So a caller that does this for its own children must collect them and look
    again.
    """
    until = time.monotonic() + seconds
    passed = set(known)
    halted: set[int] = set()
    immune: set[int] = set()
    unexplored: set[int] = set()  # whose own children were not looked for since they were stopped
    while time.monotonic() < until:
        # The youngest first: they are last in the list, and a process that forks and exits does not
        # stay long.
        new = [pid for pid in reversed(_children_of(parent)) if pid not in passed]
        if not new:
            new = [child for pid in unexplored for child in _children_of(pid) if child not in passed]
            unexplored.clear()
            if not new:
                break
        stopped = [pid for pid in new if _stop(pid, immune)]
        for pid in stopped:
            with contextlib.suppress(OSError):  # of the own uid, or with CAP_SYS_RESOURCE
                resource.prlimit(pid, resource.RLIMIT_NPROC, NO_MORE)
        halted.update(stopped)
        passed.update(new)
        unexplored.update(new)  # also below an immune one
    for pid in halted:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return immune


def _stop(pid: int, immune: set[int]) -> bool:
    """Stop a process that was just seen. Pids are assigned in turn, so it is not another one yet."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    except PermissionError:
        immune.add(pid)
        return False
    return True
