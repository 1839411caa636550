"""Noted owners: what is told of files is what the kernel says where they are real."""

from __future__ import annotations

import ast
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from oracle.owners import ACTING, noted
from ownhost.identity.identity import Identity

ALICE, BOB, TEAM = 50001, 50002, 50020
WHO = [Identity(ALICE, ALICE, (), "alice"), Identity(BOB, BOB, (TEAM,), "bob"), Identity(33, 33, (0,), "www-data")]
MODES = {"shut": 0o700, "shut/x": 0o644, "team": 0o750, "team/x": 0o640, "open": 0o755, "open/x": 0o604, "open/y": 0o40}
LINKS = {"in": "open/x", "out": "shut/x", "folder": "open", "round": "round", "up": "open/../team/x", "gone": "no/x"}
NAMES = [*MODES, *LINKS, "", "folder/x", "folder/", "open/x/", "open/x/y", "open/./x", "shut/../open/x", "in/", "gone/"]


def make(folder: Path) -> None:
    """A few files of alice's; some of the group's."""
    os.chmod(folder, 0o755)
    for name in MODES:
        path = folder / name
        if "/" in name:
            path.write_text("x")
        else:
            path.mkdir()
        os.chown(path, ALICE, TEAM if "team" in name else ALICE)
    for name, mode in MODES.items():
        os.chmod(folder / name, mode)
    for name, target in LINKS.items():
        (folder / name).symlink_to(target)
        os.lchown(folder / name, BOB, BOB)


def told(folder: Path) -> list[object]:
    """What whoever acts is told of each file."""
    return [_told(f"{folder}/{name}" if name else "") for name in NAMES]


def _told(path: str) -> object:
    try:
        link = os.lstat(path)
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        return error.errno, os.fspath(error.filename)
    found = os.stat(path)
    assert os.fstat(descriptor) == found
    os.close(descriptor)
    return [(one.st_uid, one.st_gid, oct(one.st_mode), one.st_size) for one in (link, found)]


def told_of_noted(folder: Path, who: Identity) -> list[object]:
    """The same, where owners are noted only."""
    token = ACTING.set(who)
    try:
        return told(folder)
    finally:
        ACTING.reset(token)


def told_by_kernel(folder: Path, who: Identity) -> list[object]:
    """The same, from the kernel: in a process that has become who acts."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups(who.groups)
            os.setresgid(who.gid, who.gid, who.gid)
            os.setresuid(who.uid, who.uid, who.uid)
            os.write(writing, repr(told(folder)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as said:
        found = said.read()
    os.waitpid(child, 0)
    return list(ast.literal_eval(found))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, as /tmp is."""
    with tempfile.TemporaryDirectory(prefix="ownhost-owners-", dir="/tmp") as name:
        yield Path(name)


@pytest.mark.parametrize("who", WHO, ids=lambda who: who.name)
def test_who_has_no_right_is_refused(folder: Path, who: Identity) -> None:
    with noted(folder):
        make(folder)
        seen = dict(zip(NAMES, told_of_noted(folder, who), strict=True))
    refused = {name for name in NAMES if isinstance(found := seen[name], tuple) and found[0] == errno.EACCES}
    assert (
        refused
        == {
            "alice": {"open/y"},
            "bob": {"shut", "shut/x", "out", "shut/../open/x", "open/y"},
            "www-data": {"shut", "shut/x", "team", "team/x", "out", "up", "shut/../open/x", "open/y"},
        }[who.name]
    )


@pytest.mark.slow
@pytest.mark.parametrize("who", WHO, ids=lambda who: who.name)
def test_the_kernel_says_the_same(folder: Path, who: Identity) -> None:
    (folder / "real").mkdir()
    (folder / "noted").mkdir()
    os.chmod(folder, 0o755)
    make(folder / "real")
    with noted(folder / "noted"):
        make(folder / "noted")
        ours = told_of_noted(folder / "noted", who)
    theirs = told_by_kernel(folder / "real", who)
    assert theirs == [_renamed(one, folder) for one in ours]


def _renamed(found: object, folder: Path) -> object:
    match found:
        case (number, str(name)):
            return number, name.replace(f"{folder}/noted", f"{folder}/real")
    return found
