"""Assignments to identities: users and groups by name or number, and which of them nobody gets."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Protocol

from ownhost.identity.identity import Assignment, Identity, Refusal

Range = tuple[int, int]
ANY: Range = (0, 2**32 - 2)


@dataclass(frozen=True, slots=True)
class Account:
    """What the user database says of a user."""

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


def look_up(assignment: Assignment, uids: Range, gids: Range, database: Database | None = None) -> Identity | Refusal:
    """The identity that a complete assignment comes to, or why it comes to none.

    Uid 0 and gid 0 are refused whatever the ranges say: a range that reaches down to 0 is a mistake more often
    than a wish, and no promise of this server holds for a site that runs as root.
    """
    database = database or System()
    user, group = assignment.user, assignment.group
    assert user is not None
    assert group is not None
    account = _account(user, database)
    if isinstance(account, Refusal):
        return account
    gid = _gid(group, database)
    if isinstance(gid, Refusal):
        return gid
    if not _allowed(account.uid, uids):
        return _out_of_range("uid", account.uid, user, uids)
    if not _allowed(gid, gids):
        return _out_of_range("gid", gid, group, gids)
    member = database.groups(account.name, gid) if not account.name.startswith("#") else []
    groups = tuple(sorted({group for group in member if group != gid and _allowed(group, gids)}))
    return Identity(account.uid, gid, groups, account.name, assignment.nice)


def is_assigned(identity: Identity, assignment: Assignment, database: Database | None = None) -> bool:
    """Whether a complete assignment, if it is in range, comes to this identity: what a worker can tell by itself."""
    found = look_up(assignment, ANY, ANY, database)
    return isinstance(found, Identity) and (found.uid, found.gid, found.nice) == (
        identity.uid,
        identity.gid,
        identity.nice,
    )


def _account(user: str, database: Database) -> Account | Refusal:
    if not user.startswith("#"):
        return database.user(user) or Refusal(f"there is no user named {user!r}")
    uid = int(user[1:])
    return database.user_of(uid) or Account(user, uid, -1)


def _gid(group: str, database: Database) -> int | Refusal:
    if group.startswith("#"):
        return int(group[1:])
    gid = database.group(group)
    return Refusal(f"there is no group named {group!r}") if gid is None else gid


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
