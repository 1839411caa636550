"""The server's state folder: whose each folder in it is, who may have it, and what a server that was killed leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import ALICE, BOB, World
from ownhost import modules
from ownhost.config.model import Config
from ownhost.config.reader import read
from ownhost.identity import become
from ownhost.identity.identity import Identity
from ownhost.processes.supervisor import state as state_file
from ownhost.processes.supervisor.startup import StartError
from ownhost.processes.supervisor.state import State
from ownhost.processes.sweeper import sweep

HER = Identity(ALICE, ALICE, (), "alice")


def config(folder: Path, name: str = "site", run: str = "run") -> Config:
    modules.load()
    file = folder / f"{name}.conf"
    file.write_text(f"Listen 127.0.0.1:80\nUser www-data\nGroup www-data\nDefaultRuntimeDir {folder}/{run}\n")
    return read(str(file))


def in_a_child(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def enters_as(uid: int, folder: str) -> bool:
    """Whether somebody may make files in a folder."""

    def work() -> None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        Path(folder, f"by-{uid}").mkdir()

    try:
        in_a_child(work)
    except AssertionError:
        return False
    return True


@pytest.fixture
def folder(world: World) -> Path:
    """A folder that everybody may pass."""
    return world.folder


def test_a_folder_is_its_owners_and_nobody_elses(folder: Path) -> None:
    state = State.open(config(folder), ())
    hers = state.of(HER)
    assert hers == str(state.path / f"{ALICE}-{ALICE}") == state.of(HER)
    status = Path(hers).stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (ALICE, ALICE, 0o700)
    assert [enters_as(uid, hers) for uid in (ALICE, BOB)] == [True, False]
    assert not enters_as(ALICE, str(state.path))
    assert (state.path.stat().st_uid, state.path.stat().st_mode & 0o7777) == (0, 0o755)
    state.close()


def test_without_the_right_to_change_owners_an_access_list_says_the_same(folder: Path) -> None:
    """As for identities that expressions name, when the supervisor has given up its rights."""
    state = State.open(config(folder), ())

    def work() -> None:
        become.limit_supervisor()
        assert state.of(HER)

    in_a_child(work)
    hers = state.of(HER)
    assert [enters_as(uid, hers) for uid in (ALICE, BOB)] == [True, False]
    state.close()


def test_nothing_is_left_of_a_server_that_ends(folder: Path) -> None:
    state = State.open(config(folder), ())
    state.of(HER)
    state.close()
    assert not list((folder / "run").iterdir())


def test_a_second_server_of_one_configuration_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "PATIENCE", 0.1)
    state = State.open(config(folder), ())
    with pytest.raises(StartError, match="a server with this configuration runs already"):
        State.open(config(folder), ())
    other = State.open(config(folder, "another"), ())
    other.close()
    state.close()


def test_what_a_killed_server_left_is_found_by_the_next_whichever_it_is(folder: Path) -> None:
    killed = State.open(config(folder), ())
    (Path(killed.of(HER)) / "app").mkdir()
    (Path(killed.of(HER)) / "app/socket").touch()
    killed.of(Identity(BOB, BOB, (), "bob"))
    running = State.open(config(folder, "running"), ())
    (Path(running.of(HER)) / "x").touch()
    os.close(killed.folder)  # as its end does

    state = State.open(config(folder, "another"), ())
    (dead,) = state.dead()
    assert dead.path == killed.path
    (who,) = dead.left()
    assert (who.uid, who.gid) == (ALICE, ALICE)
    sweep(str(dead.path / f"{who.uid}-{who.gid}"))
    dead.close()
    assert not killed.path.exists()
    assert running.path.exists()
    state.close()
    running.close()


def test_links_are_removed_and_not_followed(folder: Path) -> None:
    (folder / "kept").mkdir()
    (folder / "kept/file").touch()
    (folder / "swept").mkdir()
    (folder / "swept/link").symlink_to(folder / "kept")
    sweep(str(folder / "swept"))
    assert not list((folder / "swept").iterdir())
    assert (folder / "kept/file").exists()


def test_others_have_no_hand_in_it(folder: Path) -> None:
    (folder / "run").mkdir()
    os.chown(folder / "run", ALICE, ALICE)
    with pytest.raises(StartError, match=r"others than root may write to .*/run"):
        State.open(config(folder), ())


def test_a_name_that_is_too_long_for_sockets(folder: Path) -> None:
    with pytest.raises(StartError, match="too long a name for the sockets in it"):
        State.open(config(folder, run="x" * 60), ())
