"""Files of users and groups: when they are read again, and what is not read at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.modules.passwords.files import MOST_FILES, Files, lines_of
from ownhost.request import given_files

modules.load()  # all in their order: tables of words have that, too
OLD = 1_600_000_000


class Counted(Files[list[bytes]]):
    """Files that count how often one is read."""

    def __init__(self) -> None:
        self.count = 0

        def parse(lines: Iterator[bytes]) -> list[bytes]:
            self.count += 1
            return list(lines)

        super().__init__(parse)


def write(path: Path, text: str) -> str:
    path.write_text(text)
    os.utime(path, (OLD, OLD))
    return str(path)


def test_a_file_is_read_again_until_it_is_settled(tmp_path: Path) -> None:
    files = Counted()
    name = write(tmp_path / "users", "a:b\n")
    assert files.content(name) == files.content(name) == [b"a:b"]
    assert files.count == 2  # it was changed (ctime) just now: nothing would show another change


def test_a_settled_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ownhost.modules.passwords.files.SETTLED", -(10**12))
    files = Counted()
    name = write(tmp_path / "users", "a:b\n")
    files.content(name)
    files.content(name)
    assert files.count == 1
    write(tmp_path / "users", "c:dd\n")
    assert files.content(name) == [b"c:dd"]


@pytest.mark.parametrize("kind", ["fifo", "folder", "missing", "device"])
def test_what_is_no_regular_file_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    with pytest.raises(OSError, match=r"."):
        Counted().content(str(path))


def test_a_large_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_files, "MOST_BYTES", 10)
    with pytest.raises(OSError, match="too large"):
        Counted().content(write(tmp_path / "users", "a:b\nccccc:d\n"))


def test_few_files_are_remembered(tmp_path: Path) -> None:
    files = Counted()
    for count in range(MOST_FILES + 5):
        files.content(write(tmp_path / str(count), "x"))
    assert len(files.known) <= MOST_FILES


def test_lines() -> None:
    text = b"# remark\r\n\n  a:b  \r\n\\\nc\\\r\nd\n   # another\n\xff"
    assert list(lines_of(text)) == [b"a:b", b"cd", b"\xff"]


def test_users() -> None:
    from ownhost.modules import mod_authn_file

    lines = iter([b"a:1:more", b"b::2", b"a:3", b"c", b":d", b"\xc3\xbc:4"])
    assert mod_authn_file.USERS.parse(lines) == {b"a": b"1", b"b": b"2", b"c": b"", b"": b"d", b"\xc3\xbc": b"4"}


def test_groups() -> None:
    from ownhost.modules import mod_authz_groupfile

    lines = iter([b"Makers: a 'b c'", b"more :a", b"nobody:", b"no colon", b"\xc3\xbc: a"])
    assert mod_authz_groupfile.GROUPS.parse(lines) == {"a": {"makers", "more", "ü"}, "b c": {"makers"}}
