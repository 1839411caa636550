"""What programs start and leave behind: collected by whoever has adopted it, and ended with it.

A process that has adopted orphans (PR_SET_CHILD_SUBREAPER) becomes the parent of every process below it whose own
parent ended. So a launcher knows all that its programs left running, and the forkserver what a launcher did.

Processes may fork and leave faster than they can be counted. So they are ended in rounds: all that are found are
stopped, parents first, until a round finds none that still runs; only then are they killed, so that none sees
another's end and starts a new one. A stopped process counts for RLIMIT_NPROC, and may start nothing any more where
the kernel lets us say so; so rounds come to an end.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Collection
from pathlib import Path

MOMENT = 0.001  # seconds for the killed to end
NO_MORE = (0, 0)  # of RLIMIT_NPROC: who has it never starts another process


def children() -> list[int]:
    """The pids of this process's children, those that it adopted among them."""
    return _children_of(os.getpid())


def _children_of(pid: int) -> list[int]:
    """The children of all threads of a process; none where it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError), open(thread / "children") as file:
                found += map(int, file.read().split())
    return found


def strangers(*known: Collection[int]) -> list[int]:
    """The children that nobody here started and that still run. Those that ended are collected.

    Whoever was seen may have left, with a child that comes to us instead: then it is looked for again.
    """
    while True:
        seen = [pid for pid in children() if not any(pid in ones for ones in known)]
        running = [pid for pid in seen if os.waitpid(pid, os.WNOHANG)[0] == 0]
        if running or not seen:
            return running


def end_all(seconds: float) -> bool:
    """End everything below this process. Whether that is done: it takes `seconds` at most, and some milliseconds.

    What this process may not end is left: a set-user-id program.
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
    """End all below a process but those that are known, and what is below these. Those that may not be ended.

    All are stopped first. None is collected meanwhile: who has ended counts for RLIMIT_NPROC until then, and
    leaves less room for others. So whoever calls this for its own children has to collect them, and to look again.
    """
    until = time.monotonic() + seconds
    passed = set(known)
    halted: set[int] = set()
    immune: set[int] = set()
    unexplored: set[int] = set()  # whose own children were not looked for since they were stopped
    while time.monotonic() < until:
        # The youngest first: they stand last in the list, and who forks and leaves is not there for long.
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
        unexplored.update(new)  # also below what is immune
    for pid in halted:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return immune


def _stop(pid: int, immune: set[int]) -> bool:
    """Stop a process that was just seen: pids are given in turn, so it is no other one yet."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    except PermissionError:
        immune.add(pid)
        return False
    return True
