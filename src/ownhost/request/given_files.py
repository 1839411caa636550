"""Files that a process reads by names in its configuration: opened by root if root may, else by the process itself.

The process opens, as its owner, what is in folders that others than root may write to, when it
needs it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence

MOST_FILES = 1_024  # in a folder: Debian has 300 in /etc/ssl/certs
MOST_BYTES = 16 << 20  # of a file, or of a folder's files together


class GivenFiles:
    """Files and folders by name. `given` has the descriptors of those that root opened; a folder has many."""

    def __init__(self, given: Mapping[str, Sequence[int]]) -> None:
        self.given = given

    @classmethod
    def numbered(cls, given: Mapping[str, Sequence[int]], descriptors: Sequence[int]) -> GivenFiles:
        """The files that a slice names by the positions of their descriptors."""
        return cls({name: [descriptors[place] for place in places] for name, places in given.items()})

    def read(self, name: str) -> bytes:
        """The content of a file, or of a folder's files, joined by newlines. Raises OSError with the name."""
        try:
            descriptors = self.given.get(name)
            if descriptors is not None:
                return _joined(_read(descriptor) for descriptor in descriptors)
            return self._read_own(name)
        except OSError as error:
            error.filename = name
            raise

    def _read_own(self, name: str) -> bytes:
        descriptor = _open(name)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                return _read(descriptor)
            return _joined(_files_in(descriptor))
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in {one for descriptors in self.given.values() for one in descriptors}:
            os.close(descriptor)


def names_in(folder: int) -> list[str]:
    """The names in a folder, sorted. Raises OSError; EFBIG if they are too many."""
    found: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            found.append(entry.name)
            if len(found) > MOST_FILES:
                raise OSError(errno.EFBIG, f"it has more than {MOST_FILES} files")
    return sorted(found)


def _files_in(folder: int) -> Iterator[bytes]:
    """The contents of the files in a folder, each once: OpenSSL's hash names are links to the others."""
    seen: set[tuple[int, int]] = set()
    for name in names_in(folder):
        try:
            descriptor = _open(name, folder)
        except FileNotFoundError:  # a link that leads nowhere
            continue
        try:
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) in seen or stat.S_ISDIR(status.st_mode):
                continue
            seen.add((status.st_dev, status.st_ino))
            yield _read(descriptor)
        finally:
            os.close(descriptor)


def _open(name: str, folder: int | None = None) -> int:
    """Open a file without blocking, for example on a FIFO without a writer."""
    return os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)


def _read(descriptor: int) -> bytes:
    """The content of a regular file. Other processes may have read from the same descriptor. Raises OSError."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if status.st_size > MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return os.pread(descriptor, MOST_BYTES, 0)


def _joined(parts: Iterator[bytes]) -> bytes:
    found: list[bytes] = []
    size = 0
    for part in parts:
        size += len(part) + 1
        if size > MOST_BYTES + 1:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        found.append(part)
    return b"\n".join(found)
