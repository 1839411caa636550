"""A page for each process, on which it notes what its loop does. The supervisor reads it, and need not ask.

Only the process writes on its page; the supervisor maps it for reading. The process may be hostile:
its entries may be anything, and concern only itself. Times are monotonic seconds, which all
processes share.
"""

from __future__ import annotations

import ctypes
import fcntl
import math
import mmap
import os

from ownhost.processes.shared_memory import READ, WRITE, map_shared, unmap

PAGE = mmap.PAGESIZE
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL  # its reader must find all of it


class Heartbeat(ctypes.Structure):
    """A process's entries. 0 is no time."""

    _fields_ = (
        # Since when its loop is busy with one thing; 0 while it waits. A worker's is renewed now
        # and then.
        ("busy_since", ctypes.c_double),
        ("idle_since", ctypes.c_double),  # of a worker: since when it has no connection
    )


def new_page() -> int:
    """A descriptor of a new page. Raises OSError."""
    descriptor = os.memfd_create("heartbeat", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, PAGE)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def own_page(descriptor: int) -> Heartbeat:
    """This process's own page, mapped for good. Raises OSError."""
    return Heartbeat.from_address(map_shared(descriptor, PAGE, WRITE))


class Watched:
    """Another process's page. Raises OSError."""

    def __init__(self, descriptor: int) -> None:
        self._address = map_shared(descriptor, PAGE, READ)
        self._pulse: Heartbeat | None = Heartbeat.from_address(self._address)

    def close(self) -> None:
        """The process is gone."""
        if self._pulse is not None:
            self._pulse = None
            unmap(self._address, PAGE)

    def busy_for(self, now: float) -> float:
        """For how many seconds its loop is busy with one thing; 0 while it waits."""
        return _since(self._pulse.busy_since, now) if self._pulse is not None else 0.0

    def idle_for(self, now: float) -> float:
        """For how many seconds a worker has no connection; 0 while it has one."""
        return _since(self._pulse.idle_since, now) if self._pulse is not None else 0.0


def _since(then: float, now: float) -> float:
    """A hostile process's entry may not be a number."""
    return now - then if math.isfinite(then) and 0.0 < then <= now else 0.0


class Own:
    """This process's page: its own memory until it is given one (a rehearsal, a test)."""

    def __init__(self) -> None:
        self.heartbeat = Heartbeat()


OWN = Own()
