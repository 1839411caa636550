"""The layout of objects in the forkserver's memory: those that its children write to should be side by side.

A child shares all pages of memory with the forkserver until it writes to them, and Python writes to
each object that it uses: a reference count, a counter in code. So a worker costs as many pages as
contain such an object.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
from collections.abc import Callable, Container
from types import CodeType, FrameType, FunctionType

from ownhost.identity.prctl import libc

ZEROS = bytes(mmap.PAGESIZE)


def executed(run: Callable[[], object]) -> set[int]:
    """The code objects that a function executes in this thread, by id."""
    found = set()

    def note(frame: FrameType, _event: str, _argument: object) -> None:
        found.add(id(frame.f_code))

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found


def gather(codes: Container[int], modules: tuple[str, ...]) -> None:
    """Put functions' code side by side: these code objects, and those of modules whose names begin like this.

    The code is copied, and the original is freed. This saves 0.5 MiB for each worker. A copy is not
    specialised, so it must be rehearsed again. Keep no id of code.
    """
    copies: dict[int, CodeType] = {}
    functions = [
        one
        for one in gc.get_objects()
        if type(one) is FunctionType and (id(one.__code__) in codes or str(one.__module__).startswith(modules))
    ]
    for one in functions:
        _copy(one.__code__, copies)
    for one in functions:
        one.__code__ = copies[id(one.__code__)]


def _copy(code: CodeType, copies: dict[int, CodeType]) -> CodeType:
    """A code object's copy, with copies of the code within it: comprehensions, functions that it makes."""
    if id(code) not in copies:
        constants = tuple(_copy(one, copies) if isinstance(one, CodeType) else one for one in code.co_consts)
        copies[id(code)] = code.replace(co_consts=constants)
    return copies[id(code)]


def fill_gaps() -> list[object]:
    """Objects of every size, some megabytes of them, that fill the gaps that freed ones have left all over the heap.

    Keep them. Otherwise a child's first objects would go there, and each such gap costs it a page
    of its own memory. This saves 1 MiB for each worker. Sizes and steps are pymalloc's, then malloc's
    (512 bytes and more).
    """
    overhead = sys.getsizeof(b"")
    smallest = [bytes(size - overhead) for size in (48, 64) for _ in range(4_000)]
    small = [bytes(size - overhead) for size in range(80, 513, 16) for _ in range(500)]
    large = [bytes(size - overhead) for size in range(528, 4_200, 64) for _ in range(20)]
    return [smallest, small, large, [object() for _ in range(1_000)], [number + 0.5 for number in range(2_000)]]


def give_back_zeros(large: object) -> None:
    """Return an object's memory pages that contain only zeros. The kernel makes new ones when they are used.

    uvloop's event loop has 0.2 MiB of them: a buffer for transports, which workers do not use.
    """
    end = id(large) + type(large).__basicsize__
    for page in range(id(large) + -id(large) % mmap.PAGESIZE, end - mmap.PAGESIZE + 1, mmap.PAGESIZE):
        if ctypes.string_at(page, mmap.PAGESIZE) == ZEROS:
            libc.madvise(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), mmap.MADV_DONTNEED)
