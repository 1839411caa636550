"""Processes that die: what is lost, what is not, and what is left behind (nothing)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket

import pytest

from harness import ALICE, BOB, Server, World
from waiting import eventually


@pytest.fixture
def two(world: World) -> Server:
    return world.server(world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))


def test_a_killed_worker_costs_only_its_own_connections(two: Server) -> None:
    bobs = two.client()
    bobs.request("GET", "/", headers={"Host": "bob.test"})
    bobs.getresponse().read()
    two.get("alice.test")
    killed = two.worker(ALICE).pid
    os.kill(killed, signal.SIGKILL)
    assert two.get("alice.test").status == 200
    assert two.worker(ALICE).pid != killed
    bobs.request("GET", "/", headers={"Host": "bob.test"})
    assert bobs.getresponse().status == 200
    bobs.close()
    died = f"worker #{ALICE} (pid {killed}) ended by signal 9 (SIGKILL)"
    eventually(lambda: died in two.log(), message="the log does not say how a worker died")
    assert "keep dying" not in two.log(), "it died once"


def test_an_owner_whose_workers_keep_dying_is_throttled_alone(two: Server) -> None:
    for _ in range(4):
        two.get("alice.test")
        os.kill(two.worker(ALICE).pid, signal.SIGKILL)
        eventually(lambda: all(process.uid != ALICE for process in two.processes("worker")))
    assert two.get("bob.test").status == 200
    eventually(lambda: f"identity #{ALICE}: its worker processes keep dying, 4 in a row" in two.log())
    assert two.log().count("keep dying") == 3, "the first death is no habit"
    assert two.get("alice.test").status == 200, "throttled, not gone: what waited is answered"


@pytest.mark.parametrize("which", [0, -1])
def test_a_killed_gate_is_replaced(two: Server, which: int) -> None:
    gates = two.processes("gate")
    os.kill(gates[which].pid, signal.SIGKILL)
    for _ in range(20):
        assert two.get("alice.test").status == 200
    eventually(lambda: len([gate for gate in two.processes("gate") if gate.alive]) == len(gates))
    assert gates[which].pid not in {gate.pid for gate in two.processes("gate")}


def test_all_gates_killed_at_once(two: Server) -> None:
    for gate in two.processes("gate"):
        os.kill(gate.pid, signal.SIGKILL)
    assert two.get("alice.test").status == 200
    assert two.get("bob.test").status == 200


def test_a_killed_logger_is_replaced_and_shared_lines_go_on(two: Server) -> None:
    two.get("alice.test", "/missing-before")
    eventually(lambda: "missing-before" in two.log())
    os.kill(two.processes("logger")[0].pid, signal.SIGKILL)
    eventually(lambda: len(two.processes("logger")) == 1 and two.processes("logger")[0].status["Seccomp"] == "2")
    two.get("alice.test", "/missing-after")
    eventually(lambda: "missing-after" in two.log(), message="lines are lost after the logger's death")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_supervisors_end_is_everybodys(two: Server, number: int) -> None:
    two.get("alice.test")
    two.get("bob.test")
    everybody = two.processes()
    assert len(everybody) >= 6
    assert two.process is not None
    os.kill(two.pid, number)
    status = two.process.wait(15)
    assert status == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    eventually(lambda: not any(process.alive for process in everybody), message="an orphan is left")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", two.port))
    two.start()
    assert two.get("alice.test").status == 200


def test_the_forkservers_death_ends_the_server_and_says_so(two: Server) -> None:
    everybody = two.processes()
    os.kill(two.processes("forkserver")[0].pid, signal.SIGKILL)
    assert two.process is not None
    assert two.process.wait(15) == 1
    eventually(lambda: not any(process.alive for process in everybody))
    assert "forkserver" in two.log()


def test_a_signal_to_all_processes_at_once_is_a_stop_like_any_other(two: Server) -> None:
    """A service manager sends it so: systemd.kill(5), KillMode=control-group."""
    everybody = two.processes()
    forkserver = two.processes("forkserver")[0]
    os.kill(forkserver.pid, signal.SIGTERM)
    assert two.get("alice.test").status == 200
    for process in (forkserver, *everybody):
        with contextlib.suppress(ProcessLookupError):  # the first signal may have ended it already
            os.kill(process.pid, signal.SIGTERM)
    assert two.process is not None
    assert two.process.wait(15) == 0
    eventually(lambda: not any(process.alive for process in everybody))
    assert "Traceback" not in two.stderr + two.log()


def test_a_graceful_stop_finishes_what_is_begun(world: World) -> None:
    files: dict[str, str | bytes] = {"index.html": "alice\n", "large.bin": os.urandom(30_000_000)}
    server = world.server(world.virtual_host("alice", ALICE, files=files))
    with server.connect() as sock:
        sock.sendall(b"GET /large.bin HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        received = sock.recv(1000)
        os.kill(server.pid, signal.SIGWINCH)
        eventually(lambda: refused(server.port), message="new connections are still accepted")
        while chunk := sock.recv(1 << 20):
            received += chunk
    assert received.endswith(files["large.bin"][-1000:])  # type: ignore[arg-type]
    assert server.process is not None
    assert server.process.wait(15) == 0


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_reload_signals_are_answered_in_the_log(two: Server, number: int) -> None:
    os.kill(two.pid, number)
    eventually(lambda: "reloading is not supported yet" in two.log())
    assert two.get("alice.test").status == 200


def test_pid_file_and_readiness(world: World) -> None:
    notify = world.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(notify))
        sock.settimeout(15)
        os.environ["NOTIFY_SOCKET"] = str(notify)
        try:
            server = world.server("PidFile @DIR@/server.pid\n" + world.virtual_host("alice", ALICE))
        finally:
            del os.environ["NOTIFY_SOCKET"]
        assert b"READY=1" in sock.recv(4096)
    assert (world.folder / "server.pid").read_text() == f"{server.pid}\n"
    server.stop()
    assert not (world.folder / "server.pid").exists()


def test_a_port_that_is_taken_is_one_clear_sentence(world: World) -> None:
    first = world.server(world.virtual_host("alice", ALICE))
    second = world.server(world.virtual_host("bob", BOB), start=False)
    second.config.write_text(second.config.read_text().replace(str(second.port), str(first.port)))
    (world.folder / "stderr").write_text("")
    second.start(wait=False)
    assert second.process is not None
    assert second.process.wait(20) == 1
    assert f"another program listens on 127.0.0.1:{first.port} already" in second.stderr
    assert "Traceback" not in second.stderr
