"""Files of users and of groups: read as this process, whole, and again when their status has changed."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ownhost.request.given_files import GivenFiles
from ownhost.request.memory import SETTLED, same

MOST_FILES = 64  # of one kind, whose content is remembered

T = TypeVar("T")

_OWN = GivenFiles({})  # nothing is opened by root: who may read a file is decided by its permissions
_CONTINUED = re.compile(rb"\\\r?\n")


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    status: os.stat_result
    when: float  # seconds since the epoch
    content: T


class Files(Generic[T]):
    """Files of one kind. `parse` makes the content of one from its lines."""

    def __init__(self, parse: Callable[[Iterator[bytes]], T]) -> None:
        self.parse = parse
        self.known: dict[str, _Read[T]] = {}

    def content(self, name: str) -> T:
        """The content of a file as it is now. Raises OSError if it cannot be read, is too large, or no regular file."""
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", name)
        before = self.known.get(name)
        if before is not None and same(status, before.status) and _settled(before):
            return before.content
        when = time.time()
        found = self.parse(lines_of(_OWN.read(name)))
        if len(self.known) >= MOST_FILES:
            self.known.clear()
        self.known[name] = _Read(status, when, found)
        return found


def _settled(read: _Read[Any]) -> bool:
    """Whether the file was unchanged for a while when it was read: else it may have changed with the same status."""
    status = read.status
    return read.when * 1e9 - max(status.st_mtime_ns, status.st_ctime_ns) >= SETTLED


def lines_of(data: bytes) -> Iterator[bytes]:
    """The lines of a file, as Apache reads its configuration: without blanks around them, remarks, and empty ones."""
    for line in _CONTINUED.sub(b"", data).split(b"\n"):
        line = line.strip()
        if line and not line.startswith(b"#"):
            yield line
