"""The .htaccess files of one virtual host: found by a worker, as the owner, and read again only if they changed.

A request looks for one in each folder on its way, from the first that AllowOverride says. What was
seen holds for one turn of the event loop (`memory.FileStatus`), and what a file said for as long as
its status is the same. Opening never waits, and only a regular file of limited size is read.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from ownhost.config import htaccess
from ownhost.config.directive import Problem
from ownhost.config.htaccess import MAX_BYTES, Reading
from ownhost.config.model import Fault, Section, Surroundings
from ownhost.config.overrides import ACCESS_FILE_NAME, Allowed
from ownhost.http.level import Level
from ownhost.http.message import HTTPError
from ownhost.request.memory import OPEN, FileStatus, is_settled, same
from ownhost.request.request import Levels, Request, SiteFacts
from ownhost.request.sections import ReadFolder

MOST_FILES = 4_096  # that are remembered
MOST_CHARACTERS = 16_777_216  # of the files that are remembered
_MISSING = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a file said, and for which state of it and which AllowOverride that holds."""

    stat: os.stat_result
    settled: bool  # whether the state would show any later change
    allowed: Allowed
    reading: Reading


class Htaccess:
    """The files of one virtual host. `looks` is that of its memory, so that all see one state."""

    def __init__(self, site: SiteFacts, surroundings: Surroundings, looks: FileStatus) -> None:
        self.names = site.settings[ACCESS_FILE_NAME]
        self.surroundings = surroundings
        self.looks = looks
        self.known: dict[bytes, _Known] = {}
        self.characters = 0

    def reader(self, request: Request) -> ReadFolder:
        """What reads the file of each folder that a request passes, and notes that it did. It raises HTTPError:
        403 for a file that cannot be read, 500 for one with errors.
        """
        file = "" if request.stat is None or stat.S_ISDIR(request.stat.st_mode) else f"{request.filename}/"

        def read(folder: str, allowed: Allowed) -> Section | None:
            return None if folder == file else self._in_folder(request, folder, allowed)

        return read

    def _in_folder(self, request: Request, folder: str, allowed: Allowed) -> Section | None:
        """The first of the names that exists."""
        for name in self.names:
            path = os.fsencode(folder + name)
            try:
                status = _levels(request)[path] = self._status(path)
                if status is not None:
                    return self._section(request, path, folder, allowed, status)
            except OSError as error:
                if error.errno not in _MISSING:
                    raise _unreadable(path, folder, error) from None
                self._note(request, path, None)
        return None

    def _status(self, path: bytes) -> os.stat_result | None:
        """A file's status in this turn; None if there is none. Raises OSError."""
        if path in self.looks.seen:
            return self.looks.seen[path]
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno not in _MISSING:
                raise
            status = None
        self.looks.see(path, status)
        return status

    def _note(self, request: Request, path: bytes, status: os.stat_result | None) -> None:
        self.looks.see(path, status)
        _levels(request)[path] = status

    def _section(
        self, request: Request, path: bytes, folder: str, allowed: Allowed, status: os.stat_result
    ) -> Section | None:
        """What a file says. Raises OSError, HTTPError 500."""
        known = self.known.get(path)
        if known is None or not known.settled or known.allowed != allowed or not same(known.stat, status):
            known = self._read(request, path, folder, allowed)
        problems = known.reading.problems
        if problems:
            raise HTTPError(500, str(Fault(problems)), level=Level.ALERT)
        return known.reading.section

    def _read(self, request: Request, path: bytes, folder: str, allowed: Allowed) -> _Known:
        """Read a file, and remember what it says. Raises OSError."""
        before = time.time()
        status, content = _content(path)
        self._note(request, path, status)
        reading = htaccess.read(
            content.decode("utf-8", "surrogateescape"), os.fsdecode(path), folder, allowed, self.surroundings
        )
        _tell(request.log, reading.remarks)
        known = _Known(status, is_settled(status, before), allowed, reading)
        self.characters += len(content)
        if len(self.known) >= MOST_FILES or self.characters > MOST_CHARACTERS:
            self.known.clear()
            self.characters = len(content)
        self.known[path] = known
        return known


def _levels(request: Request) -> Levels:
    """What a request has looked at. There is no table before the first look: most requests need none."""
    if request.levels is None:
        request.levels = {}
    return request.levels


def _content(path: bytes) -> tuple[os.stat_result, bytes]:
    """The status and content of a regular file, of one byte too much if it is too large. Raises OSError."""
    descriptor = os.open(path, OPEN)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EBADF, "not a regular file", path)
        parts, left = [], MAX_BYTES + 1
        while left and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
        return status, b"".join(parts)
    finally:
        os.close(descriptor)


def _tell(log: Callable[[Level, str, str], None], remarks: tuple[Problem, ...]) -> None:
    for remark in remarks:
        log(Level.INFO, "core", f"{remark.message} ({remark.source})")


def _unreadable(path: bytes, folder: str, error: OSError) -> HTTPError:
    """The error for a file that cannot be read: it could forbid what is asked for."""
    name = os.fsdecode(path)
    why = "unable to check htaccess file, ensure it is readable"
    text = f"AH00529: {name} pcfg_openfile: {why} and that '{folder}' is executable ({error.strerror})"
    return HTTPError(403, text, level=Level.CRIT)
