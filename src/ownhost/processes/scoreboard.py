"""How many clients a virtual host has (MaxClientsVHost), over all workers, even if some die.

A `Board` is shared memory of one virtual host: a page for each of its workers, and a first page
that says how many are in use. A worker maps its own page for writing and the rest for reading, and
closes both descriptors before it reads from the network. From then on it can change only its own
count. The supervisor, which maps all for writing, clears the page of a worker that is gone.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

from ownhost.processes.shared_memory import READ, WRITE, map_shared

PAGE = mmap.PAGESIZE
MOST_WORKERS = 4_095  # of one virtual host at the same time; unused pages take no memory
_COUNT = struct.Struct("<I")


class Board:
    """The supervisor's side: who has which page."""

    def __init__(self) -> None:
        self.writing = os.memfd_create("clients", os.MFD_CLOEXEC)
        os.fchmod(self.writing, 0o600)
        os.ftruncate(self.writing, (MOST_WORKERS + 1) * PAGE)
        self.reading = os.open(f"/proc/self/fd/{self.writing}", os.O_RDONLY | os.O_CLOEXEC)
        self.memory = mmap.mmap(self.writing, 0)
        self.used: set[int] = set()

    def take(self) -> int:
        """A page for a new worker. Raises OverflowError if none is left."""
        page = next((page for page in range(1, MOST_WORKERS + 1) if page not in self.used), 0)
        if not page:
            raise OverflowError("too many workers count clients of one virtual host")
        self.used.add(page)
        self._show()
        return page

    def give_back(self, page: int) -> None:
        """A worker is gone, and with it every client that it had."""
        _COUNT.pack_into(self.memory, page * PAGE, 0)
        self.used.discard(page)
        self._show()

    def _show(self) -> None:
        _COUNT.pack_into(self.memory, 0, max(self.used, default=0))

    def count(self) -> int:
        """Clients, over all workers."""
        return _total(self.memory)


class Clients:
    """A worker's side: the clients of one virtual host that this worker holds."""

    def __init__(self, writing: int, reading: int, page: int) -> None:
        """Maps both descriptors, which the caller closes. Raises OSError."""
        own = map_shared(writing, PAGE, WRITE, page * PAGE)
        size = (MOST_WORKERS + 1) * PAGE
        self.own = ctypes.c_uint32.from_address(own)
        self.all = memoryview((ctypes.c_char * size).from_address(map_shared(reading, size, READ)))

    def enter(self, limit: int) -> bool:
        """Count one more client. False, and not counted, if that would exceed `limit` (0: no limit).

        It counts first and checks then: two workers that both take the last place may both find it
        taken, but never both get it.
        """
        self.own.value += 1
        if limit and _total(self.all) > limit:
            self.leave()
            return False
        return True

    def leave(self) -> None:
        """One client less."""
        self.own.value -= 1


def _total(memory: mmap.mmap | memoryview) -> int:
    (pages,) = _COUNT.unpack_from(memory, 0)
    return sum(_COUNT.unpack_from(memory, page * PAGE)[0] for page in range(1, pages + 1))
