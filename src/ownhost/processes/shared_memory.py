"""Memory that two processes share: mapped without a descriptor that stays open. See mmap(2), memfd_create(2)."""

from __future__ import annotations

import ctypes
import mmap
import os

READ, WRITE = mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def map_shared(descriptor: int, length: int, protection: int, offset: int = 0) -> int:
    """The address of a shared mapping. Python's own mmap would keep a copy of the descriptor open. Raises OSError."""
    address = _libc.mmap(None, length, protection, mmap.MAP_SHARED, descriptor, offset)
    if address == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot map shared memory: {os.strerror(number)}")
    return int(address)


def unmap(address: int, length: int) -> None:
    """Give a mapping back: nothing may look at it any more."""
    _libc.munmap(address, length)
