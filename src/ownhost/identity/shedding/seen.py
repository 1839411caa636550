"""The kernel's facts about a process: those that `shedding` checks, of this process or of another.

Only root sees all facts of another process. A fact that cannot be seen is None.

Sources: proc(5), sched(7), ioprio_set(2), personality(2), prctl(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass

from ownhost.identity import prctl
from ownhost.identity.system_calls import system_call

IOPRIO_WHO_PROCESS = 1
IOPRIO_CLASS_SHIFT = 13
QUERY = 0xFFFF_FFFF  # personality(2): report, and change nothing
LARGEST = 65_536  # bytes of a file of /proc
UNLIMITED = -1  # resource.RLIM_INFINITY

Limits = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One process. Ids are real, effective, saved and of the file system; masks are bit masks; limits soft and hard."""

    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: frozenset[int]
    effective: int
    permitted: int
    inheritable: int
    bounding: int
    ambient: int
    no_new_privs: bool
    umask: int
    blocked: int
    ignored: int
    caught: int
    limits: Limits
    oom_score: int
    nice: int
    policy: int
    io_class: int
    personality: int | None
    leads_session: bool
    terminal: int  # its device number; 0: none
    folder: str | None
    descriptors: frozenset[int] | None
    dumpable: bool
    environment: frozenset[str] | None  # names
    control_group: str  # of version 2: its path; "" if there is none


def look(pid: int = 0) -> Seen:
    """A process as it is now; 0 is this one. Raises OSError if it is gone."""
    folder = f"/proc/{pid}" if pid else "/proc/thread-self"
    status = dict(line.split(b":", 1) for line in read(f"{folder}/status").splitlines())
    stat = read(f"{folder}/stat").rpartition(b")")[2].split()
    process = pid or os.getpid()
    return Seen(
        uids=tuple(map(int, status[b"Uid"].split())),
        gids=tuple(map(int, status[b"Gid"].split())),
        groups=frozenset(map(int, status[b"Groups"].split())),
        effective=int(status[b"CapEff"], 16),
        permitted=int(status[b"CapPrm"], 16),
        inheritable=int(status[b"CapInh"], 16),
        bounding=int(status[b"CapBnd"], 16),
        ambient=int(status.get(b"CapAmb", b"0"), 16),
        no_new_privs=int(status.get(b"NoNewPrivs", b"0")) == 1,
        umask=int(status[b"Umask"], 8),
        blocked=int(status[b"SigBlk"], 16),
        ignored=int(status[b"SigIgn"], 16),
        caught=int(status[b"SigCgt"], 16),
        limits=_limits(folder),
        oom_score=int(read(f"/proc/{pid or 'self'}/oom_score_adj")),
        nice=os.getpriority(os.PRIO_PROCESS, pid),
        policy=os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK,
        io_class=system_call("ioprio_get", IOPRIO_WHO_PROCESS, pid) >> IOPRIO_CLASS_SHIFT,
        personality=_personality(pid),
        leads_session=int(stat[3]) == process,
        terminal=int(stat[4]),
        folder=_folder(pid),
        descriptors=_descriptors(pid),
        dumpable=_dumpable(pid),
        environment=None if pid else frozenset(os.environ),
        control_group=_group(folder),
    )


def read(path: str) -> bytes:
    """All of a file of /proc. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, LARGEST)
    finally:
        os.close(descriptor)


def _limits(folder: str) -> Limits:
    """The table of /proc/PID/limits: columns of fixed width."""
    lines = read(f"{folder}/limits").splitlines()[1:]
    return {line[:26].decode().rstrip(): (_limit(line[26:47]), _limit(line[47:68])) for line in lines}


def _limit(text: bytes) -> int:
    return UNLIMITED if text.startswith(b"unlimited") else int(text)


def _personality(pid: int) -> int | None:
    if not pid:
        return int(prctl.libc.personality(ctypes.c_ulong(QUERY))) & QUERY
    with contextlib.suppress(OSError):
        return int(read(f"/proc/{pid}/personality"), 16)
    return None


def _folder(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid or 'self'}/cwd")  # noqa: PTH115 - a Path costs more
    return None


def _descriptors(pid: int) -> frozenset[int] | None:
    try:
        found = frozenset(map(int, os.listdir(f"/proc/{pid or 'self'}/fd")))  # noqa: PTH208 - a Path each costs more
    except OSError:
        return None
    return found if pid else frozenset(filter(_is_open, found))  # reading the folder took one, too


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _dumpable(pid: int) -> bool:
    if not pid:
        return prctl.prctl(prctl.PR_GET_DUMPABLE) == 1
    try:
        status = read(f"/proc/{pid}/status").splitlines()
        uid = int(next(line for line in status if line.startswith(b"Uid")).split()[2])
        return os.stat(f"/proc/{pid}/environ").st_uid == uid  # root's, if it is not dumpable
    except OSError:
        return False


def _group(folder: str) -> str:
    with contextlib.suppress(OSError):
        for line in read(f"{folder}/cgroup").splitlines():
            if line.startswith(b"0::"):
                return os.fsdecode(line[3:])
    return ""
