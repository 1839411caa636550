"""System calls that neither Python nor the C library has a function for: by name, through syscall(2)."""

from __future__ import annotations

import ctypes
import os

from ownhost.identity.call_numbers import number_of
from ownhost.identity.prctl import libc

_syscall = libc.syscall
_syscall.restype = ctypes.c_long


def system_call(name: str, *arguments: int | bytes | None) -> int:
    """Make a system call, whose result is returned. Bytes are a structure that the kernel reads. Raises OSError."""
    words = [one if isinstance(one, bytes | None) else ctypes.c_long(one) for one in arguments]
    result = int(_syscall(ctypes.c_long(number_of(name)), *words))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
