"""A log in a folder that others than root may write to: its writer opens it as itself, and tries again.

An obstacle there (a link, a FIFO without a reader, no folder, no room) costs lines of this log.
Their number is logged in it once it can be written again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from ownhost.processes.logwriter import LogWriter

AGAIN = 10.0  # seconds between two attempts to open a log
MODE = 0o666  # of a new log, less the umask, as in Apache
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
LINK = "it is a symbolic link, which a log must not be"
NEITHER = "it is neither a file nor a terminal"


class OwnLog(LogWriter):
    """Collects lines, and opens the log when there is one to write.

    `complain` is told why the log cannot be opened, once for each reason, and when it can be again.
    """

    __slots__ = ("complain", "mode", "not_before", "path", "reason")

    def __init__(
        self,
        path: str,
        mode: int | None,
        schedule: Callable[[Callable[[], None]], object],
        later: Callable[[float, Callable[[], None]], object],
        complain: Callable[[str], None],
    ) -> None:
        super().__init__(-1, schedule, later)
        self.path = path
        self.mode = mode
        self.complain = complain
        self.not_before = 0.0
        self.reason = ""  # why the last attempt failed

    def flush(self) -> None:
        """Write the lines, if the log can be opened."""
        self.due = False
        if self.fd >= 0 or self._open():
            super().flush()

    def finish(self) -> None:
        """Write the rest at the end of the process, unless there is no log."""
        self.not_before = 0.0
        if self.fd >= 0 or (self.lines and self._open()):
            super().finish()

    def _open(self) -> bool:
        """Try to open the log, unless that was tried a moment ago."""
        now = time.monotonic()
        if now < self.not_before:
            return False
        try:
            self.fd = open_own(self.path, self.mode)
        except OSError as error:
            self.not_before = now + AGAIN
            self._try_again(AGAIN)
            self._say(why(self.path, error))
            return False
        if self.reason:
            self.complain(f"the log {self.path} can be opened again")
        return True

    def _say(self, reason: str) -> None:
        if reason != self.reason:
            self.reason = reason
            self.complain(f"cannot open the log {self.path}: {reason}; trying again every {AGAIN:.0f} s")


def open_own(path: str, mode: int | None) -> int:
    """Open a log as this process's user, for appending, without blocking. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return _open(path)
    with contextlib.suppress(FileExistsError):  # another process of this owner was faster
        return make(path, mode)
    return _open(path)


def trouble(path: str) -> str:
    """Why a log cannot be opened, as far as that shows without making one; "" if nothing prevents it."""
    try:
        try:
            os.close(_open(path))
        except FileNotFoundError:
            if not os.access(Path(path).parent, os.F_OK):
                raise
            if not os.access(Path(path).parent, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
    except OSError as error:
        return f"cannot open the log {path}: {why(path, error)}"
    return ""


def _open(path: str) -> int:
    """Open an existing log. Raises OSError."""
    descriptor = os.open(path, FLAGS)
    kind = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
        os.close(descriptor)
        raise OSError(errno.ENXIO, NEITHER)
    return descriptor


def make(name: str, mode: int | None, folder: int | None = None) -> int:
    """Make a new log. Raises OSError."""
    descriptor = os.open(name, FLAGS | os.O_CREAT | os.O_EXCL, MODE if mode is None else mode, dir_fd=folder)
    if mode is not None:
        with contextlib.suppress(OSError):  # file systems without modes
            os.fchmod(descriptor, mode)
    return descriptor


def why(path: str, error: OSError) -> str:
    """Why a log cannot be opened, in words that follow a colon."""
    folder = Path(path).parent
    match error.errno:
        case errno.ENOENT:
            return f"there is no folder {folder}; create it first"
        case errno.ENOTDIR:
            return f"{folder} is not a folder"
        case errno.EISDIR | errno.ENXIO:
            return NEITHER
        case errno.ELOOP if error.strerror == os.strerror(errno.ELOOP):
            return LINK
        case _:
            return error.strerror or str(error)
