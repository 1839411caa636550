"""Hundreds of owners at work at once: more than what a channel between two processes takes of anything."""

from __future__ import annotations

import os
import resource
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness import ALICE, BOB, Server, World
from ownhost.processes.descriptors import too_few_for
from waiting import eventually

OWNERS = 350
FIRST = 51_000  # uid


def ask_all(server: Server) -> Counter[bytes]:
    """One request to each owner, all at the same time: how often each status came."""
    with ExitStack() as clients:
        socks = [clients.enter_context(server.connect(30)) for _ in range(OWNERS)]
        for number, sock in enumerate(socks):
            sock.sendall(f"GET / HTTP/1.1\r\nHost: owner{number}.test\r\nConnection: close\r\n\r\n".encode())
        return Counter(sock.recv(12)[9:] for sock in socks)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGWINCH])
def test_all_are_served_whoever_dies_and_a_stop_ends_all(world: World, number: int) -> None:
    hosts = [
        world.virtual_host(f"owner{number}", FIRST + number, files={"index.html": "."}) for number in range(OWNERS)
    ]
    server = world.server('MaxWorkers 400\nCustomLog @DIR@/access.log "%{Host}i"\n' + "".join(hosts))
    all_of_them = Counter({b"200": OWNERS})
    assert ask_all(server) == all_of_them
    assert len(server.processes("worker")) == OWNERS
    killed = 0
    for role in ("gate", "logger"):
        for process in server.processes(role):
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        assert ask_all(server) == all_of_them, role
    eventually(lambda: set(server.log("access.log").split()) == {f"owner{number}.test" for number in range(OWNERS)})
    eventually(lambda: server.log("access.log").count("\n") == 3 * OWNERS, message="lines are lost")
    assert server.log().count("SIGKILL") == killed, "more has died than was killed"
    everybody = server.processes()
    os.kill(server.pid, number)
    assert server.process is not None
    assert server.process.wait(15) == 0
    assert not any(process.alive for process in everybody)
    assert "Traceback" not in server.stderr


@contextmanager
def soft_limit(wanted: int) -> Iterator[int]:
    """Have processes that are started meanwhile begin with a limit of descriptors; the hard one is given."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert wanted < hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_of_descriptors_is_the_administrators(world: World) -> None:
    said = "<Location /limit>\nSetHandler cgi-script\nOptions ExecCGI\n</Location>\n"
    server = world.server(
        world.virtual_host("alice", ALICE, said, {"limit": "#!/bin/sh\necho\nulimit -n\n"}), start=False
    )
    (world.folder / "alice/limit").chmod(0o755)
    with soft_limit(512) as hard:
        server.start()
    assert server.get("alice.test", "/limit").content == b"1024\n"
    for process in [process for process in server.processes() if process.role]:
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
        assert line.split()[3:5] == [str(hard)] * 2, process.title


def test_a_server_that_has_too_few_descriptors_says_so_and_goes_on(world: World) -> None:
    hosts = (("alice", ALICE), ("bob", BOB))
    server = world.server("".join(world.virtual_host(name, uid, files={"index.html": name}) for name, uid in hosts))
    assert server.get("alice.test").status == 200
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{server.pid}/fd")), limits[1]))
    with server.connect() as waiting:
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: bob.test\r\n\r\n")
        eventually(lambda: "something could not be done: Too many open files" in server.log())
        assert server.get("alice.test").status == 200
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        assert server.get("bob.test").status == 200
        assert waiting.recv(15) == b"HTTP/1.1 200 OK"
    assert "Traceback" not in server.stderr + server.log()


def test_too_few_descriptors_are_told_of() -> None:
    with soft_limit(1_024):
        assert too_few_for(40) == ""
        assert "1024 open files may be too few for 300 identities at work: allow 5056" in too_few_for(300)
