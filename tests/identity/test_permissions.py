"""Whom the kernel stops where, worked out from modes: compared with the kernel itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from harness import ALICE, BOB, CAROL, World
from ownhost.identity import permissions
from ownhost.identity.identity import Identity
from ownhost.identity.permissions import Need, Obstacle, Unseen, find_obstacle

_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


def someone(uid: int, *groups: int) -> Identity:
    return Identity(uid, uid, groups, f"#{uid}")


def may_read(path: Path, identity: Identity) -> bool:
    """What the kernel says."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups(identity.groups)
            os.setresgid(identity.gid, identity.gid, identity.gid)
            os.setresuid(identity.uid, identity.uid, identity.uid)
            os.close(os.open(path, os.O_RDONLY))
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("folder", [0o700, 0o070, 0o007, 0o711, 0o744, 0o755, 0o000])
@pytest.mark.parametrize("file", [0o600, 0o040, 0o004, 0o644, 0o000])
def test_modes_are_read_as_the_kernel_reads_them(world: World, folder: int, file: int) -> None:
    root = world.folder / "f"
    root.mkdir()
    path = root / "x"
    path.write_text("x\n")
    for one in (root, path):
        os.chown(one, ALICE, BOB)
    path.chmod(file)
    root.chmod(folder)
    for identity in (someone(ALICE), someone(BOB), someone(CAROL), someone(CAROL, BOB)):
        assert (find_obstacle(str(path), identity) is None) == may_read(path, identity), identity


def test_the_obstacle_has_a_name_and_a_fix(world: World) -> None:
    root = world.site("alice", ALICE, {"a b.html": "x\n"})
    found = find_obstacle(f"{root}/a b.html", someone(BOB))
    assert isinstance(found, Obstacle)
    assert (found.path, found.verb) == (str(root), "enter")
    assert found.shown == f"{root} is 0700 #50001:#50001"
    assert found.command(someone(BOB)) == f"chmod o+x {root}"
    assert found.command(someone(BOB, ALICE)) == f"chmod g+x {root}"
    root.chmod(0o755)
    found = find_obstacle(f"{root}/a b.html", someone(BOB))
    assert isinstance(found, Obstacle)
    assert found.command(someone(BOB)) == f"chmod o+r '{root}/a b.html'"
    assert find_obstacle(f"{root}/none/x", someone(BOB)) is None, "what is not there stops nobody"


@pytest.mark.parametrize("target", ["{0}/bob/index.html", "../bob/index.html", "../alice/../bob/index.html"])
def test_links_are_followed(world: World, target: str) -> None:
    root = world.site("alice", ALICE)
    other = world.site("bob", BOB)
    (root / "link").symlink_to(target.format(world.folder))
    found = find_obstacle(f"{root}/link", someone(ALICE))
    assert isinstance(found, Obstacle)
    assert found.path == str(other)
    (root / "round").symlink_to("round")
    assert find_obstacle(f"{root}/round", someone(ALICE)) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entries", "passes"),
    [
        ([(_OBJ, 0, 0), (_GROUP_OBJ, 0, 0), (_OTHER, 4, 0)], True),
        ([(_OBJ, 7, 0), (_GROUP_OBJ, 7, 0), (_OTHER, 0, 0)], False),
        ([(_OBJ, 7, 0), (_USER, 4, CAROL), (_GROUP_OBJ, 0, 0), (_MASK, 4, 0), (_OTHER, 0, 0)], True),
        ([(_OBJ, 7, 0), (_USER, 4, CAROL), (_GROUP_OBJ, 0, 0), (_MASK, 1, 0), (_OTHER, 0, 0)], False),
        ([(_OBJ, 7, 0), (_USER, 0, CAROL), (_GROUP_OBJ, 7, 0), (_MASK, 7, 0), (_OTHER, 7, 0)], False),
        ([(_OBJ, 7, 0), (_GROUP_OBJ, 0, 0), (_GROUP, 4, CAROL), (_MASK, 4, 0), (_OTHER, 0, 0)], True),
        ([(_OBJ, 7, 0), (_GROUP_OBJ, 7, 0), (_GROUP, 0, CAROL), (_MASK, 7, 0), (_OTHER, 7, 0)], False),
    ],
)
def test_access_lists_count(
    entries: list[tuple[int, int, int]], passes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_text("x\n")
    os.chown(path, ALICE, BOB)
    monkeypatch.setattr(permissions, "_access_list", lambda name: entries if name == str(path) else None)
    for folder in path.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    found = find_obstacle(str(path), someone(CAROL))
    assert (found is None) == passes
    if isinstance(found, Obstacle):
        assert found.command(someone(CAROL)) == f"setfacl -m u:{CAROL}:r {path}"
        assert found.shown.endswith("with an access list (getfacl)")


def test_what_nobody_can_look_into_is_said(world: World) -> None:
    root = world.site("alice", ALICE, {"d/x.html": "x\n"})
    pid = os.fork()
    if pid == 0:
        os.setresuid(BOB, BOB, BOB)
        found = find_obstacle(f"{root}/d/x.html", someone(ALICE), Need.READ)
        os._exit(0 if isinstance(found, Unseen) and found.path == str(root) else 1)
    assert os.waitpid(pid, 0)[1] == 0
