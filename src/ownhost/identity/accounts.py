"""From assignments to identities: users and groups by name or number, and those that are refused."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Protocol

from ownhost.identity.identity import Assignment, Identity, Refusal

Range = tuple[int, int]
ANY: Range = (0, 2**32 - 2)
NOBODY = -1  # no uid, and no gid


@dataclass(frozen=True, slots=True)
class Account:
    """The user database's entry for a user."""

    name: str
    uid: int
    gid: int


class Database(Protocol):
    """The user and group databases: the machine's own, or a test's."""

    def user(self, name: str) -> Account | None:
        """The account of this name."""

    def user_of(self, uid: int) -> Account | None:
        """The account with this uid."""

    def group(self, name: str) -> int | None:
        """The gid of this group."""

    def groups(self, name: str, gid: int) -> list[int]:
        """All groups of a user, the primary one included (getgrouplist(3))."""


class System:
    """The machine's databases (nsswitch.conf(5)): pwd and grp."""

    def user(self, name: str) -> Account | None:
        """getpwnam(3)."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def user_of(self, uid: int) -> Account | None:
        """getpwuid(3)."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return None
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def group(self, name: str) -> int | None:
        """getgrnam(3)."""
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None

    def groups(self, name: str, gid: int) -> list[int]:
        """getgrouplist(3)."""
        return os.getgrouplist(name, gid)


@dataclass(frozen=True, slots=True)
class Found:
    """The databases' answer for a user and a group. `uid` and `gid` are NOBODY if they know none of that name."""

    name: str  # the account's, else the name that was looked up
    uid: int
    gid: int
    groups: tuple[int, ...] = ()  # all of the user's, if both are known


def find(user: str, group: str, database: Database | None = None) -> Found:
    """Ask the databases for a user and a group, each a name or "#number".

    That may block for long: they may be far away.
    """
    database = database or System()
    gid = int(group[1:]) if group.startswith("#") else database.group(group)
    if user.startswith("#"):
        uid = int(user[1:])
        account = database.user_of(uid) or Account(user, uid, NOBODY)
    else:
        account = database.user(user) or Account(user, NOBODY, NOBODY)
    if gid is None or account.uid == NOBODY or account.name.startswith("#"):
        return Found(account.name, account.uid, NOBODY if gid is None else gid)
    return Found(account.name, account.uid, gid, tuple(database.groups(account.name, gid)))


def judge(assignment: Assignment, found: Found, uids: Range, gids: Range) -> Identity | Refusal:
    """The identity of a complete assignment, or the reason why it has none. Pure.

    Uid 0 and gid 0 are refused whatever the ranges say: a range down to 0 is more often a mistake
    than intended, and a site that runs as root could break every promise of this server.
    """
    user, group = assignment.user, assignment.group
    assert user is not None
    assert group is not None
    if found.uid == NOBODY:
        return Refusal(f"there is no user named {user!r}")
    if found.gid == NOBODY:
        return Refusal(f"there is no group named {group!r}")
    if not _allowed(found.uid, uids):
        return _out_of_range("uid", found.uid, user, uids)
    if not _allowed(found.gid, gids):
        return _out_of_range("gid", found.gid, group, gids)
    groups = tuple(sorted({one for one in found.groups if one != found.gid and _allowed(one, gids)}))
    return Identity(found.uid, found.gid, groups, found.name, assignment.nice)


def look_up(assignment: Assignment, uids: Range, gids: Range, database: Database | None = None) -> Identity | Refusal:
    """The same, asking the databases: for processes that may block."""
    assert assignment.user is not None
    assert assignment.group is not None
    return judge(assignment, find(assignment.user, assignment.group, database), uids, gids)


def is_assigned(identity: Identity, assignment: Assignment, database: Database | None = None) -> bool:
    """Whether a complete assignment, if it is in range, means this identity: what a worker can decide by itself."""
    found = look_up(assignment, ANY, ANY, database)
    return isinstance(found, Identity) and (found.uid, found.gid, found.nice) == (
        identity.uid,
        identity.gid,
        identity.nice,
    )


def _allowed(number: int, bounds: Range) -> bool:
    return number != 0 and bounds[0] <= number <= bounds[1] and number < 2**32 - 1


def _out_of_range(kind: str, number: int, word: str, bounds: Range) -> Refusal:
    directive = f"Limit{kind.upper()}Range"
    words = f"set{kind}({number}): Operation not permitted. This is most likely due to the current {directive} setting."
    return Refusal(_why(kind, number, word, directive, bounds), words)


def _why(kind: str, number: int, word: str, directive: str, bounds: Range) -> str:
    who = f"{kind} {number}" if word.startswith("#") else f"{word} ({kind} {number})"
    if number == 0:
        return f"{who} is root's, which nobody is served as ({directive} {bounds[0]} {bounds[1]} does not change that)"
    return f"{who} is outside {directive} {bounds[0]} {bounds[1]}"
