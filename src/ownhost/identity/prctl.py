"""prctl(2): what a process tells the kernel about itself."""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: int = 0, second: int = 0) -> int:
    """prctl(2). Raises OSError."""
    result: int = libc.prctl(
        ctypes.c_int(option),
        ctypes.c_ulong(argument),
        ctypes.c_ulong(second),
        ctypes.c_ulong(0),
        ctypes.c_ulong(0),
    )
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
    return result


def set_no_new_privs() -> None:
    """From now on no execve gives this process, or a child of it, a privilege that it does not have. For good."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_dumpable(dumpable: bool) -> None:
    """Whether a process of the same uid may look into this one: ptrace, /proc/PID/mem, core dumps."""
    prctl(PR_SET_DUMPABLE, int(dumpable))


def set_parent_death_signal(number: int) -> None:
    """Have the kernel send this process a signal when its parent ends.

    A change of credentials clears this, so set it after the last one. The parent may have ended
    before it took effect, so check getppid afterwards.
    """
    prctl(PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of all processes below this one whose own parent has ended."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
