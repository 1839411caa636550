"""A log that its writer opens himself: whatever stands in the way costs lines, and is tried again."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ownhost.processes.ownlog import OwnLog


class Writer:
    """An OwnLog without an event loop, whose clock stands still."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None = None) -> None:
        self.now = 1_000.0
        monkeypatch.setattr("ownhost.processes.ownlog.time.monotonic", lambda: self.now)
        self.complaints: list[str] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.log = OwnLog(
            str(path),
            mode,
            lambda flush: flush(),
            lambda seconds, flush: self.timers.append((self.now + seconds, flush)),
            self.complaints.append,
        )

    def later(self, seconds: float) -> None:
        """Let time pass, and what was to be called then be called."""
        self.now += seconds
        due, self.timers = (
            [one for one in self.timers if one[0] <= self.now],
            [one for one in self.timers if one[0] > self.now],
        )
        for _, flush in due:
            flush()


def a_link(path: Path) -> None:
    path.symlink_to("/dev/null")


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (a_link, "it is a symbolic link, which a log must not be"),
        (a_fifo, "it is neither a file nor a terminal"),
        (a_folder, "it is neither a file nor a terminal"),
        (a_socket, "it is neither a file nor a terminal"),
    ],
)
def test_what_stands_in_the_way_is_said_once_and_lines_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], why: str
) -> None:
    path = tmp_path / "access.log"
    spoil(path)
    writer = Writer(path, monkeypatch)
    for line in ("one\n", "two\n"):
        writer.log.write(line)
    writer.later(10)
    assert writer.complaints == [f"cannot open the log {path}: {why}; trying again every 10 s"]
    path.rmdir() if path.is_dir() else path.unlink()
    writer.log.write("three\n")
    assert not path.exists(), "tried before its time"
    writer.later(10)
    assert path.read_text() == "one\ntwo\nthree\n"
    assert writer.complaints[1:] == [f"the log {path} can be opened again"]


def test_a_folder_that_is_gone_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "logs/access.log"
    writer = Writer(path, monkeypatch)
    writer.log.write("one\n")
    assert "there is no folder" in writer.complaints[0]
    path.parent.mkdir()
    writer.later(10)
    assert path.read_text() == "one\n"


def test_what_waits_too_long_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "logs/access.log"
    writer = Writer(path, monkeypatch)
    for _ in range(20):
        writer.log.write("x" * 16_000 + "\n")
    path.parent.mkdir()
    writer.later(10)
    assert path.read_text().endswith("(4 lines are lost: the log was not taken in time)\n")


def test_a_process_that_ends_tries_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "logs/access.log"
    writer = Writer(path, monkeypatch)
    writer.log.write("one\n")
    writer.log.finish()
    path.parent.mkdir()
    writer.log.finish()
    assert path.read_text() == "one\n"


def test_a_fifo_that_somebody_reads_is_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "access.log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = Writer(path, monkeypatch)
    writer.log.write("one\n")
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o644), (0o660, 0o660)])
def test_the_mode_of_a_log_that_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None, expected: int
) -> None:
    before = os.umask(0o022)
    try:
        writer = Writer(tmp_path / "access.log", monkeypatch, mode)
        writer.log.write("one\n")
    finally:
        os.umask(before)
    assert (tmp_path / "access.log").stat().st_mode & 0o777 == expected


def test_nothing_is_made_before_there_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Writer(tmp_path / "access.log", monkeypatch).log.finish()
    assert not list(tmp_path.iterdir())
