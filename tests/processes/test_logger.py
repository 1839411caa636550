"""The logger: whose line is whose, budgets, logs that are not taken, and what is said of lines that are lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config.directive import Settings, Source
from ownhost.config.model import VirtualHost
from ownhost.config.server_name import SERVER_NAME, ServerName
from ownhost.processes import passrights
from ownhost.processes.budget import PER_LINE, Budget
from ownhost.processes.logger.log import Log
from ownhost.processes.logger.logger import Relay
from ownhost.processes.logwriter import BATCH, LONGEST_LINE, LogWriter
from ownhost.processes.messages import Sender
from ownhost.processes.slices import NO_IDENTITY, LoggerSlice
from ownhost.request.errorlog import ERROR_LOG_FORMAT, ErrorLog
from ownhost.request.request import Level

modules.load()

ALICE, BOB = 1, 2  # numbers of identities, and ids of their virtual hosts
ERROR, ACCESS = 0, 1  # numbers of logs
NAMES = {0: "server.test", ALICE: "alice.test", BOB: "bob.test"}


def server(number: int, format_: str = "%v %m:%l %P %M") -> VirtualHost:
    values = {SERVER_NAME.name: ServerName(NAMES[number]), ERROR_LOG_FORMAT.name: format_}
    return VirtualHost(number, Source("test", 1), (), Settings(values))


@dataclass
class Room:
    """A logger's loop over two logs, and those who send."""

    folder: Path
    rate: float = inf
    burst: float = inf
    starts: dict[int, dict[int, list[str]]] = field(default_factory=dict)
    error_fd: int = -1
    senders: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = [
            os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in ("error", "access")
        ]
        slice_ = LoggerSlice(
            names=["error", "access"],
            main=ERROR,
            servers={number: server(number) for number in NAMES},
            serves={ALICE: [ALICE], BOB: [BOB]},
            starts=self.starts,
            rate=self.rate,
            burst=self.burst,
        )
        descriptors = [self.error_fd if self.error_fd >= 0 else self.files[0], self.files[1]]
        self.relay = Relay(slice_, [Log(descriptor) for descriptor in descriptors])

    def sender(self, who: int, log: int = ERROR, kind: str = "error", one: int = -1) -> socket.socket:
        receiving, sending = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passrights.guard(receiving)
        sending.setblocking(False)
        self.relay.add(receiving, Sender(log, kind, who, NAMES.get(who, "gate").split(".")[0], one))
        self.senders.append(sending)
        return sending

    def error_log(self, who: int, of: int) -> Callable[[str], None]:
        """Logs a message as a process of one identity, in the name of a virtual host."""
        writer = LogWriter(self.sender(who).fileno(), lambda flush: flush(), to_logger=True)
        log = ErrorLog(server(of), writer.write, shared=True)
        return lambda message: log.log(Level.ERROR, "core", message)

    def turns(self, count: int = 50) -> None:
        for _ in range(count):
            self.relay.run_once(0.001)

    def read(self, name: str = "error") -> list[str]:
        """A log's lines, without those that say whose a pid is."""
        return [line for line in self.all_of(name) if not line.endswith("'s")]

    def all_of(self, name: str = "error") -> list[str]:
        return (self.folder / name).read_text().splitlines()

    def close(self) -> None:
        for line in list(self.relay.senders):
            self.relay.drop(line)
            line.sock.close()
        for sock in self.senders:
            sock.close()
        for descriptor in self.files:
            os.close(descriptor)
        self.relay.selector.close()


Rooms = Callable[..., Room]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Rooms]:
    made: list[Room] = []

    def make(**settings: object) -> Room:
        made.append(Room(tmp_path, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


# Whose a line is


def test_a_line_has_the_name_and_the_pid_of_who_sends(room: Rooms) -> None:
    made = room()
    made.error_log(ALICE, ALICE)("it broke")
    made.turns(2)
    assert made.read() == [f"alice.test core:error {os.getpid()} it broke"]


@pytest.mark.parametrize("character", ["x", "é", "\x00", "\\"])
def test_a_long_message_is_a_long_line(room: Rooms, character: str) -> None:
    made = room()
    made.error_log(ALICE, ALICE)(character * 100_000)
    made.turns(2)
    (line,) = made.read()
    assert LONGEST_LINE // 4 < len(line.encode()) < LONGEST_LINE


def test_a_log_says_whose_a_pid_is(room: Rooms) -> None:
    made = room()
    alices, bobs = made.error_log(ALICE, ALICE), made.error_log(BOB, BOB)
    for log, count in ((alices, 2), (bobs, 1), (alices, 1)):
        for _ in range(count):
            log("m")
            made.turns(2)
    pid = os.getpid()  # of both, here: as of a process whose number is another's by now
    alice, bob = (f"server.test core:notice {pid} pid {pid} is {name}'s" for name in ("alice", "bob"))
    own = f"alice.test core:error {pid} m"
    assert made.all_of() == [alice, own, own, bob, f"bob.test core:error {pid} m", alice, own]


def test_nobody_speaks_for_another(room: Rooms) -> None:
    made = room()
    forged = made.error_log(ALICE, BOB)
    for _ in range(5):
        forged("in bob's name")
    made.error_log(ALICE, 0)("in the server's name")
    made.turns(10)
    assert made.read() == []
    made.relay.tell(inf)
    (line,) = made.read()
    assert line.startswith(f"server.test core:error {os.getpid()} 6 lines of alice for error refused: they are not in")


@pytest.mark.parametrize(
    "data",
    [
        b"[Sat Nov 28 22:30:00 2026] [core:crit] [pid 1] [client 203.0.113.7:1] bob.test: forged\n",
        b"one\ntwo\n",
        b"\0forged\n",
        b"\xff\n",
        b"\n\n\n",
        b"",
    ],
)
def test_what_is_no_record_is_no_line(room: Rooms, data: bytes) -> None:
    made = room()
    made.sender(ALICE).send(data)
    made.turns(3)
    assert made.read() == []
    made.error_log(ALICE, ALICE)("goes on")
    made.turns(3)
    assert [line.split()[-1] for line in made.read()] == ["on"]


def test_gates_speak_for_the_main_server_alone(room: Rooms) -> None:
    made = room()
    made.error_log(NO_IDENTITY, 0)("a head took too long")
    made.error_log(NO_IDENTITY, ALICE)("forged")
    made.turns(5)
    assert [line.split()[0] for line in made.read()] == ["server.test"]


def test_an_identity_that_an_expression_names_speaks_for_its_one_virtual_host(room: Rooms) -> None:
    made = room()
    for of in (ALICE, BOB):
        writer = LogWriter(made.sender(9, one=BOB).fileno(), lambda flush: flush(), to_logger=True)
        ErrorLog(server(of), writer.write, shared=True).log(Level.ERROR, "core", "m")
    made.turns(5)
    assert [line.split()[0] for line in made.read()] == ["bob.test"]


def test_lines_of_an_access_log_that_begins_with_the_virtual_hosts_name(room: Rooms) -> None:
    made = room(starts={ACCESS: {ALICE: ["alice.test:80 "], BOB: ["bob.test:80 "]}})
    made.sender(ALICE, ACCESS, "access").send(b"alice.test:80 GET /\nbob.test:80 GET /forged\n\x1bx\nalice.test:80 b\n")
    made.turns(3)
    assert made.read("access") == ["alice.test:80 GET /", "alice.test:80 b"]
    made.relay.tell(inf)
    assert "2 lines of alice for access refused" in made.read()[0]


def test_lines_of_an_access_log_that_begins_with_anything(room: Rooms) -> None:
    made = room(starts={ACCESS: {ALICE: ["alice.test ", ""]}})
    made.sender(ALICE, ACCESS, "access").send(b"192.0.2.1 GET /\n")
    made.sender(BOB, ACCESS, "access").send(b"192.0.2.2 GET /\n")
    made.turns(5)
    assert sorted(made.read("access")) == ["192.0.2.1 GET /", "192.0.2.2 GET /"]


# Budgets


def test_a_budget() -> None:
    budget = Budget(rate=1_000, burst=2_000)
    assert budget.wait(0) == 0
    budget.spend(1_999)
    assert budget.wait(0) == 0
    budget.spend(1)
    assert budget.left == 1 - PER_LINE, "a small line is work, too"
    assert 0.12 < budget.wait(0) < 0.5
    assert budget.wait(0.3) == 0
    assert budget.wait(100) == 0
    assert budget.left == 2_000, "it never holds more than its size"


def test_many_small_lines_cost_more_than_their_bytes() -> None:
    budget = Budget(rate=1_000, burst=100_000)
    budget.spend(2_000, lines=1_000)
    assert budget.left == 100_000 - 1_000 * PER_LINE


def test_no_limit() -> None:
    budget = Budget(inf, inf)
    budget.spend(10**12)
    assert budget.wait(0) == 0


def fill(sock: socket.socket, data: bytes) -> int:
    """Send until there is no room."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            sock.send(data)
            count += 1
    return count


def test_who_has_used_up_a_budget_waits_and_nobody_else_does(room: Rooms) -> None:
    made = room(rate=1.0, burst=50_000)
    flood = made.sender(ALICE, ACCESS, "access")
    assert fill(flood, b"x" * 9_999 + b"\n") > 10
    also_alices = made.sender(ALICE, ACCESS, "access")
    also_alices.send(b"second\n")
    bobs = made.sender(BOB, ACCESS, "access")
    bobs.send(b"bob was here\n")
    made.turns()
    lines = made.read("access")
    assert "bob was here" in lines
    assert lines.count("x" * 9_999) in (5, 6)
    assert fill(flood, b"x" * 9_999 + b"\n") > 0, "there is room for what was taken"
    made.turns()
    assert made.read("access") == lines, "and nothing more is taken"


def test_a_budget_fills_again(room: Rooms) -> None:
    made = room(rate=1_000_000.0, burst=1_000)
    sock = made.sender(ALICE, ACCESS, "access")
    for number in range(20):
        sock.send(b"%d %s\n" % (number, b"x" * 1_000))
    for _ in range(200):
        made.relay.run_once(0.01)
        if len(made.read("access")) == 20:
            break
    assert [line.split()[0] for line in made.read("access")] == [str(number) for number in range(20)]


def test_what_a_sender_has_dropped_is_said_once_and_whose_it_was(room: Rooms) -> None:
    made = room(rate=1.0, burst=30_000)
    sock = made.sender(ALICE, ACCESS, "access")
    writer = LogWriter(sock.fileno(), lambda flush: flush(), to_logger=True)
    written = 0
    while writer.lost < 100:
        writer.write(f"{written} {'x' * 5_000}\n")
        written += 1
    made.turns()
    for speaker in made.relay.speakers.values():
        speaker.budget = Budget(inf, inf)
    made.relay.hungry = [(0.0, ticket, line) for _, ticket, line in made.relay.hungry]
    for _ in range(20):
        made.turns(20)
        writer.flush()
    made.relay.tell(inf)
    (line,) = made.read()
    assert line.endswith("100 lines of alice for access are lost: more than LogRateLimit 1"), line
    assert len(made.read("access")) == written - 100


def test_the_gates_have_no_budget(room: Rooms) -> None:
    made = room(rate=1.0, burst=1.0)
    log = made.error_log(NO_IDENTITY, 0)
    for number in range(20):
        log(f"message {number}")
    made.turns()
    assert len(made.read()) == 20


# Logs that are not taken


def test_a_log_that_is_not_taken_holds_up_its_own_senders_each_by_himself(room: Rooms) -> None:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    made = room(error_fd=writing)
    try:
        fill_pipe(writing)
        flood = made.error_log(ALICE, ALICE)
        for number in range(2_000):
            flood(f"{number} {'x' * 500}")
        made.error_log(BOB, BOB)("bob's line")
        made.sender(BOB, ACCESS, "access").send(b"elsewhere\n")
        made.turns()
        assert made.read("access") == ["elsewhere"], "other logs go on"
        assert sum(len(log.waiting) for log in made.relay.logs) <= 2 * (BATCH + 60_000), "little of it is here"
        received = b""
        for _ in range(100):
            with suppress(BlockingIOError):
                received += os.read(reading, 1 << 20)
            made.turns(3)
            if b"bob's line" in received:
                break
        assert b"bob's line" in received, "a flood of another's is no reason to lose it"
        assert received.count(b"alice.test") < 1_000, "nor to wait for all of that"
    finally:
        os.close(reading)
        os.close(writing)


def fill_pipe(descriptor: int) -> None:
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"-" * 4_095 + b"\n")


def test_at_the_end_all_that_is_there_is_written(room: Rooms) -> None:
    made = room(rate=1.0, burst=1.0)
    logs = [made.error_log(who, who) for who in (ALICE, BOB) for _ in range(3)]
    for number in range(50):
        for log in logs:
            log(f"message {number}")
    made.turns(3)
    made.relay.drain()
    assert len(made.read()) == 300


def test_the_end_does_not_wait_for_one_who_goes_on_sending(room: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    made = room()
    sock = made.sender(ALICE, ACCESS, "access")
    sock.send(b"line\n")
    really = passrights.receive

    def receive(receiving: socket.socket, most: int) -> tuple[bytes, int]:
        sock.send(b"line\n")
        return really(receiving, most)

    monkeypatch.setattr(passrights, "receive", receive)
    made.relay.drain()
    assert len(made.read("access")) >= 1


# Descriptors


def test_a_sender_of_descriptors_is_not_heard_any_more(room: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passrights, "SO_PASSRIGHTS", 9_999)  # as under an older kernel
    monkeypatch.setattr(passrights, "kept", [])
    made = room()
    bad = made.sender(ALICE, ACCESS, "access")
    socket.send_fds(bad, [b"with a descriptor\n"], [0])
    bad.send(b"more\n")
    made.sender(BOB, ACCESS, "access").send(b"bob was here\n")
    made.turns(5)
    assert made.read("access") == ["bob was here"]
    assert "alice sent descriptors with a line: not read any more" in made.read()[0]
    assert len(passrights.kept) == 2, "the descriptor, and the socket with what waits in it"
    for descriptor in passrights.kept:
        os.close(descriptor)
