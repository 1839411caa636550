"""Which folder or file the kernel would stop a user at: by modes and access lists of each folder and of the file.

This is computed from stat(2), for an identity that this process need not have. Symbolic links are
followed, as the kernel does.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
import struct
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

from ownhost.identity.identity import Identity

MAX_LINKS = 40  # as the kernel has it
_ACL = "system.posix_acl_access"
_ENTRY = struct.Struct("<HHI")  # tag, permissions, id (linux/posix_acl_xattr.h)
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


class Need(IntFlag):
    """An intended access, in the bits of a mode."""

    RUN = 1
    WRITE = 2
    READ = 4
    RUN_SCRIPT = 5  # which its interpreter reads


_VERBS = {Need.RUN: "run", Need.RUN_SCRIPT: "run", Need.WRITE: "write to", Need.READ: "read"}
_ENTER = Need.RUN  # what the bit means for a folder


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A folder or file that stops a user."""

    path: str
    status: os.stat_result
    need: Need
    listed: bool  # whether it has an access list (acl(5)) beside its mode

    @property
    def shown(self) -> str:
        """Path, mode and owner: /home/alice is 0700 alice:alice."""
        return describe(self.path, self.status) + (", with an access list (getfacl)" if self.listed else "")

    @property
    def owner(self) -> str:
        """The owner's name."""
        return user_name(self.status.st_uid)

    @property
    def group(self) -> str:
        """The group's name."""
        return group_name(self.status.st_gid)

    @property
    def verb(self) -> str:
        """The access that is refused: enter, read..."""
        return "enter" if stat.S_ISDIR(self.status.st_mode) else _VERBS[self.need]

    def command(self, identity: Identity) -> str:
        """The smallest command that lets an identity pass."""
        path = shlex.quote(self.path)
        letters = "".join(letter for bit, letter in ((4, "r"), (2, "w"), (1, "x")) if self.need & bit)
        if self.listed:
            return f"setfacl -m u:{identity.uid}:{letters} {path}"
        if identity.uid == self.status.st_uid:
            who = "u"
        else:
            who = "g" if self.status.st_gid in (identity.gid, *identity.groups) else "o"
        return f"chmod {who}+{letters} {path}"


@dataclass(frozen=True, slots=True)
class Unseen:
    """A folder that this process cannot look into, so it does not know what would stop the user behind it."""

    path: str
    status: os.stat_result

    @property
    def shown(self) -> str:
        """Path, mode and owner."""
        return describe(self.path, self.status)


def find_obstacle(path: str, identity: Identity, need: Need = Need.READ) -> Obstacle | Unseen | None:
    """What stops an identity in a file's path, or at the file; None if nothing does, or the file does not exist."""
    here, links = "/", 0
    pending = _parts(path)
    while pending:
        stopped = _stopped(here, identity, _ENTER)
        if stopped is not None:
            return stopped
        name = pending.pop()
        if name == "..":
            here = here.rpartition("/")[0] or "/"
            continue
        place = f"{here.rstrip('/')}/{name}"
        try:
            status = os.lstat(place)
            target = str(Path(place).readlink()) if stat.S_ISLNK(status.st_mode) else ""
        except PermissionError:
            return Unseen(here, os.lstat(here))
        except OSError:
            return None
        if not target:
            here = place
            continue
        links += 1
        if links > MAX_LINKS:
            return None
        here = "/" if target.startswith("/") else here
        pending += _parts(target)
    return _stopped(here, identity, need)


def _parts(path: str) -> list[str]:
    """The components of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _stopped(path: str, identity: Identity, need: Need) -> Obstacle | None:
    status = os.lstat(path)
    if stat.S_ISDIR(status.st_mode):
        need = _ENTER
    entries = _access_list(path)
    passes = _permits(status, identity, need) if entries is None else _list_permits(entries, status, identity, need)
    return None if passes else Obstacle(path, status, need, entries is not None)


def _permits(status: os.stat_result, identity: Identity, need: Need) -> bool:
    """The first matching class counts: owner, group, all others."""
    shift = 3 if status.st_gid in (identity.gid, *identity.groups) else 0
    if identity.uid == status.st_uid:
        shift = 6
    return (status.st_mode >> shift) & need == need


def _access_list(path: str) -> list[tuple[int, int, int]] | None:
    """The entries of a file's access list; None if its mode says all."""
    try:
        data = os.getxattr(path, _ACL, follow_symlinks=False)
    except OSError:
        return None
    return [_ENTRY.unpack_from(data, place) for place in range(4, len(data) - _ENTRY.size + 1, _ENTRY.size)]


def _list_permits(entries: list[tuple[int, int, int]], status: os.stat_result, identity: Identity, need: Need) -> bool:
    """As acl(5) has it: the owner, a named user, any of the groups, all others; the mask limits those in between."""
    mask = next((bits for tag, bits, _ in entries if tag == _MASK), 7)
    if identity.uid == status.st_uid:
        return any(bits & need == need for tag, bits, _ in entries if tag == _USER_OBJ)
    for tag, bits, id_ in entries:
        if tag == _USER and id_ == identity.uid:
            return bits & mask & need == need
    groups = (identity.gid, *identity.groups)
    own = [
        bits
        for tag, bits, id_ in entries
        if (tag == _GROUP_OBJ and status.st_gid in groups) or (tag == _GROUP and id_ in groups)
    ]
    if own:
        return any(bits & mask & need == need for bits in own)
    return any(bits & need == need for tag, bits, _ in entries if tag == _OTHER)


def describe(path: str, status: os.stat_result) -> str:
    """Path, mode and owner: /home/alice is 0700 alice:alice."""
    mode = stat.S_IMODE(status.st_mode)
    return f"{path} is {mode:04o} {user_name(status.st_uid)}:{group_name(status.st_gid)}"


def user_name(uid: int) -> str:
    """A user's name; "#uid" if there is no account."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def group_name(gid: int) -> str:
    """A group's name; "#gid" if there is none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"#{gid}"
