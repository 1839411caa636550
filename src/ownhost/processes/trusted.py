"""Opening files as root by names that owners may have a hand in.

Whoever may write to a folder must not choose which of root's files we open. So on the way to a file only links of root
are followed, component by component, and nothing is opened that is not a regular file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_LINKS = 40  # followed on the way to one file, as in the kernel


def open_folder(folder: Path) -> int:
    """Walk to a folder. Raises OSError; ELOOP for somebody's link."""
    found, rest = _walk(folder)
    if rest:
        os.close(found)
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    return found


def open_file(path: Path) -> int:
    """Walk to a regular file, and open it for reading. Raises OSError; ELOOP for somebody's link."""
    folder, name = _walk(path)
    try:
        if not name:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EINVAL, "it is no regular file")
    return found


def _walk(path: Path) -> tuple[int, str]:
    """As far as folders go: the last of them, and the name of a file in it ("" where the path is a folder's)."""
    trusted = {0, os.geteuid()}
    found = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    parts = list(reversed(path.parts[1:]))
    links = 0
    try:
        while parts:
            part = parts.pop()
            status = os.stat(part, dir_fd=found, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if status.st_uid not in trusted:
                    raise OSError(errno.ELOOP, f"{part} on the way to it is a symbolic link of another user")
                if links > MAX_LINKS:
                    raise OSError(
                        errno.ELOOP, f"{part} on the way to it is one of more than {MAX_LINKS} symbolic links"
                    )
                leads_to = Path(os.readlink(part, dir_fd=found))
                parts += reversed(leads_to.parts)
                continue
            if not parts and not stat.S_ISDIR(status.st_mode):
                return found, part
            found, before = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=found), found
            os.close(before)
    except BaseException:
        os.close(found)
        raise
    return found, ""
