"""Files by name: as they were given, or opened here; bounded, and nobody is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ownhost.request import given_files
from ownhost.request.given_files import GivenFiles


def test_what_was_given_is_read_and_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"given")
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    files = GivenFiles.numbered({"name": [1], "folder": [1, 1]}, [-1, descriptor])
    assert [files.read("name"), files.read("name"), files.read("folder")] == [b"given", b"given", b"given\ngiven"]
    files.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_what_was_not_is_opened_here(tmp_path: Path) -> None:
    for name in "ba":
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "hash.0").symlink_to("a")
    (tmp_path / "nowhere").symlink_to("none")
    (tmp_path / "folder").mkdir()
    assert GivenFiles({}).read(str(tmp_path / "a")) == b"a"
    assert GivenFiles({}).read(str(tmp_path)) == b"a\nb"


@pytest.mark.parametrize("name", ["none", "fifo", "/dev/zero", "large"])
def test_what_cannot_be_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", given_files.MOST_BYTES + 1)
    path = str(tmp_path / name)
    with pytest.raises(OSError, match=r".") as found:
        GivenFiles({}).read(path)
    assert found.value.filename == path


def test_a_folder_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(b"x" * 100)
    monkeypatch.setattr(given_files, "MOST_BYTES", 1_500)
    with pytest.raises(OSError, match="File too large"):
        GivenFiles({}).read(str(tmp_path))
    monkeypatch.setattr(given_files, "MOST_FILES", 19)
    with pytest.raises(OSError, match="more than 19 files"):
        GivenFiles({}).read(str(tmp_path))
