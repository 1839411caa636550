"""Owners without root: who has which file is noted and not done, and who looks at a file is told what the kernel would.

For who has an identity (`acting`), a file's owner and mode are what was noted, and decide what may be seen. The file
system is the machine's otherwise. Accounts are those of `accounts.py`, beside the machine's.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from oracle.accounts import TEAM, USERS
from ownhost.identity.identity import Identity

ACTING: ContextVar[Identity | None] = ContextVar("acting", default=None)  # as whom files are looked at
MOST_LINKS = 40  # on the way to one file (path_resolution(7))
READ, SEARCH = 4, 1  # as in a mode
TIMES = ("st_atime", "st_mtime", "st_ctime", "st_atime_ns", "st_mtime_ns", "st_ctime_ns")
WWW_DATA = ("www-data", 33)

Name = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@dataclass
class Owners:
    """Who has what below a folder: root, where nothing else is noted."""

    folder: str
    noted: dict[str, tuple[int, int]] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)

    # What makes trees

    def chown(self, path: Name, uid: int, gid: int, *, follow_symlinks: bool = True) -> None:
        """chown(2) and lchown(2), of what is below the folder."""
        name = os.fsdecode(path)
        self.noted[os.path.realpath(name) if follow_symlinks else name] = uid, gid

    def lchown(self, path: Name, uid: int, gid: int) -> None:
        """lchown(2)."""
        self.chown(path, uid, gid, follow_symlinks=False)

    def chmod(self, path: Name, mode: int, **_: object) -> None:
        """chmod(2). The file's own mode lets whoever runs this use it."""
        self.modes[os.path.realpath(os.fsdecode(path))] = mode
        _CHMOD(path, mode | (stat.S_IRWXU if mode & 0o100 else stat.S_IRUSR | stat.S_IWUSR))

    # What looks at them

    def stat(self, path: Name | int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        """stat(2)."""
        if ACTING.get() is None or dir_fd is not None or isinstance(path, int):
            return _STAT(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        return self._find(path, follow=follow_symlinks)[1]

    def lstat(self, path: Name, *, dir_fd: int | None = None) -> os.stat_result:
        """lstat(2)."""
        return self.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def fstat(self, descriptor: int) -> os.stat_result:
        """fstat(2)."""
        if ACTING.get() is None:
            return _FSTAT(descriptor)
        return self._owned(os.readlink(f"/proc/self/fd/{descriptor}"), _FSTAT(descriptor))

    def open(self, path: Name, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """open(2), to read what is there."""
        if ACTING.get() is None or dir_fd is not None:
            return _OPEN(path, flags, mode, dir_fd=dir_fd)
        name, status = self._find(path, follow=True)
        if not _permits(status, READ):
            raise _error(errno.EACCES, path)
        return _OPEN(name, flags, mode)

    def access(self, path: Name | int, mode: int, **more: bool) -> bool:
        """access(2)."""
        if ACTING.get() is None or isinstance(path, int):
            return _ACCESS(path, mode, **more)
        try:
            return _permits(self._find(path, follow=True)[1], mode)
        except OSError:
            return False

    def _find(self, path: Name, *, follow: bool) -> tuple[str, os.stat_result]:
        """A file's real name, and its status (path_resolution(7)). Raises OSError."""
        name = os.fsdecode(path)
        here, status = "", self._status("/")
        ahead = _steps(name) if name else [""]
        links = 0
        while ahead:
            step = ahead.pop()
            if not stat.S_ISDIR(status.st_mode):
                raise _error(errno.ENOTDIR, path)
            if not step:
                raise _error(errno.ENOENT, path)
            if step == "/":
                continue  # it is a folder, which is all that a slash at the end asks
            if not _permits(status, SEARCH):
                raise _error(errno.EACCES, path)
            if step == ".":
                continue
            there = here.rpartition("/")[0] if step == ".." else f"{here}/{step}"
            try:
                status = self._status(there or "/")
            except OSError as error:
                raise _error(error.errno or errno.EIO, path) from None
            if stat.S_ISLNK(status.st_mode) and (ahead or follow):
                links += 1
                if links > MOST_LINKS:
                    raise _error(errno.ELOOP, path)
                target = os.readlink(there)
                ahead += _steps(target)
                there = "" if target.startswith("/") else here
                status = self._status(there or "/")
            here = there
        return here or "/", status

    def _status(self, name: str) -> os.stat_result:
        return self._owned(name, _STAT(name, follow_symlinks=False))

    def _owned(self, name: str, status: os.stat_result) -> os.stat_result:
        """What is known of a file, as it was noted."""
        if not name.startswith(self.folder):
            return status
        uid, gid = self.noted.get(name, (0, 0))
        mode = stat.S_IFMT(status.st_mode) | self.modes.get(name, stat.S_IMODE(status.st_mode))
        times = {one: getattr(status, one) for one in TIMES}
        return os.stat_result((mode, *status[1:4], uid, gid, *status[6:10]), times)


def _steps(name: str) -> list[str]:
    """The steps of a path, the first one last. A slash at its end is a step of its own."""
    return ["/"] * name.endswith("/") + [step for step in name.split("/")[::-1] if step]


def _permits(status: os.stat_result, wanted: int) -> bool:
    """Whether who acts may read, write, execute or search a file, by its owner and mode (inode(7))."""
    who = ACTING.get()
    assert who is not None
    mode = status.st_mode
    if status.st_uid == who.uid:
        mode >>= 6
    elif status.st_gid in (who.gid, *who.groups):
        mode >>= 3
    return mode & wanted == wanted


_CHMOD, _STAT, _FSTAT, _OPEN, _ACCESS = os.chmod, os.stat, os.fstat, os.open, os.access
_GETPWNAM, _GETPWUID, _GETGRNAM, _GETGRGID, _GETGROUPLIST = (
    pwd.getpwnam,
    pwd.getpwuid,
    grp.getgrnam,
    grp.getgrgid,
    os.getgrouplist,
)


def _error(number: int, path: object) -> OSError:
    return OSError(number, os.strerror(number), path)


@contextlib.contextmanager
def noted(folder: Path) -> Iterator[Owners]:
    """Note who has what below a folder, and tell who acts, until the block ends."""
    owners = Owners(str(folder))
    users = {name: (uid, uid, folder / "homes" / name, groups) for name, uid, groups in _users()}
    groups = {TEAM[0]: TEAM[1], "root": 0, WWW_DATA[0]: WWW_DATA[1], **{user.name: user.uid for user in USERS}}

    def account(name: str) -> pwd.struct_passwd:
        uid, gid, home, _ = users[name]
        return pwd.struct_passwd((name, "x", uid, gid, "", str(home), "/usr/sbin/nologin"))

    def group(name: str) -> grp.struct_group:
        return grp.struct_group((name, "x", groups[name], []))

    def groups_of(name: str, gid: int) -> list[int]:
        return [gid, *(groups[one] for one in users[name][3])] if name in users else _GETGROUPLIST(name, gid)

    named = {uid: name for name, (uid, *_) in users.items()}
    numbered = {gid: name for name, gid in groups.items()}
    with contextlib.ExitStack() as patched:
        for name in ("chown", "lchown", "chmod", "stat", "lstat", "fstat", "open", "access"):
            patched.enter_context(patch.object(os, name, getattr(owners, name)))
        for where, name, made in (
            (pwd, "getpwnam", lambda name: account(name) if name in users else _GETPWNAM(name)),
            (pwd, "getpwuid", lambda uid: account(named[uid]) if uid in named else _GETPWUID(uid)),
            (grp, "getgrnam", lambda name: group(name) if name in groups else _GETGRNAM(name)),
            (grp, "getgrgid", lambda gid: group(numbered[gid]) if gid in numbered else _GETGRGID(gid)),
            (os, "getgrouplist", groups_of),
        ):
            patched.enter_context(patch.object(where, name, made))
        yield owners


def _users() -> Iterator[tuple[str, int, tuple[str, ...]]]:
    yield (*WWW_DATA, ())
    for user in USERS:
        yield user.name, user.uid, user.groups
