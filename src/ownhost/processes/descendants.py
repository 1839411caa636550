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
    """End everything below this process. Whether that is done: it takes `seconds` at most."""
    return end_strangers((), seconds)


def end_strangers(known: Collection[int], seconds: float) -> bool:
    """End all below this process but what it knows, and what is below that: see `end_all`.

    What this process may not end is left: a set-user-id program.
    """
    until = time.monotonic() + seconds
    immune: set[int] = set()
    while strangers(known, immune):
        for pid in _halt(known, immune, until):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            return False
        time.sleep(MOMENT)
    return True


def _halt(known: Collection[int], immune: set[int], until: float) -> set[int]:
    """Stop strangers and all below them, until none is found that was not stopped before. Those that are.

    None is collected meanwhile: who has ended counts for RLIMIT_NPROC until then, and leaves less room for others.
    """
    halted: set[int] = set()
    unexplored: set[int] = set()  # whose own children were not looked for since they were stopped
    while time.monotonic() < until:
        # The youngest first: they stand last in the list, and who forks and leaves is not there for long.
        new = [pid for pid in reversed(children()) if pid not in halted and pid not in immune and pid not in known]
        if not new:
            new = [child for pid in unexplored for child in _children_of(pid) if child not in halted | immune]
            unexplored.clear()
            if not new:
                break
        stopped = [pid for pid in new if _stop(pid, immune)]
        for pid in stopped:
            with contextlib.suppress(OSError):  # of the own uid, or with CAP_SYS_RESOURCE
                resource.prlimit(pid, resource.RLIMIT_NPROC, NO_MORE)
        halted.update(stopped)
        unexplored.update(new)  # also below what is immune
    return halted


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
