"""Opening logs, and writing whole lines to what is slow, full, or shared by several writers."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import ALICE, Process
from ownhost.processes.budget import Budget
from ownhost.processes.descriptors import raise_limit
from ownhost.processes.logger.log import Log
from ownhost.processes.logger.speaker import clean
from ownhost.processes.logwriter import BATCH, LONGEST_LINE, MOST_WAITING, LogWriter
from ownhost.processes.supervisor.logfiles import LogError, PipedLog, open_log
from ownhost.request.errorlog import LogTarget
from waiting import eventually

FULL = "/dev/full"


def file(path: Path) -> LogTarget:
    return LogTarget("file", str(path))


# Opening


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Sets the umask; it is as before after the test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def test_a_new_log_is_what_the_umask_leaves_and_is_appended_to(tmp_path: Path, umask: Callable[[int], int]) -> None:
    path = tmp_path / "new.log"
    for text in (b"one\n", b"two\n"):
        descriptor = open_log(file(path))
        os.write(descriptor, text)
        os.close(descriptor)
    assert path.read_text() == "one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o644
    umask(0o027)
    os.close(open_log(file(tmp_path / "private.log")))
    assert (tmp_path / "private.log").stat().st_mode & 0o777 == 0o640


def test_a_mode_is_that_of_files_which_are_made_whatever_the_umask(tmp_path: Path, umask: Callable[[int], int]) -> None:
    umask(0o077)
    os.close(open_log(file(tmp_path / "new.log"), 0o664))
    assert (tmp_path / "new.log").stat().st_mode & 0o777 == 0o664
    (tmp_path / "there.log").touch(0o600)
    os.close(open_log(file(tmp_path / "there.log"), 0o666))
    assert (tmp_path / "there.log").stat().st_mode & 0o777 == 0o600, "it may be anybody's, by a second name"
    (tmp_path / "link.log").symlink_to(tmp_path / "there.log")
    with pytest.raises(LogError, match="symbolic link"):
        open_log(file(tmp_path / "link.log"), 0o666)
    (tmp_path / "dangling.log").symlink_to(tmp_path / "made.log")
    with pytest.raises(LogError, match="symbolic link"):
        open_log(file(tmp_path / "dangling.log"), 0o666)
    assert not (tmp_path / "made.log").exists()


def link(folder: Path) -> Path:
    (folder / "target.log").write_text("")
    (folder / "link.log").symlink_to(folder / "target.log")
    return folder / "link.log"


def dangling_link(folder: Path) -> Path:
    (folder / "link.log").symlink_to(folder / "made.log")
    return folder / "link.log"


def folder_itself(folder: Path) -> Path:
    (folder / "sub.log").mkdir()
    return folder / "sub.log"


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo.log")
    return folder / "fifo.log"


def below_a_file(folder: Path) -> Path:
    (folder / "a").write_text("")
    return folder / "a" / "b.log"


def below_an_owners_link(folder: Path) -> Path:
    (folder / "real").mkdir()
    (folder / "logs").symlink_to(folder / "real")
    os.chown(folder / "logs", ALICE, ALICE, follow_symlinks=False)
    return folder / "logs" / "access.log"


def below_a_loop(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop" / "access.log"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (link, "it is a symbolic link, which a log must not be"),
        (dangling_link, "it is a symbolic link, which a log must not be"),
        (lambda folder: folder / "none" / "a.log", "there is no folder .*/none; create it first"),
        (folder_itself, "it is neither a file nor a terminal"),
        (fifo, "it is neither a file nor a terminal"),
        (below_a_file, ".*/a is not a folder"),
        pytest.param(
            below_an_owners_link,
            "logs in its path is a symbolic link of another user",
            marks=pytest.mark.slow,
        ),
        (below_a_loop, "loop in its path is one of more than 40 symbolic links"),
    ],
)
def test_what_is_no_place_for_a_log(tmp_path: Path, make: Callable[[Path], Path], why: str) -> None:
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LogError, match=f"^cannot open the log {re.escape(str(path))}: {why}$"):
        open_log(file(path))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_of_root_on_the_way_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "relative").symlink_to("real")
    (tmp_path / "absolute").symlink_to(tmp_path / "real" / "sub" / "..")
    for way in ("relative/sub", "absolute/sub", "relative/../absolute/sub"):
        os.close(open_log(file(tmp_path / way / f"{way.count('/')}{way[0]}.log")))
    assert len(list((tmp_path / "real" / "sub").iterdir())) == 3


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (LogTarget("pipe", "/no/such/program"), "No such file or directory"),
        (LogTarget("pipe", '/bin/cat "'), "has an unclosed quote"),
    ],
)
def test_a_program_that_cannot_be_started(target: LogTarget, why: str) -> None:
    with pytest.raises(LogError, match=f"the log program .*{why}"):
        PipedLog(target)


def test_a_program_reads_what_is_written_before_it_ends(tmp_path: Path) -> None:
    pipe = PipedLog(LogTarget("shell", f"sleep 0.1; cat > {tmp_path}/out"))
    os.write(pipe.fileno(), b"a line\n")
    pipe.stop()
    assert (tmp_path / "out").read_text() == "a line\n"


def test_what_is_written_while_the_program_is_dead_waits_for_the_next(tmp_path: Path) -> None:
    pipe = PipedLog(LogTarget("pipe", f"/bin/sh -c 'read line; echo $line >> {tmp_path}/out'"))
    os.write(pipe.fileno(), b"one\n")
    eventually(pipe.ended)
    os.write(pipe.fileno(), b"two\n")
    pipe.start()
    eventually(pipe.ended)
    pipe.stop()
    assert (tmp_path / "out").read_text() == "one\ntwo\n"


# LogWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends, reading and writing, of a pipe that never waits."""
    ends = os.pipe2(os.O_NONBLOCK)
    yield ends
    for end in ends:
        os.close(end)


def test_lines_of_one_turn_are_one_write() -> None:
    reader, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    turn: list[Callable[[], None]] = []
    writer = LogWriter(sender.fileno(), turn.append)
    for number in range(5):
        writer.write(f"line {number}\n")
    assert len(turn) == 1
    turn[0]()
    assert reader.recv(100_000) == b"line 0\nline 1\nline 2\nline 3\nline 4\n"
    line = "x" * 9_999 + "\n"
    for _ in range(5):
        writer.write(line)
    turn[1]()
    assert [reader.recv(100_000) for _ in range(2)] == [line.encode() * 3, line.encode() * 2]
    reader.close()
    sender.close()


def test_a_line_has_a_longest_length(tmp_path: Path) -> None:
    descriptor = open_log(file(tmp_path / "a.log"))
    writer = LogWriter(descriptor, lambda flush: flush())
    writer.write("é" * LONGEST_LINE + "\n")
    writer.write("x" * (LONGEST_LINE - 1) + "\n")
    os.close(descriptor)
    first, second = (tmp_path / "a.log").read_bytes().splitlines(keepends=True)
    assert len(first) == len(second) == LONGEST_LINE
    assert first.endswith(b"...\n")
    assert second == b"x" * (LONGEST_LINE - 1) + b"\n"


def test_what_is_not_taken_waits_and_what_is_too_much_is_counted() -> None:
    reader, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sender.setblocking(False)
    writer = LogWriter(sender.fileno(), lambda flush: flush())
    line = "x" * 999 + "\n"
    count = 0
    while not writer.lost:
        writer.write(line)
        count += 1
    assert writer.size <= MOST_WAITING
    reader.settimeout(5)
    received = bytearray()
    while not received.endswith(b"in time)\n"):
        received += reader.recv(100_000)
        writer.flush()
    assert received == line.encode() * (count - 1) + b"(1 lines are lost: the log was not taken in time)\n"
    reader.close()
    sender.close()


@pytest.mark.parametrize("number", [0, 1_500])  # select(2) knows none from 1,024 on
def test_the_last_lines_get_a_moment(number: int) -> None:
    reader, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    raise_limit()
    with sender:
        sender = socket.socket(fileno=fcntl.fcntl(sender, fcntl.F_DUPFD_CLOEXEC, number))
    sender.setblocking(False)
    reader.settimeout(5)
    writer = LogWriter(sender.fileno(), lambda flush: None)
    for _ in range(26):
        writer.write("x" * 9_999 + "\n")
    writer.flush()
    assert writer.lines, "the socket took all: this test sees nothing"
    received: list[int] = []

    def read() -> None:
        while sum(received) < 260_000:
            received.append(len(reader.recv(100_000)))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        writer.finish()
    finally:
        thread.join()
    assert not writer.lines
    assert sum(received) == 260_000
    reader.close()
    sender.close()


class Timers:
    """What is to be done later, and the doing of it."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []

    def later(self, wait: float, do: Callable[[], None]) -> None:
        self.due.append((wait, do))

    def ring(self) -> None:
        due, self.due = self.due, []
        for _, do in due:
            do()


def test_what_is_not_taken_is_tried_again() -> None:
    reader, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sender.setblocking(False)
    timers = Timers()
    writer = LogWriter(sender.fileno(), lambda flush: flush(), timers.later)
    while not writer.lines:
        writer.write("x" * 9_999 + "\n")
    assert len(timers.due) == 1
    timers.ring()
    assert len(timers.due) == 1, "one at a time, for as long as it takes"
    reader.settimeout(5)
    reader.recv(100_000)
    timers.ring()
    assert not writer.lines
    assert not timers.due
    reader.close()
    sender.close()


def test_what_is_more_than_a_budget_is_dropped_and_said_now_and_then(tmp_path: Path) -> None:
    descriptor = open_log(file(tmp_path / "a.log"))
    timers = Timers()
    writer = LogWriter(descriptor, lambda flush: flush(), timers.later)
    writer.budget = Budget(rate=1.0, burst=1_000)
    for number in range(100):
        writer.write(f"{number} {'x' * 200}\n")
    kept = (tmp_path / "a.log").read_text().splitlines()
    assert [line.split()[0] for line in kept] == ["0", "1", "2", "3", "4"]
    timers.ring()
    said = "(95 lines are lost: the log was not taken in time)"
    assert (tmp_path / "a.log").read_text().splitlines() == [*kept, said]
    writer.write("one more\n")
    timers.ring()
    assert (tmp_path / "a.log").read_text().splitlines() == [*kept, said], "it was said just now"
    assert 0 < timers.due[0][0] <= 1, "so it is said later"
    os.close(descriptor)


def replace_file(descriptor: int, path: str) -> None:
    other = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(other, descriptor)
    os.close(other)


def test_a_full_disk_is_survived_and_said(tmp_path: Path) -> None:
    descriptor = os.open(FULL, os.O_WRONLY)
    turn: list[Callable[[], None]] = []
    writer = LogWriter(descriptor, turn.append)
    for _ in range(3):
        writer.write("lost\n")
        turn.pop()()
    assert not turn, "a full disk must not keep the loop busy"
    replace_file(descriptor, f"{tmp_path}/log")
    writer.write("kept\n")
    turn.pop()()
    os.close(descriptor)
    assert (tmp_path / "log").read_text() == "kept\n(3 lines are lost: the log was not taken in time)\n"


def limited_writes(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """A disk with so many bytes left, and then none."""
    really_write = os.write
    left = room

    def write(descriptor: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(28, "No space left on device")
        count = really_write(descriptor, bytes(data[:left]))
        left -= count
        return count

    monkeypatch.setattr(os, "write", write)


def test_a_torn_line_ends_before_the_next_begins(tmp_path: Path) -> None:
    descriptor = open_log(file(tmp_path / "log"))
    writer = LogWriter(descriptor, lambda flush: None)
    with pytest.MonkeyPatch.context() as monkeypatch:
        limited_writes(monkeypatch, 8)
        for _ in range(3):
            writer.write("12345\n")
        writer.flush()
    assert (tmp_path / "log").read_text() == "12345\n12"
    writer.write("67890\n")
    writer.flush()
    os.close(descriptor)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["12345", "12", "67890", "(2 lines are lost: the log was not taken in time)"]


def test_several_processes_write_one_file(tmp_path: Path) -> None:
    """As workers of one identity do: the file is open for appending, and each write is whole lines."""
    descriptor = open_log(file(tmp_path / "log"))
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                writer = LogWriter(descriptor, lambda flush: None)
                for number in range(1_000):
                    writer.write(f"{child} {number} {'x' * (number * 7 % 500)} end\n")
                    if number % 9 == 0:
                        writer.flush()
                writer.finish()
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    os.close(descriptor)
    seen: dict[str, list[int]] = {}
    for line in (tmp_path / "log").read_text().splitlines():
        match = re.fullmatch(r"(\d) (\d+) (x*) end", line)
        assert match is not None, line
        assert len(match[3]) == int(match[2]) * 7 % 500
        seen.setdefault(match[1], []).append(int(match[2]))
    assert seen == {str(child): list(range(1_000)) for child in range(4)}


# The logger


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        (b"one\ntwo\n", b"one\ntwo\n"),
        (b"no newline", b"no newline\n"),
        (b"\x1b[2J\x00\r\x7f\ttab\n", b"?[2J???\ttab\n"),
        ("é\x9b日\n".encode(), "é?日\n".encode()),
        (b"\xff\xc3\n", b"\xff\xc3\n"),
        (b"\n\n", b"\n\n"),
        (b"x" * LONGEST_LINE + b"\nnext\n", b"x" * (LONGEST_LINE - 4) + b"...\nnext\n"),
    ],
)
def test_whatever_a_sender_says_is_lines(sent: bytes, written: bytes) -> None:
    assert b"".join(clean(sent)) == written


def read_all(descriptor: int) -> bytes:
    data = bytearray()
    while True:
        try:
            data += os.read(descriptor, 65_536)
        except BlockingIOError:
            return bytes(data)


def test_a_slow_program_gets_whole_lines(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    log = Log(end)
    lines = [b"%d %s\n" % (number, b"x" * (number % 1_000)) for number in range(600)]
    for line in lines:
        log.write(line)
    assert log.waiting
    assert not log.lost
    received = b""
    while len(received) < sum(map(len, lines)):
        received += read_all(reader)
        log.flush()
    assert received == b"".join(lines)


def test_a_program_that_does_not_read_loses_lines_but_no_half_ones(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    log = Log(end)
    batch = b"".join(b"x" * 98 + b"%d\n" % (number % 10) for number in range(BATCH // 100))
    written = 0
    while not log.lost:
        log.write(batch)
        written += batch.count(b"\n")
    assert len(log.waiting) <= MOST_WAITING
    lost = log.lost
    received = b""
    while chunk := read_all(reader):
        received += chunk
        log.flush()
    *lines, note = received.decode().splitlines()
    assert note == f"({lost} lines are lost: the log was not taken in time)"
    assert len(lines) == written - lost
    assert {len(line) for line in lines} == {99}


def test_the_logger_survives_a_full_disk(tmp_path: Path) -> None:
    descriptor = os.open(FULL, os.O_WRONLY)
    log = Log(descriptor)
    log.write(b"lost\nlost\n")
    log.write(b"lost\n")
    replace_file(descriptor, f"{tmp_path}/log")
    log.write(b"kept\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        limited_writes(monkeypatch, 3)
        log.write(b"torn\ngone\n")
    log.write(b"last\n")
    os.close(descriptor)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["kept", lost(3), "tor", "last", lost(2)]


def lost(count: int) -> str:
    return f"({count} lines are lost: the log was not taken in time)"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = set(Process(os.getpid()).descriptors())
    os.close(open_log(file(tmp_path / "a.log")))
    for bad in (tmp_path / "none" / "a.log", tmp_path):
        with pytest.raises(LogError):
            open_log(file(bad))
    with pytest.raises(LogError):
        PipedLog(LogTarget("pipe", "/no/such/program"))
    assert set(Process(os.getpid()).descriptors()) == before
