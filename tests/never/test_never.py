"""What must never happen (docs/architecture.md), tried against the real server and refused.

Owners' code shares its worker's uid, so a worker is treated as hostile: these tests act as a process with an owner's
uid, or put hostile code into a worker's place and speak its channels.
"""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

from harness import ALICE, BOB, GATE, PYTHON, Process, Server, World, steal
from waiting import eventually


@pytest.fixture
def two(world: World) -> Server:
    """alice.test and bob.test, each with a password in its settings and logs of its own; both have been asked once."""
    extra = "SetEnv DB_PASSWORD {0}-has-a-secret-9f31\nErrorLog @DIR@/{0}.error\nCustomLog @DIR@/{0}.access common\n"
    server = world.server(
        'LogFileMode 0640\nLogFormat "%h %t \\"%r\\" %>s %b" common\n'
        + world.virtual_host("alice", ALICE, extra.format("alice"))
        + world.virtual_host("bob", BOB, extra.format("bob"), {"index.html": "bob\n", "secret.txt": "bob's own\n"})
    )
    server.get("alice.test")
    server.get("bob.test")
    return server


def as_owner(uid: int, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code as an owner, the way a script of theirs could."""
    return subprocess.run(
        [PYTHON, "-c", textwrap.dedent(code), *arguments],
        user=uid,
        group=uid,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=30,
        cwd="/",
    )


# 1. A process that has read a byte from the network holds a capability, or could regain root.


@pytest.mark.parametrize("role", ["gate", "worker", "logger"])
def test_1_no_process_near_the_network_has_or_can_regain_a_capability(two: Server, role: str) -> None:
    for process in two.processes(role):
        status = process.status
        for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, (role, name)
        # No set-user-id program helps, and the kernel's filter is on.
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert "0" not in status["Uid"].split() + status["Gid"].split()


def test_1_the_privileged_processes_have_no_socket_of_the_network(two: Server) -> None:
    with two.connect():
        inet = {
            f"socket:[{line.split()[9]}]"
            for table in ("tcp", "tcp6", "udp", "udp6")
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
            if line.split()[3] != "0A"  # the supervisor holds the listeners, and accepts nothing
        }
        for role in ("supervisor", "forkserver"):
            assert inet.isdisjoint(two.processes(role)[0].descriptors().values())


# 2. A worker reaches another identity.


def test_2_no_worker_gate_or_forkserver_holds_another_owners_settings(two: Server) -> None:
    secrets = {ALICE: b"alice-has-a-secret-9f31", BOB: b"bob-has-a-secret-9f31"}
    assert two.worker(ALICE).holds(secrets[ALICE]), "the search itself does not work"
    assert not two.worker(ALICE).holds(secrets[BOB])
    assert not two.worker(BOB).holds(secrets[ALICE])
    for role in ("gate", "logger", "forkserver"):
        for process in two.processes(role):
            for secret in secrets.values():
                assert not process.holds(secret), f"the {role} holds an owner's secret"


def test_2_a_secret_of_the_environment_is_its_users_alone(world: World) -> None:
    os.environ["OWNHOST_TEST_SECRET"] = "from-the-environment-77aa"
    try:
        server = world.server(
            world.virtual_host("alice", ALICE, "SetEnv KEY ${OWNHOST_TEST_SECRET}\n") + world.virtual_host("bob", BOB)
        )
    finally:
        del os.environ["OWNHOST_TEST_SECRET"]
    server.get("alice.test")
    server.get("bob.test")
    secret = b"from-the-environment-77aa"
    assert server.worker(ALICE).holds(secret)
    for process in server.processes("gate") + server.processes("forkserver") + [server.worker(BOB)]:
        assert not process.holds(secret), process.title


def test_2_workers_share_no_descriptor_but_pairs_of_their_own(two: Server) -> None:
    alice, bob = (set(two.worker(uid).descriptors().values()) for uid in (ALICE, BOB))
    common = {name for name in alice & bob if not name.startswith("anon_inode:")}
    assert common <= {"/dev/null"}


def test_2_workers_share_no_writable_memory(two: Server) -> None:
    def shared(process: Process) -> dict[str, str]:
        """Device, inode and name of what it may write to and others may have mapped."""
        lines = [line.split() for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines()]
        return {f"{line[3]} {line[4]}": line[5] for line in lines if line[1][1] == "w" and line[1][3] == "s"}

    everybody = [process for process in two.processes() if process.role not in ("supervisor", "forkserver", "spare")]
    pages = [shared(process) for process in everybody]
    # Each has a page of its own, on which it says what its loop does, and which the supervisor reads.
    assert all(list(page.values()) == ["/memfd:heartbeat"] for page in pages), pages
    assert len(set().union(*pages)) == len(everybody)
    (supervisor,) = two.processes("supervisor")
    assert not any(name == "/memfd:heartbeat" for name in shared(supervisor).values())


@pytest.mark.parametrize("what", ["mem", "maps", "fd/0", "environ", "root/etc/passwd"])
def test_2_an_owner_cannot_look_into_any_process_not_even_the_own_worker(two: Server, what: str) -> None:
    code = """
        import os, sys
        try:
            os.readlink(sys.argv[1]) if "/fd/" in sys.argv[1] else open(sys.argv[1], "rb").read(1)
        except PermissionError:
            print("refused")
    """
    for process in two.processes():
        result = as_owner(ALICE, code, f"/proc/{process.pid}/{what}")
        assert result.stdout == "refused\n", (process.title, result)


def test_2_an_owner_cannot_trace_or_signal_the_neighbours_processes(two: Server) -> None:
    code = """
        import ctypes, os, sys
        libc = ctypes.CDLL(None, use_errno=True)
        pid = int(sys.argv[1])
        print("attached" if libc.ptrace(16, pid, 0, 0) == 0 else "refused")
        try:
            os.kill(pid, 0)
            print("signalled")
        except PermissionError:
            print("refused")
    """
    others = [process for process in two.processes() if process.uid != ALICE]
    assert len(others) >= 5
    for process in others:
        assert as_owner(ALICE, code, str(process.pid)).stdout == "refused\nrefused\n", process.title
    # The own worker may be signalled, as any process of one's own; looking into it is refused.
    assert as_owner(ALICE, code, str(two.worker(ALICE).pid)).stdout.startswith("refused\n")


@pytest.mark.parametrize("name", ["bob.error", "bob.access", "bob/secret.txt", "error.log", "alice.access"])
def test_2_an_owner_cannot_open_the_neighbours_files_nor_any_log(two: Server, name: str) -> None:
    code = """
        import sys
        for mode in ("r", "a", "r+"):
            try:
                open(sys.argv[1], mode)
                print("opened", mode)
            except PermissionError:
                pass
    """
    assert as_owner(ALICE, code, str(two.folder / name)).stdout == ""


# 3. What a worker says is believed where a lie would hurt another owner.


def test_3_an_address_comes_from_the_kernel_whatever_a_client_says(world: World) -> None:
    server = world.server(
        'LogFormat "%h %a" who\n' + world.virtual_host("alice", ALICE, "CustomLog @DIR@/alice.access who\n")
    )
    server.get("alice.test", X_Forwarded_For="203.0.113.9", Forwarded="for=203.0.113.9")
    eventually(lambda: server.log("alice.access"))
    assert server.log("alice.access") == "127.0.0.1 127.0.0.1\n"


@pytest.mark.parametrize("data", [b"nonsense", b'["Fork", {"serial": 1}]', b'["Want", {"identity": 0}]', b"\xff" * 900])
def test_3_a_process_that_says_what_it_may_not_is_ended(two: Server, data: bytes) -> None:
    """As root, take a worker's own end of its channel (pidfd_getfd) and speak in its place."""
    worker = two.worker(ALICE)
    channel = steal(worker.pid, 3)
    os.write(channel, data)
    os.close(channel)
    eventually(lambda: not worker.alive, message="it lives on")
    eventually(lambda: "broke the protocol" in two.log())
    assert two.get("bob.test").status == 200
    assert two.get("alice.test").status == 200


# 5. A request is lost because a worker started, left, was recycled: tests/server/test_owners.py, test_deaths.py.

# 6. One owner's slow, broken or hostile program slows another's requests.


def test_6_a_stopped_worker_leaves_the_neighbours_alone(two: Server) -> None:
    """alice's only worker stands still, and more clients pile up than its mailbox holds: bob's are answered; and
    once it goes on, hers are, too, every one."""
    worker = two.worker(ALICE)
    os.kill(worker.pid, signal.SIGSTOP)
    stuck = []
    try:
        for _ in range(600):
            sock = two.connect()
            sock.sendall(b"GET / HTTP/1.1\r\nHost: alice.test\r\n\r\n")
            stuck.append(sock)
        for _ in range(20):
            assert two.get("bob.test").status == 200
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    for sock in stuck:
        with sock:
            assert sock.recv(12) == b"HTTP/1.1 200"


def test_6_a_worker_that_floods_a_shared_log_delays_only_itself(world: World) -> None:
    server = world.server(world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))
    with server.connect() as flood:
        flood.sendall(b"GET /no-such-file HTTP/1.1\r\nHost: alice.test\r\n\r\n" * 500)
        assert server.get("bob.test", "/bobs-own-mistake").status == 404
        eventually(lambda: "bobs-own-mistake" in server.log())


def test_6_clients_that_never_finish_a_head_keep_nobody_out(two: Server) -> None:
    slow = []
    for _ in range(300):
        sock = two.connect()
        sock.sendall(b"GET / HTTP/1.1\r\nHost: al")
        slow.append(sock)
    assert two.get("alice.test").status == 200
    assert two.get("bob.test").status == 200
    for sock in slow:
        sock.close()


def test_gates_are_not_root_and_nobody_who_serves(two: Server) -> None:
    assert {process.uid for process in two.processes("gate")} == {GATE}
