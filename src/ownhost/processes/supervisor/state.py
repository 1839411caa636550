"""The server's state folder.

In it, each owner has a folder for sockets and the like of the owner's programs while they run.

It is below DefaultRuntimeDir, named for the configuration file. So a server finds what an earlier
one left when it was killed. It is root's. An owner's folder in it is the owner's, and no other user
may enter it. While the server runs, it is locked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import struct
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from ownhost.config.directive import Problem
from ownhost.config.model import Config
from ownhost.identity.identity import Identity
from ownhost.modules.core_server import RUNTIME_FOLDER
from ownhost.processes.supervisor import trusted
from ownhost.processes.supervisor.startup import StartError, own_identity

LONGEST = 70  # characters: a socket's name may have 107, and is three folders below
PATIENCE = 10.0  # seconds for another server to release the folder
LOOK_AGAIN = 0.05  # seconds
MOST_OTHERS = 256  # folders of other servers that are checked
_SERVER = re.compile(r"[A-Za-z0-9]*-[0-9a-f]{8}")
_NAME = re.compile(r"([1-9][0-9]*)-([1-9][0-9]*)")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# An access list (acl(5), linux/posix_acl_xattr.h) that lets one user do everything.
_ACL = "system.posix_acl_access"
_ENTRY = struct.Struct("<HHI")
_NOBODY = 0xFFFFFFFF


class State:
    """The folder, open and locked. `base` is the folder around it."""

    def __init__(self, base: int, path: Path, folder: int) -> None:
        self.base = base
        self.path = path
        self.folder = folder

    @classmethod
    def open(cls, config: Config, owners: Collection[int]) -> State:
        """Make it, or take over an existing one. Raises StartError."""
        base_path = Path(config.main.settings[RUNTIME_FOLDER] or _default())
        path = base_path / _name(config)
        if len(str(path)) > LONGEST:
            what = f"DefaultRuntimeDir {base_path} is too long a name for the sockets in it"
            raise _problem(config, f"{what}: name a shorter one")
        try:
            base = _make(base_path, owners)
            folder = _make_and_lock(path, owners)
        except BlockingIOError:
            raise _problem(config, f"a server with this configuration runs already: it has {path}") from None
        except OSError as error:
            raise _problem(config, f"cannot make the folder {path}: {error.strerror}; see DefaultRuntimeDir") from error
        return cls(base, path, folder)

    def dead(self) -> Iterator[State]:
        """The folders of killed servers: no process had them locked, and now this one has."""
        for name in sorted(_names(self.base))[:MOST_OTHERS]:
            if name == self.path.name or not _SERVER.fullmatch(name):
                continue
            with contextlib.suppress(OSError):
                folder = os.open(name, _FOLDER, dir_fd=self.base)
                if os.fstat(folder).st_uid == os.geteuid() and _lock(folder):
                    yield State(os.dup(self.base), self.path.parent / name, folder)
                else:
                    os.close(folder)

    def left(self) -> Iterator[Identity]:
        """The owners whose folders are here and not empty."""
        for name in _names(self.folder):
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            try:
                os.rmdir(name, dir_fd=self.folder)
            except OSError:
                as_root = os.geteuid() == 0
                yield Identity(int(match[1]), int(match[2]), (), f"#{match[1]}") if as_root else own_identity()

    def of(self, identity: Identity) -> str:
        """An owner's folder, made if it does not exist; "" if that fails: then the owner's programs
        use the system's /tmp.
        """
        name = f"{identity.uid}-{identity.gid}"
        with contextlib.suppress(OSError):
            try:
                os.mkdir(name, 0o700, dir_fd=self.folder)
            except FileExistsError:
                pass
            else:
                self._give(name, identity)
            status = os.stat(name, dir_fd=self.folder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                return f"{self.path}/{name}"
        return ""

    def _give(self, name: str, identity: Identity) -> None:
        """Give a new folder to its owner: by an access list if this process has given up changing owners."""
        try:
            os.chown(name, identity.uid, identity.gid, dir_fd=self.folder, follow_symlinks=False)
        except PermissionError:
            entries = ((0x01, 7, _NOBODY), (0x02, 7, identity.uid), (0x04, 0, _NOBODY), (0x10, 7, _NOBODY))
            listed = struct.pack("<I", 2) + b"".join(_ENTRY.pack(*one) for one in (*entries, (0x20, 0, _NOBODY)))
            try:
                os.setxattr(f"/proc/self/fd/{self.folder}/{name}", _ACL, listed)
            except OSError:
                os.rmdir(name, dir_fd=self.folder)
                raise

    def close(self) -> None:
        """Remove empty folders: all of them, unless a process was killed."""
        for name in _names(self.folder):
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=self.folder)
        with contextlib.suppress(OSError):
            os.rmdir(self.path.name, dir_fd=self.base)
        os.close(self.folder)
        os.close(self.base)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _name(config: Config) -> str:
    """The name for a configuration file: the same at each start."""
    file = Path(config.files[0]).resolve()
    stem = re.sub(r"[^A-Za-z0-9]", "", file.stem)[:16]
    return f"{stem}-{hashlib.blake2b(os.fsencode(file), digest_size=4).hexdigest()}"


def _make_and_lock(path: Path, owners: Collection[int]) -> int:
    """Make a folder, and lock it. Raises OSError; BlockingIOError if another server keeps it locked.

    A server that is about to end, or that removes what is left there, gets a few seconds.
    """
    end = time.monotonic() + PATIENCE
    while True:
        folder = _make(path, owners)
        locked = _lock(folder)
        with contextlib.suppress(FileNotFoundError):
            if locked and os.path.samestat(path.lstat(), os.fstat(folder)):
                return folder
        os.close(folder)  # another user's, or removed meanwhile
        if time.monotonic() >= end:
            raise BlockingIOError
        time.sleep(LOOK_AGAIN)


def _lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _default() -> str:
    if os.geteuid() == 0:
        return "/run/ownhost"
    return f"{os.environ.get('XDG_RUNTIME_DIR') or tempfile.gettempdir()}/ownhost-{os.geteuid()}"


def _make(path: Path, owners: Collection[int]) -> int:
    """Make a folder, and open it. Raises OSError."""
    place = trusted.walk(path, owners)
    try:
        if not place.name:
            if os.fstat(place.folder).st_uid not in (0, os.geteuid()):
                raise PermissionError(errno.EACCES, "it is another user's")
            return trusted.reopen(place.folder, _FOLDER)
        os.mkdir(place.name, 0o755, dir_fd=place.folder)
        folder = os.open(place.name, _FOLDER, dir_fd=place.folder)
        os.fchmod(folder, 0o755)  # whatever the umask
        return folder
    finally:
        place.close()


def _problem(config: Config, message: str) -> StartError:
    source = config.main.origins.get(RUNTIME_FOLDER.name, config.main.source)
    return StartError([Problem(source, message)], message)
