"""What everybody depends on is nobody's: gates and logger have uids of their own (S4), are always there (S7), and
nobody's
words, deaths or stillness cost others anything (S7, S15)."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from harness import ALICE, BOB, WWW, Process, Server, World, steal
from inside import CGI, inside
from ownhost.processes.supervisor.words import RATES
from waiting import eventually

FILES: dict[str, str | bytes] = {"index.html": "here\n", "run.cgi": CGI, "run.php": "<?php echo getmypid();"}
PROGRAMS = (
    "AddHandler cgi-script .cgi\nAddHandler application/x-httpd-php .php\n<Location />\nOptions +ExecCGI\n</Location>\n"
)


@pytest.fixture
def two(world: World) -> Server:
    """A site that is served as User and Group, whose programs have that uid; and alice's and bob's."""
    root = world.site("plain", WWW, FILES)
    plain = (
        f"<VirtualHost 127.0.0.1:@PORT@>\nServerName plain.test\nDocumentRoot {root}\n{PROGRAMS}"
        f"<Directory {root}>\nRequire all granted\n</Directory>\n</VirtualHost>\n"
    )
    alice = world.virtual_host("alice", ALICE, PROGRAMS, FILES)
    server = world.server(plain + alice + world.virtual_host("bob", BOB))
    for name in ("plain", "alice"):
        assert server.get(f"{name}.test").status == 200
    return server


def neutral(server: Server) -> list[Process]:
    return [*server.processes("gate"), *server.processes("logger")]


# S4: uids of their own


def test_no_site_has_the_uid_of_a_gate_or_the_logger(two: Server) -> None:
    gates, loggers = ({process.uid for process in two.processes(role)} for role in ("gate", "logger"))
    assert len(gates) == len(loggers) == 1
    assert not (gates | loggers) & {0, WWW, ALICE, BOB}
    assert gates != loggers


@pytest.mark.parametrize("name", ["plain.test", "alice.test"])
def test_no_program_reaches_a_gate_or_the_logger(two: Server, name: str) -> None:
    """As the uid of a site without an owner once could: stop, limit, slow them."""
    pids = [process.pid for process in neutral(two)]
    code = f"""
        import os, resource, signal
        for pid in {pids}:
            for name, what in {{
                "kill": lambda: os.kill(pid, signal.SIGSTOP),
                "prlimit": lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0)),
                "setpriority": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
                "sched_setscheduler": lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
                "sched_setaffinity": lambda: os.sched_setaffinity(pid, [0]),
                "fd": lambda: os.listdir(f"/proc/{{pid}}/fd"),
            }}.items():
                try:
                    what()
                    print(name, "worked")
                except PermissionError:
                    pass
        print("tried")
    """
    assert inside(two, "run.cgi", code, name) == "tried\n"
    assert two.get("bob.test").status == 200


@pytest.mark.parametrize("role", ["gate", "logger"])
def test_a_site_that_is_assigned_a_roles_uid_is_not_served(world: World, role: str) -> None:
    lines = f"RoleUser gate 50070\nRoleUser logger 50071\nRoleUser front 50072\n{world.virtual_host('bob', BOB)}"
    uid = {"gate": 50070, "logger": 50071}[role]
    server = world.server(lines + world.virtual_host("evil", uid))
    assert {process.uid for process in server.processes(role)} == {uid}
    assert server.get("evil.test").status == 500
    assert server.get("bob.test").status == 200
    assert uid not in {process.uid for process in server.processes("worker")}
    assert f"uid {uid} is the {role}'s own (RoleUser)" in server.log()


# S7: always there


def test_gates_that_are_killed_over_and_over_cost_nobody_more_than_a_moment(two: Server) -> None:
    for _ in range(8):
        for gate in two.processes("gate"):
            os.kill(gate.pid, signal.SIGKILL)
        began = time.monotonic()
        assert two.get("bob.test").status == 200
        assert time.monotonic() - began < 5
    assert two.log().count("ended by signal 9 (SIGKILL)") > 8
    assert "keep dying" not in two.log()


def test_there_are_always_two_gates(two: Server) -> None:
    first = {gate.pid for gate in two.processes("gate")}
    assert len(first) >= 2
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len({gate.pid for gate in two.processes("gate") if gate.alive} - first) >= 2)


def write_page(process: Process, busy_since: float) -> None:
    """Have a process's page say since when its loop is at one thing."""
    lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    start = next(int(line.split("-")[0], 16) for line in lines if "memfd:heartbeat" in line)
    with open(f"/proc/{process.pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(struct.pack("d", busy_since))


@pytest.mark.parametrize("role", ["gate", "logger", "worker", "launcher"])
def test_a_process_whose_loop_stands_still_is_replaced(two: Server, role: str) -> None:
    inside(two, "run.cgi", "pass")
    standing = next(process for process in two.processes(role) if process.uid not in (WWW, BOB))
    os.kill(standing.pid, signal.SIGSTOP)
    write_page(standing, time.monotonic() - 100)
    eventually(lambda: not standing.alive, message="it stands on")
    eventually(lambda: re.search(rf"{role} \(pid {standing.pid}\) has stood still for 1\d\d s: it is ended", two.log()))
    assert two.get("bob.test").status == 200
    assert inside(two, "run.cgi", "print('again')") == "again\n"


def test_a_worker_with_a_client_says_that_it_lives(two: Server) -> None:
    """Else it would be ended in the middle of a long answer."""
    with two.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        worker = two.worker(ALICE)
        write_page(worker, time.monotonic() - 25)
        eventually(lambda: page(worker) > time.monotonic() - 10, 20)
    eventually(lambda: page(worker) == 0.0, 20, "a worker without a client is woken for nothing")


def page(process: Process) -> float:
    lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    start = next(int(line.split("-")[0], 16) for line in lines if "memfd:heartbeat" in line)
    with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as memory:
        memory.seek(start)
        return float(struct.unpack("d", memory.read(8))[0])


# S15: words and deaths


def processor_time(process: Process) -> float:
    """Seconds."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_words_without_end_are_not_read_without_end(two: Server) -> None:
    """A taken-over worker says `Busy` as fast as it can."""
    worker, supervisor = two.worker(ALICE), two.processes("supervisor")[0]
    channel = socket.socket(fileno=steal(worker.pid, 3))
    channel.setblocking(False)
    before, end, said = processor_time(supervisor), time.monotonic() + 3, 0
    with channel:
        while time.monotonic() < end:
            try:
                channel.send(b'["Busy", {}]')
                said += 1
            except BlockingIOError:
                select.select([], [channel], [], 0.1)
    rate, most = RATES["worker"]
    assert said < most + 4 * rate + 300, "300: what a channel holds"
    assert processor_time(supervisor) - before < 1.0
    assert two.get("bob.test").status == 200
    assert two.get("alice.test").status == 200


def test_an_owner_who_ends_his_launcher_over_and_over_is_throttled(two: Server) -> None:
    """It leaves with status 0, as when it is idle: but nobody is idle that soon."""
    seen: set[int] = set()
    forkserver = str(two.processes("forkserver")[0].pid)
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            with suppress(OSError):
                two.get("alice.test", "/run.cgi", "POST")

    asking = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for thread in asking:
        thread.start()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        for launcher in two.processes("launcher"):
            with suppress(ProcessLookupError, FileNotFoundError):
                # Not one that is about to be a program: it has the launcher's title, too.
                if launcher.status["PPid"] == forkserver and launcher.uid == ALICE and "(" in launcher.title:
                    seen.add(launcher.pid)
                    os.kill(launcher.pid, signal.SIGTERM)
    done.set()
    assert 2 <= len(seen) <= 10
    assert two.get("bob.test").status == 200
    assert f"identity #{ALICE}: its launcher processes keep dying" in two.log()


def test_php_goes_on_when_its_master_was_killed(two: Server) -> None:
    """Its children hold its socket still."""
    for _ in range(2):  # the third death in a row has it rest
        assert two.get("alice.test", "/run.php").status == 200
        of_php = [process for process in two.processes() if process.uid == ALICE and "php-fpm" in process.title]
        os.kill(next(process for process in of_php if "master" in process.title).pid, signal.SIGKILL)
        wait_for(of_php)
    assert two.get("alice.test", "/run.php").status == 200, "in the second in which its worker keeps what it was told"


def wait_for(processes: list[Process]) -> None:
    eventually(lambda: not any(process.alive for process in processes))


def test_what_check_says_of_roles(world: World) -> None:
    config = world.folder / "site.conf"
    for line, says in (
        ("RoleUser gate root", "no gate ever runs as root"),
        ("RoleUser gate daemon\nUser daemon\nGroup daemon", "is the gate's own (RoleUser)"),
        ("RoleUser gate 1", "which is the account daemon's"),
    ):
        users = "" if "User daemon" in line else f'User "#{WWW}"\nGroup "#{WWW}"\n'
        config.write_text(f"Listen 127.0.0.1:8099\n{users}{line}\n")
        done = subprocess.run(
            [sys.executable, "-m", "ownhost", "check", str(config)],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode != 0
        assert says in done.stdout + done.stderr, done
