"""Opening logs, as root, in the supervisor: for appending, never through a link; and the programs that read logs.

Logs in folders that others than root may write to are not opened here: their writers do that
(`ownlog`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path

from ownhost.config.model import Config
from ownhost.modules.log_config import logs_of
from ownhost.processes import ownlog
from ownhost.processes.supervisor import trusted
from ownhost.processes.supervisor.trusted import Place
from ownhost.request.errorlog import ERROR_LOG, LOG_FILE_MODE, LogTarget

STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}


class LogError(Exception):
    """A log cannot be opened. The message names it and says why. `forbidden`: root perhaps could."""

    def __init__(self, message: str, *, forbidden: bool = False) -> None:
        super().__init__(message)
        self.forbidden = forbidden


def targets(config: Config) -> dict[LogTarget, set[int]]:
    """Every log of a configuration, and the ids of the servers that write to it."""
    found: dict[LogTarget, set[int]] = {}
    for server in config.servers:
        found.setdefault(server.settings[ERROR_LOG], set()).add(server.id)
        for log in logs_of(server):
            found.setdefault(log.target, set()).add(server.id)
    return found


def mode_of(config: Config, servers: Iterable[int]) -> int | None:
    """The LogFileMode of a log that these servers write; the first one's counts."""
    said = (config.servers[id_].settings[LOG_FILE_MODE] for id_ in sorted(servers))
    return next((mode for mode in said if mode is not None), None)


def open_target(target: LogTarget, mode: int | None, owners: Collection[int]) -> int | PipedLog:
    """Open a log, or start the program that is one.

    `mode` is for a new file. Raises LogError, perhaps because of NotRoots.
    """
    return open_log(target, mode, owners) if target.kind == "file" else PipedLog(target)


def try_log(target: LogTarget, owners: Collection[int]) -> None:
    """Raise LogError if `open_target` would, as far as that shows without making a file or starting a program."""
    if target.kind == "pipe":
        _see_program(target)
    elif target.kind == "file":
        with contextlib.suppress(NothingThere):
            os.close(open_log(target, owners=owners, makes=False))


def _see_program(target: LogTarget) -> None:
    program = (_command(target) or [""])[0]
    found = program if "/" in program else shutil.which(program)
    try:
        os.stat(found or program)
        if not os.access(found or program, os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        forbidden = isinstance(error, PermissionError)
        raise LogError(f"cannot start the log program |{target.value}: {error.strerror}", forbidden=forbidden) from None


class NothingThere(Exception):
    """A log does not exist yet, and could be made."""


def open_log(target: LogTarget, mode: int | None = None, owners: Collection[int] = (), *, makes: bool = True) -> int:
    """Open a log file for appending. Raises LogError. /dev/stdout and /dev/stderr are this process's own.

    The log itself is never a link; `trusted` checks its path. A new file has `mode`, or what the
    umask leaves of 0666; an existing one keeps its own, whoever made it.
    """
    path = target.value
    if path in STANDARD:
        return os.dup(STANDARD[path])
    try:
        place = trusted.walk(Path(path), owners, follows=False)
        try:
            return _open(place, mode, makes=makes)
        finally:
            place.close()
    except OSError as error:
        forbidden = isinstance(error, PermissionError)
        raise LogError(f"cannot open the log {path}: {ownlog.why(path, error)}", forbidden=forbidden) from error


def _open(place: Place, mode: int | None, *, makes: bool) -> int:
    """Open a file in a place, or make it. The mode is set only on new files. Raises OSError."""
    if place.found >= 0:
        kind = os.fstat(place.found).st_mode
        if stat.S_ISLNK(kind):
            raise OSError(errno.ELOOP, ownlog.LINK)
        if not (stat.S_ISREG(kind) or stat.S_ISCHR(kind)):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return trusted.reopen(place.found, ownlog.FLAGS)
    if not place.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not makes:
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=place.folder, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise NothingThere
    return ownlog.make(place.name, mode, place.folder)


def _command(target: LogTarget) -> list[str]:
    try:
        return shlex.split(target.value)
    except ValueError as error:
        raise LogError(f"the log program |{target.value} has an unclosed quote") from error


class PipedLog:
    """A program that reads a log from its standard input; started again when it ends.

    The pipe is made once and outlives the program: lines written meanwhile wait in it, and writers
    notice nothing.
    """

    def __init__(self, target: LogTarget) -> None:
        self.target = target
        self.read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.write_end, False)
        self.process: subprocess.Popen[bytes] | None = None
        self.failing = False  # the last start failed
        try:
            self.start()
        except LogError:
            self._close()
            raise

    def fileno(self) -> int:
        """Where lines are written."""
        return self.write_end

    def start(self) -> None:
        """Start the program. Raises LogError."""
        command: str | list[str] = self.target.value if self.target.kind == "shell" else _command(self.target)
        try:
            self.process = subprocess.Popen(
                command,
                shell=self.target.kind == "shell",  # |$ asks for one
                stdin=self.read_end,
                process_group=0,  # a terminal's Ctrl-C does not reach it: it ends when its input does
            )
        except OSError as error:
            raise LogError(f"cannot start the log program |{self.target.value}: {error.strerror}") from error

    def ended(self) -> bool:
        """Whether the program is gone."""
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        """End the program's input, and give it a moment to write what it has read."""
        self._close()
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)

    def _close(self) -> None:
        os.close(self.write_end)
        os.close(self.read_end)
