"""S1, S7: what an owner's programs, or a worker that was taken over, can do to the logs that owners share: nothing.

Shared is the main error log here, and an access log that begins with the virtual host's name. A worker's way to it is
taken from the real worker (as root, by pidfd_getfd) and used in its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import time
from collections.abc import Iterator

import pytest

from harness import ALICE, BOB, Process, Server, World, steal
from waiting import eventually

FORGED = "[Sat Nov 28 22:30:00.000000 2026] [core:crit] [pid 1] [client 203.0.113.7:4711] bob.test: forged"
WSGI = """
import contextlib, io
def application(environ, start_response):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(environ["wsgi.input"].read().decode(), {})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.getvalue().encode()]
"""
CGI = "#!/bin/sh\necho 'Content-Type: text/plain'; echo; ls -l /proc/self/fd; echo CGI-SPOKE >&2\n"
PHP = "<?php foreach (scandir('/proc/self/fd') as $n) echo $n, ' ', @readlink(\"/proc/self/fd/$n\"), \"\\n\";"


@pytest.fixture
def two(world: World) -> Server:
    extra = (
        "WSGIScriptAlias /app @DIR@/alice/app.wsgi\nAddHandler application/x-httpd-php .php\n"
        "ScriptAlias /cgi/ @DIR@/alice/\n"
    )
    files: dict[str, str | bytes] = {"index.html": "alice\n", "app.wsgi": WSGI, "see.cgi": CGI, "see.php": PHP}
    started = world.server(
        'LogFormat "%v:%p %r" vhost\nCustomLog @DIR@/access.log vhost\nLogRateLimit 200000 400000\n'
        + world.virtual_host("alice", ALICE, extra, files)
        + world.virtual_host("bob", BOB)
    )
    assert started.get("alice.test").status == started.get("bob.test").status == 200
    eventually(lambda: len(started.log("access.log").splitlines()) == 2)
    return started


def run(server: Server, code: str) -> str:
    """Have alice's WSGI application run code; what it printed."""
    client = server.client(30)
    client.request("POST", "/app", code.encode(), {"Host": "alice.test", "Connection": "close"})
    return client.getresponse().read().decode()


def ways(worker: Process) -> dict[str, socket.socket]:
    """Copies of a worker's ways to the shared error log and access log."""
    found = []
    for number, name in sorted(worker.descriptors().items()):
        if number > 3 and name.startswith("socket:"):
            sock = socket.socket(fileno=steal(worker.pid, number))
            if sock.type == socket.SOCK_SEQPACKET:
                found.append(sock)
            else:
                sock.close()
    *others, error, access = found
    for sock in others:
        sock.close()
    return {"error": error, "access": access}


@contextlib.contextmanager
def taken_over(server: Server) -> Iterator[dict[str, socket.socket]]:
    """alice's worker stands still, and somebody speaks in its place."""
    worker = server.worker(ALICE)
    os.kill(worker.pid, signal.SIGSTOP)
    found = ways(worker)
    try:
        yield found
    finally:
        for sock in found.values():
            sock.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)


def test_no_program_holds_a_log_or_a_way_to_one(two: Server) -> None:
    """Not as standard error, and not as anything else."""
    run(two, "print('started')")
    for path in ("/see.php", "/cgi/see.cgi"):
        assert two.get("alice.test", path).status == 200
    eventually(lambda: "CGI-SPOKE" in two.log())
    programs = [one for one in two.processes() if one.uid == ALICE and not one.role]
    held = [(program, names) for program in programs if (names := program.descriptors())]  # the CGI script has ended
    assert len(held) >= 3, [one.title for one in programs]
    for program, names in held:
        assert names[2].startswith("pipe:"), (program.title, names)
        assert not [name for name in names.values() if str(two.folder) in name and name.endswith(".log")]
        for number, name in names.items():
            if name.startswith("socket:"):
                with socket.socket(fileno=steal(program.pid, number)) as sock:
                    assert sock.type != socket.SOCK_SEQPACKET, (program.title, number)


def test_what_a_program_writes_is_a_message_in_a_line_of_its_launchers(two: Server) -> None:
    run(two, f"import os; os.write(2, {FORGED.encode()!r} + b'\\n')")
    eventually(lambda: "forged" in two.log())
    (launcher,) = two.processes("launcher")
    (line,) = [line for line in two.log().splitlines() if "forged" in line]
    assert re.fullmatch(rf"\[[^]]+\] \[wsgi:error\] \[pid {launcher.pid}\] {re.escape(FORGED)}", line), line


@pytest.mark.parametrize("kind", ["error", "access"])
def test_a_worker_that_was_taken_over_writes_no_line_of_anothers(two: Server, kind: str) -> None:
    with taken_over(two) as way:
        for data in (FORGED, f"\n{FORGED}\n", f"bob.test:80 {FORGED}", f"\0{FORGED}", f"\r{FORGED}"):
            way[kind].send(data.encode())
        for server in (0, 2):  # the main server, and bob's
            way[kind].send(json.dumps([server, 2, "core", "203.0.113.7:4711", "forged", []]).encode())
        eventually(lambda: re.search(rf"\d+ lines of #{ALICE} for \S+ refused", two.log()))
    text = two.log() + two.log("access.log")
    assert "forged" not in text


def test_a_workers_line_has_its_own_pid_and_the_time(two: Server) -> None:
    worker = two.worker(ALICE).pid
    with taken_over(two) as way:
        way["error"].send(json.dumps([1, 2, "core", "203.0.113.7:1", f"x\n{FORGED}", []]).encode())
        eventually(lambda: "forged" in two.log())
    (line,) = [line for line in two.log().splitlines() if "forged" in line]
    here = os.getpid()  # it is this process that has sent it: the kernel knows
    assert line.endswith(f"[core:crit] [pid {here}] [client 203.0.113.7:1] x\\n{FORGED}")
    assert worker != here
    assert time.strftime("%a %b %d", time.localtime()) in line[:20]


def test_a_flood_is_cut_to_a_budget_and_told_and_nobody_waits(two: Server) -> None:
    """Not a word of bob's is lost, nor late, and the log says how much of alice's is."""
    run(
        two,
        "import os, threading\n"
        "def flood():\n"
        "    for _ in range(4_000): os.write(2, b'flooding ' + b'x' * 2_000 + b'\\n')\n"
        "threading.Thread(target=flood, daemon=True).start()",
    )
    eventually(lambda: "flooding" in two.log())
    for number in range(20):
        begun = time.monotonic()
        two.get("bob.test", f"/none-{number}")
        eventually(lambda: f"/none-{number}" in two.log(), 5)  # noqa: B023
        assert time.monotonic() - begun < 2
    eventually(
        lambda: re.search(rf"\d+ lines of #{ALICE} for \S+ are lost: more than LogRateLimit 200000", two.log()), 30
    )
    assert sum(len(line) for line in two.log().splitlines() if "flooding" in line) < 4_000 * 2_000 // 2


def test_a_flood_into_a_log_of_ones_own(world: World) -> None:
    """It is root's file, and root's disk."""
    extra = "ErrorLog @DIR@/alice.log\nWSGIScriptAlias /app @DIR@/alice/app.wsgi\n"
    server = world.server(
        "LogRateLimit 100000 200000\n" + world.virtual_host("alice", ALICE, extra, {"app.wsgi": WSGI})
    )
    run(server, "import os\nfor _ in range(2_000): os.write(2, b'flooding ' + b'x' * 2_000 + b'\\n')")
    said = r"^\[[^]]+\] \[core:warn\] \[pid \d+\] \d+ lines are lost: more than LogRateLimit 100000"
    eventually(lambda: re.search(said, server.log("alice.log"), re.MULTILINE), 30)
    assert len(server.log("alice.log")) < 1_000_000
    assert all(line.startswith("[") for line in server.log("alice.log").splitlines())


def test_a_flood_of_a_worker_that_was_taken_over(two: Server) -> None:
    with taken_over(two) as way:
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                way["access"].setblocking(True)
                way["access"].settimeout(3)
                end = time.monotonic() + 3
                while time.monotonic() < end:
                    way["access"].send(b"alice.test:80 x\n" * 2_000)
            os._exit(0)
        try:
            size = (two.folder / "access.log").stat().st_size
            for number in range(10):
                begun = time.monotonic()
                two.get("bob.test", f"/soon-{number}")
                eventually(lambda: f"/soon-{number}" in two.log("access.log"))  # noqa: B023
                assert time.monotonic() - begun < 2
        finally:
            os.waitpid(pid, 0)
        assert (two.folder / "access.log").stat().st_size - size < 400_000 + 200_000 * 6


@pytest.mark.parametrize("kind", ["error", "access", "channel"])
def test_no_descriptor_comes_up(two: Server, kind: str) -> None:
    """Where the kernel can refuse them. See tests/processes/test_passrights.py for where it cannot."""
    if tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < (6, 16):
        pytest.skip("this kernel is older than Linux 6.16")
    with taken_over(two) as way:
        if kind == "channel":
            way = {kind: socket.socket(fileno=steal(two.worker(ALICE).pid, 3))}
        with way[kind] as sock, pytest.raises(PermissionError):
            socket.send_fds(sock, [b'["Busy", {}]'], [0])


def test_nothing_goes_on_once_the_last_worker_of_an_owner_was_killed(two: Server) -> None:
    """What a program left running is no voice of a site of which nothing else runs."""
    run(
        two,
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.write(2, b'left behind %d\\n' % os.getpid())\n"
        "        time.sleep(300)\n"
        "    os._exit(0)",
    )
    found = eventually(lambda: re.search(r"left behind (\d+)", two.log()))
    assert isinstance(found, re.Match)
    left = Process(int(found[1]))
    assert left.alive
    (launcher,) = two.processes("launcher")
    os.kill(two.worker(ALICE).pid, signal.SIGKILL)
    eventually(lambda: not left.alive and not launcher.alive)
    assert run(two, "print('again')") == "again\n"


def test_no_log_is_a_workers_own_where_another_writes_it(two: Server) -> None:
    logs = {str(two.folder / name) for name in ("error.log", "access.log")}
    for process in two.processes():
        if process.role not in ("supervisor", "logger"):
            assert logs.isdisjoint(process.descriptors().values()), process.title
    (logger,) = two.processes("logger")
    assert logs <= set(logger.descriptors().values())
    for name in logs:
        assert stat.S_IMODE(os.stat(name).st_mode) & 0o022 == 0
