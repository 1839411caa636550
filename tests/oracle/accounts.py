"""Accounts that the cases name: made before them, removed after them."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class User:
    """An account. Its own group has its name and number."""

    name: str
    uid: int
    groups: tuple[str, ...] = ()  # supplementary


TEAM = ("ohteam", 50020)
USERS = (
    User("ohsesse", 50011, ("ohteam",)),
    User("ohkari", 50012),
    User("ohwheel", 50013, ("root", "ohteam")),  # group 0, as one who may use sudo can have it
)


@contextlib.contextmanager
def accounts(homes: Path) -> Iterator[None]:
    """All users and groups, with homes in a folder (which is left to the caller), until the block ends."""
    with alone():
        remove()  # what an interrupted run left
        try:
            add(homes)
            yield
        finally:
            remove()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other run on this machine, of another checkout, has accounts."""
    with open("/run/ownhost-oracle.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def add(homes: Path) -> None:
    """Make all users and groups."""
    for name, gid in [TEAM, *((user.name, user.uid) for user in USERS)]:
        run("groupadd", "-g", str(gid), name)
    for user in USERS:
        supplementary = ["-G", ",".join(user.groups)] if user.groups else []
        home = ["--no-create-home", "-d", str(homes / user.name), "-s", "/usr/sbin/nologin"]
        run("useradd", "-u", str(user.uid), "-g", user.name, *supplementary, *home, user.name)


def remove() -> None:
    """Remove those accounts that are there."""
    for user in USERS:
        run("userdel", user.name, missing=6)
    for name in [TEAM[0], *(user.name for user in USERS)]:
        run("groupdel", name, missing=6)


def run(*command: str, missing: int = 0) -> None:
    """Run a command; `missing` is a status that is as good as 0."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode in (0, missing), f"{' '.join(command)}: {done.stderr}"
