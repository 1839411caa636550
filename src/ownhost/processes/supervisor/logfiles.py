"""Opening logs, as root, in the supervisor: appending, never through a link, and programs that read them."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ownhost.config.model import Config
from ownhost.modules.log_config import logs_of
from ownhost.processes import trusted
from ownhost.request.errorlog import ERROR_LOG, LOG_FILE_MODE, LogTarget

MODE = 0o666  # of a new log, less the umask, as in Apache
STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
NEITHER = "neither a file nor a terminal"


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
    """What LogFileMode says of a log that these servers write; the first one's word counts."""
    said = (config.servers[id_].settings[LOG_FILE_MODE] for id_ in sorted(servers))
    return next((mode for mode in said if mode is not None), None)


def open_target(target: LogTarget, mode: int | None) -> int | PipedLog:
    """Open a log, made with a mode, or start the program that is one. Raises LogError."""
    return open_log(target, mode) if target.kind == "file" else PipedLog(target)


def try_log(target: LogTarget) -> None:
    """Raise LogError where `open_target` would, as far as that shows without making a file or starting a program."""
    if target.kind == "pipe":
        _see_program(target)
    elif target.kind == "file":
        with contextlib.suppress(NothingThere):
            os.close(open_log(target, makes=False))


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
    """A log is not there yet, and could be made."""


def open_log(target: LogTarget, mode: int | None = None, *, makes: bool = True) -> int:
    """Open a log file for appending. Raises LogError. /dev/stdout and /dev/stderr are this process's own.

    The log itself is never a link, and on the way to it only links of root are followed (`trusted`). A file that is
    made has `mode`, or what the umask leaves of MODE; one that is there keeps its own, whoever put it there.
    """
    path = target.value
    if path in STANDARD:
        return os.dup(STANDARD[path])
    try:
        folder = trusted.open_folder(Path(path).parent)
        try:
            if not makes:
                _see_room(Path(path).name, folder)
            descriptor = _open(Path(path).name, folder, mode, makes=makes)
        finally:
            os.close(folder)
    except OSError as error:
        forbidden = isinstance(error, PermissionError)
        raise LogError(f"cannot open the log {path}: {_why(path, error)}", forbidden=forbidden) from error
    kind = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISCHR(kind)):
        os.close(descriptor)
        raise LogError(f"cannot open the log {path}: it is {NEITHER}")
    return descriptor


def _see_room(name: str, folder: int) -> None:
    """Raise NothingThere where a log could be made, PermissionError where it could not."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
        raise NothingThere from None


def _open(name: str, folder: int, mode: int | None, *, makes: bool) -> int:
    """Open a log in a folder. The mode is set on what was made here, never on what somebody else put there."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    if not makes:
        return os.open(name, flags, dir_fd=folder)
    if mode is not None:
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
            os.fchmod(descriptor, mode)
            return descriptor
    return os.open(name, flags | os.O_CREAT, MODE if mode is None else mode, dir_fd=folder)


def _why(path: str, error: OSError) -> str:
    if error.errno == errno.ELOOP and Path(path).is_symlink():
        return "it is a symbolic link, which a log must not be"
    match error.errno:
        case errno.ENOENT:
            return f"there is no folder {Path(path).parent}; create it first"
        case errno.ENOTDIR:
            return f"{Path(path).parent} is no folder"
        case errno.EISDIR | errno.ENXIO:
            return f"it is {NEITHER}"
        case _:
            return error.strerror or str(error)


def _command(target: LogTarget) -> list[str]:
    try:
        return shlex.split(target.value)
    except ValueError as error:
        raise LogError(f"the log program |{target.value} has an unclosed quote") from error


class PipedLog:
    """A program that reads a log from its standard input; started again when it ends.

    The pipe is made once and outlives the program: what is written meanwhile waits in it, and writers notice nothing.
    """

    def __init__(self, target: LogTarget) -> None:
        self.target = target
        self.read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.write_end, False)
        self.process: subprocess.Popen[bytes] | None = None
        self.failing = False  # the last start did not succeed
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
                process_group=0,  # a terminal's Ctrl-C is not for it: it ends when its input does
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
