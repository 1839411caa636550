"""How much of requests and responses may wait in files, and where: program output that the client
has not read, and clients' bodies for programs.

The files have no name and belong to their owner. So the owner's quota counts them, and nothing is
left when a process is killed. On most systems, /run would be memory.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import BinaryIO

from ownhost.config.arguments import integer, path
from ownhost.config.directive import SERVER_ONLY, Directive, Setting, Settings, declare

SPOOL_DIRECTORY = Setting("SpoolDirectory", "/var/tmp")  # noqa: S108 - files without a name
SPOOL_MAX_ANSWER = Setting("SpoolMaxAnswer", 32 << 20)  # bytes
SPOOL_MAX_SIZE = Setting("SpoolMaxSize", 2 << 30)  # bytes

for _directive in (
    Directive(
        "SpoolDirectory",
        "ownhost",
        "folder",
        SERVER_ONLY,
        (
            "Where files without a name hold data that waits for a client or a program. Every user "
            "who serves must be able to write there."
        ),
        path(),
        setting=SPOOL_DIRECTORY,
        default="/var/tmp",  # noqa: S108 - the same
    ),
    Directive(
        "SpoolMaxAnswer",
        "ownhost",
        "bytes",
        SERVER_ONLY,
        ("How much of a program's response may wait for a slow client before the program must wait."),
        integer(65_536),
        setting=SPOOL_MAX_ANSWER,
        default="33554432",
    ),
    Directive(
        "SpoolMaxSize",
        "ownhost",
        "bytes",
        SERVER_ONLY,
        (
            "How much a worker keeps in files. At the limit, programs wait for their clients, and a "
            "request whose body has no room is answered 503, or 413 if its body alone exceeds the "
            "limit."
        ),
        integer(1 << 20),
        setting=SPOOL_MAX_SIZE,
        default="2147483648",
    ),
):
    declare(_directive)


@dataclass(slots=True)
class Spooling:
    """What a process may keep in files, and what it keeps. Sizes are bytes."""

    folder: str = "/var/tmp"  # noqa: S108 - see above
    most_of_answer: int = 32 << 20
    most: int = 2 << 30
    used: int = 0

    def has_room(self, size: int) -> bool:
        """Whether so much more may be kept."""
        return self.used + size <= self.most


def spooling(settings: Settings) -> Spooling:
    """The limits in settings."""
    return Spooling(settings[SPOOL_DIRECTORY], settings[SPOOL_MAX_ANSWER], settings[SPOOL_MAX_SIZE])


SPOOLING = Spooling()  # this process's own


def begin(told: Spooling) -> None:
    """Set this process's limits."""
    SPOOLING.folder, SPOOLING.most_of_answer, SPOOLING.most = told.folder, told.most_of_answer, told.most


class SpoolFile:
    """A file that is counted. Raises OSError if it cannot be made, or the disk is full."""

    def __init__(self) -> None:
        self.file: BinaryIO = tempfile.TemporaryFile(buffering=0, dir=SPOOLING.folder)  # noqa: SIM115 - see `close`
        self.size = 0  # bytes that are counted

    def fileno(self) -> int:
        """The descriptor."""
        return self.file.fileno()

    def write(self, data: bytes, place: int) -> None:
        """Write all of some bytes at a place. Raises OSError."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self.file.fileno(), rest, place)
            place += written
            rest = rest[written:]
        self.count(max(self.size, place))

    def empty(self) -> None:
        """Release its content."""
        os.ftruncate(self.file.fileno(), 0)
        self.count(0)

    def count(self, size: int) -> None:
        """It has another size."""
        SPOOLING.used += size - self.size
        self.size = size

    def close(self) -> None:
        """Close it."""
        self.count(0)
        self.file.close()
