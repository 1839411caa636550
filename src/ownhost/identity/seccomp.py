"""seccomp(2): putting a process under a filter, for good.

`filters` has the tables of each role's calls, `bpf` the compiler. A filter is compiled once, in the
forkserver; a child only writes its pid into it and loads it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from functools import cache

from ownhost.identity.bpf import Architecture, Policy, Program, compile_policy
from ownhost.identity.call_numbers import this_machine
from ownhost.identity.filters import EXAMINER, FORKSERVER, FRONT, GATE, LOGGER, RESOLVER, SUPERVISOR, SWEEPER, WORKER
from ownhost.identity.system_calls import system_call

__all__ = [
    "EXAMINER", "FORKSERVER", "FRONT", "GATE", "LOGGER", "RESOLVER", "SUPERVISOR", "SWEEPER", "WORKER",
    "SeccompError", "compiled", "install",
]  # fmt: skip

_SET_MODE_FILTER = 1  # SECCOMP_SET_MODE_FILTER
_ALL_THREADS = 1  # SECCOMP_FILTER_FLAG_TSYNC
_INSTRUCTION = 8  # bytes, sizeof(struct sock_filter)


class SeccompError(Exception):
    """A filter could not be installed. The process must end: nothing runs without it."""


class _Filter(ctypes.Structure):
    """struct sock_fprog: a filter in the kernel's form."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(policy: Policy) -> None:
    """Put all threads of this process under a filter, for good. Needs no_new_privs or root. Raises SeccompError."""
    program = compiled(policy).encode(os.getpid())
    given = _Filter(len(program) // _INSTRUCTION, program)
    try:
        stopped_at = system_call("seccomp", _SET_MODE_FILTER, _ALL_THREADS, bytes(given))
    except OSError as error:
        reason = error.strerror
        if error.errno in (errno.ENOSYS, errno.EINVAL):
            reason = "this kernel is built without seccomp filters (CONFIG_SECCOMP_FILTER)"
        raise SeccompError(f"a process cannot be put under its filter of system calls: {reason}") from None
    if stopped_at:
        raise SeccompError(f"thread {stopped_at} cannot be put under the filter of system calls of its process")


@cache
def compiled(policy: Policy) -> Program:
    """A policy's program for this machine. Raises SeccompError if there is none."""
    return compile_policy(policy, _machine())


def _machine() -> Architecture:
    machine = this_machine()
    if machine is None:
        known = "for x86-64, 64-bit ARM and RISC-V"
        raise SeccompError(
            f"there are filters of system calls {known}, and none for this machine: {platform.machine()}"
        )
    return machine
