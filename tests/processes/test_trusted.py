"""Which names root takes: those whose meaning nobody else can change."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import ALICE
from ownhost.processes.supervisor import trusted
from ownhost.processes.supervisor.trusted import NotRoots

pytestmark = pytest.mark.slow  # root's files
SYSLOG = 110  # a group of the system's own


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of root's with a file in it."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here/file").write_text("root's\n")
    return tmp_path / "here"


def read(path: Path, *groups: int) -> bytes:
    descriptor = trusted.open_file(path, groups)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def given_away(folder: Path) -> None:
    os.chown(folder, ALICE, ALICE)


def for_all(folder: Path) -> None:
    folder.chmod(0o777)


def for_a_group(folder: Path) -> None:
    os.chown(folder, 0, ALICE)
    folder.chmod(0o775)


def by_access_list(folder: Path) -> None:
    """setfacl -m u:ALICE:rwx: owner, the named user, group, mask, others."""
    nobody = 0xFFFFFFFF
    entries = ((0x01, 7, nobody), (0x02, 7, ALICE), (0x04, 5, nobody), (0x10, 7, nobody), (0x20, 5, nobody))
    data = (2).to_bytes(4, "little")
    for tag, bits, who in entries:
        data += tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + who.to_bytes(4, "little")
    try:
        os.setxattr(folder, "system.posix_acl_access", data)
    except OSError as error:
        pytest.skip(f"no access lists here: {error.strerror}")


@pytest.mark.parametrize("spoil", [given_away, for_all, for_a_group, by_access_list])
def test_a_folder_that_others_may_write_to_ends_the_way(folder: Path, spoil: Callable[[Path], None]) -> None:
    assert read(folder / "file") == b"root's\n"
    spoil(folder)
    for path in (folder / "file", folder / "none", folder / "../here/file", folder):
        with pytest.raises(NotRoots, match=f"others than root may write to {folder}"):
            trusted.walk(path)
        assert not trusted.is_roots(path)


def test_nothing_behind_such_a_folder_is_even_looked_for(folder: Path) -> None:
    """What is not there and what is look the same."""
    (folder / "deeper").mkdir()
    given_away(folder)
    for path in (folder / "deeper/x", folder / "none/x", folder / "file/x"):
        with pytest.raises(NotRoots):
            trusted.walk(path)


def test_a_group_of_the_systems_own_may_write_unless_somebody_is_served_with_it(folder: Path) -> None:
    """As /var/log is syslog's, too, on some systems."""
    os.chown(folder, 0, SYSLOG)
    folder.chmod(0o775)
    assert read(folder / "file") == b"root's\n"
    with pytest.raises(NotRoots):
        read(folder / "file", 5, SYSLOG)


def test_in_a_folder_with_the_sticky_bit_roots_own_names_are_safe(folder: Path) -> None:
    folder.chmod(0o1777)
    (folder / "hers").write_text("alice's\n")
    (folder / "her-folder").mkdir()
    for name in ("hers", "her-folder"):
        os.chown(folder / name, ALICE, ALICE)
    assert read(folder / "file") == b"root's\n"
    for path in (folder / "hers", folder / "her-folder/x"):
        with pytest.raises(NotRoots):
            trusted.walk(path)
    (folder / "link").symlink_to("file")
    assert read(folder / "link") == b"root's\n"
    os.link(folder / "file", folder / "file-again")
    with pytest.raises(NotRoots):
        read(folder / "file-again")


def test_a_link_of_roots_may_lead_into_an_owners_folder_and_then_the_way_ends(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder / "file")
    (tmp_path / "relative").symlink_to("here")
    assert read(tmp_path / "link") == read(tmp_path / "relative/file") == b"root's\n"
    given_away(folder)
    for path in (tmp_path / "link", tmp_path / "relative/file"):
        with pytest.raises(NotRoots):
            trusted.walk(path)


def test_a_link_at_the_end_may_be_left_alone(folder: Path) -> None:
    (folder / "link").symlink_to("file")
    place = trusted.walk(folder / "link", follows=False)
    assert stat.S_ISLNK(os.fstat(place.found).st_mode)
    place.close()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (".", IsADirectoryError),
        ("none", FileNotFoundError),
        ("none/file", FileNotFoundError),
        ("file/x", NotADirectoryError),
        ("/dev/null", OSError),
    ],
)
def test_what_cannot_be_opened(folder: Path, name: str, error: type[OSError]) -> None:
    with pytest.raises(error):
        trusted.open_file(folder / name)
    with pytest.raises(OSError, match=r"."):
        trusted.open_folder(folder / name if name != "." else folder / "file")


def test_a_file_is_opened_that_was_looked_at(folder: Path) -> None:
    """Whatever has its name by then."""
    place = trusted.walk(folder / "file")
    (folder / "other").write_text("another\n")
    (folder / "other").rename(folder / "file")
    descriptor = trusted.reopen(place.found, os.O_RDONLY | os.O_NOFOLLOW)
    assert os.read(descriptor, 100) == b"root's\n"
    os.close(descriptor)
    place.close()
