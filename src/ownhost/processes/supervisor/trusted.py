"""Opening files as root: only by names whose meaning root alone can change.

A name is root's as long as each folder in its path is: root owns it, and no other user may write to
it. In a folder with the sticky bit, such as /tmp, others may have names beside root's; root's own
are safe there. If the path leads into a folder that others may write to, root goes no further and
looks at nothing in it: that is `NotRoots`. The process that needs the file opens it, as its owner.

Each component is opened once (open(2): O_PATH, O_NOFOLLOW), and all checks use that descriptor.
Links of root's are followed, as certbot makes them. Without root's rights, only links of others are
a danger.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

MAX_LINKS = 40  # followed in one path, as in the kernel
SYSTEM_GROUPS = range(1_000)  # login.defs(5), SYS_GID_MAX: on some systems such a group may write to /var/log
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class NotRoots(OSError):
    """Users other than root decide what a name means."""

    def __init__(self, where: str) -> None:
        super().__init__(errno.EACCES, f"others than root may write to {where}, so root opens nothing there")


@dataclass(frozen=True, slots=True)
class Place:
    """The target of a name: a folder that is root's, and what is in it.

    Both are descriptors for checks and for `reopen`. `found` is -1 if there is nothing yet; `name`
    is "" if the folder itself was named.
    """

    folder: int
    name: str = ""
    found: int = -1

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self.folder)
        if self.found >= 0:
            os.close(self.found)


def open_file(path: Path, owners: Collection[int] = ()) -> int:
    """Open a regular file for reading. Raises OSError; NotRoots; ELOOP for another user's link.

    `owners` are the groups that sites are served with: a folder that one of them may write to is
    not root's.
    """
    place = walk(path, owners)
    try:
        if not place.name:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if place.found < 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        if not stat.S_ISREG(os.fstat(place.found).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return reopen(place.found, os.O_RDONLY)
    finally:
        place.close()


def open_folder(path: Path, owners: Collection[int] = ()) -> int:
    """Open a folder, to list it. Raises OSError; NotRoots; ELOOP for another user's link."""
    place = walk(path, owners)
    try:
        if place.name:
            why = errno.ENOENT if place.found < 0 else errno.ENOTDIR
            raise OSError(why, os.strerror(why), str(path))
        return reopen(place.folder, os.O_RDONLY | os.O_DIRECTORY)
    finally:
        place.close()


def reopen(found: int, flags: int) -> int:
    """Open the very file of a `Place`'s descriptor. Raises OSError."""
    also = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    return os.open(f"/proc/self/fd/{found}", flags & ~os.O_NOFOLLOW | also)  # this name is a link, to that file


def is_roots(path: Path, owners: Collection[int] = ()) -> bool:
    """Whether root alone decides what a name means, and whether that file exists."""
    try:
        walk(path, owners).close()
    except NotRoots:
        return False
    except OSError:
        pass
    return True


def walk(path: Path, owners: Collection[int] = (), *, follows: bool = True) -> Place:
    """Walk along a name's folders. Raises OSError; NotRoots; ELOOP for another user's link.

    `follows`: a link at the end is followed, too.
    """
    way = _Walk(owners)
    try:
        return way.go(path, follows=follows)
    except BaseException:
        os.close(way.here)
        raise


class _Walk:
    """The current folder of a walk: a descriptor, its path, its status."""

    def __init__(self, owners: Collection[int]) -> None:
        self.owners = owners
        self.trusted = {0, os.geteuid()}
        self.links = 0
        self.here, self.where = _open_root(), "/"
        self.status = os.fstat(self.here)

    def go(self, path: Path, *, follows: bool) -> Place:
        """See `walk`."""
        parts = list(reversed(path.parts[1:]))
        self.enter(_open_root(), "/")
        while parts:
            part = parts.pop()
            try:
                found = os.open(part, _LOOK, dir_fd=self.here)
            except FileNotFoundError:
                if parts:
                    raise
                return Place(self.here, part)
            try:
                status = os.fstat(found)
                self.check_sticky(part, status)
                if stat.S_ISLNK(status.st_mode) and (parts or follows):
                    target = self.read_link(part, found, status)
                    parts += reversed(target.parts)
                    os.close(found)
                    if target.is_absolute():
                        parts.pop()
                        self.enter(_open_root(), "/")
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    if parts:
                        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
                    return Place(self.here, part, found)
            except OSError:
                os.close(found)
                raise
            self.enter(found, os.path.normpath(f"{self.where.rstrip('/')}/{part}"))
        return Place(self.here)

    def enter(self, folder: int, where: str) -> None:
        """Go on in a folder. Raises NotRoots."""
        os.close(self.here)
        self.here, self.where, self.status = folder, where, os.fstat(folder)
        if self.may_others_write():
            raise NotRoots(where)

    def may_others_write(self) -> bool:
        """Whether users other than root may change what names in this folder mean, including root's names."""
        mode, gid = self.status.st_mode, self.status.st_gid
        if os.geteuid() != 0:
            return False
        if self.status.st_uid != 0:
            return True
        if mode & stat.S_ISVTX:
            return False  # `check_sticky` checks the owner of each name
        if mode & stat.S_IWOTH:
            return True
        by_group = gid not in SYSTEM_GROUPS or gid in self.owners
        return bool(mode & stat.S_IWGRP) and (by_group or _has_access_list(self.here))

    def check_sticky(self, part: str, status: os.stat_result) -> None:
        """In a folder with the sticky bit, only root's files keep their names. Raises NotRoots for another."""
        others = stat.S_IWGRP | stat.S_IWOTH
        if os.geteuid() != 0 or not self.status.st_mode & stat.S_ISVTX or not self.status.st_mode & others:
            return
        if part != ".." and (status.st_uid != 0 or (status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode))):
            raise NotRoots(self.where)

    def read_link(self, part: str, found: int, status: os.stat_result) -> Path:
        """The target of a link. Raises OSError, ELOOP."""
        self.links += 1
        if status.st_uid not in self.trusted:
            raise OSError(errno.ELOOP, f"{part} in its path is a symbolic link of another user")
        if self.links > MAX_LINKS:
            raise OSError(errno.ELOOP, f"{part} in its path is one of more than {MAX_LINKS} symbolic links")
        return Path(os.readlink("", dir_fd=found))


def _has_access_list(folder: int) -> bool:
    """Whether an access list names others who may write, which the mode does not show (acl(5))."""
    try:
        os.getxattr(f"/proc/self/fd/{folder}", "system.posix_acl_access")
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.EOPNOTSUPP)
    return True


def _open_root() -> int:
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
