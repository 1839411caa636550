"""The main job: every virtual host served as its owner."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from pathlib import Path

import pytest

from encrypted import Sites, curl
from harness import ALICE, BOB, CAROL, GATE, LOGGER, WWW, Process, Server, World
from installing import install
from waiting import eventually, is_silent


@pytest.fixture
def two(world: World) -> Server:
    """alice.test and bob.test, trees 0700."""
    return world.server(world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))


def test_each_owner_is_served_from_a_tree_that_nobody_else_can_read(two: Server) -> None:
    for name in ("alice", "bob"):
        response = two.get(f"{name}.test")
        assert (response.status, response.content) == (200, f"{name}\n".encode())


def test_every_process_is_who_it_should_be(two: Server) -> None:
    two.get("alice.test")
    two.get("bob.test")
    roles = sorted((process.role, process.uid) for process in two.processes())
    assert [role for role in roles if role[0] == "worker"] == [("worker", ALICE), ("worker", BOB)]
    assert {role for role in roles if role[0] in ("supervisor", "forkserver")} == {("forkserver", 0), ("supervisor", 0)}
    assert {role for role in roles if role[0] in ("gate", "logger")} == {("gate", GATE), ("logger", LOGGER)}


@pytest.mark.parametrize("uid", [ALICE, BOB])
def test_a_worker_is_its_owner_and_nothing_more(two: Server, uid: int) -> None:
    two.get("alice.test")
    two.get("bob.test")
    status = two.worker(uid).status
    assert status["Uid"].split() == [str(uid)] * 4
    assert status["Gid"].split() == [str(uid)] * 4
    assert status["Groups"] == ""
    assert_fenced(status)


def assert_fenced(status: dict[str, str]) -> None:
    for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_gates_and_logger_are_fenced(two: Server) -> None:
    fenced = two.processes("gate") + two.processes("logger")
    assert {process.role for process in fenced} == {"gate", "logger"}
    for process in fenced:
        eventually(lambda: process.status["Seccomp"] == "2")  # noqa: B023
        assert_fenced(process.status)
        assert process.status["Groups"] == ""


def test_the_privileged_processes_keep_only_what_they_use(two: Server) -> None:
    names = {
        1: "dac_override",
        5: "kill",
        6: "setgid",
        7: "setuid",
        8: "setpcap",
        10: "net_bind_service",
        23: "sys_nice",
    }

    def capabilities(role: str, field: str) -> set[str]:
        bits = int(two.processes(role)[0].status[field], 16)
        return {names.get(bit, str(bit)) for bit in range(64) if bits >> bit & 1}

    for field in ("CapEff", "CapPrm"):
        assert capabilities("supervisor", field) == {"dac_override", "net_bind_service"}
        assert capabilities("forkserver", field) == {"setuid", "setgid", "setpcap", "kill", "sys_nice"}


def test_a_request_for_another_owner_ends_the_connection(two: Server) -> None:
    """A socket that alice's worker has had is hers for life. What may be repeated is met by silence, as by mpm-itk."""
    for asked, other in (("alice", "bob"), ("bob", "alice")):
        client = two.client()
        for _ in range(3):
            client.request("GET", "/", headers={"Host": f"{asked}.test"})
            response = client.getresponse()
            assert (response.status, response.read()) == (200, f"{asked}\n".encode())
        client.request("GET", "/", headers={"Host": f"{other}.test"})
        with pytest.raises(http.client.RemoteDisconnected):
            client.getresponse()
        client.request("GET", "/", headers={"Host": f"{other}.test"})  # http.client opens another connection
        assert client.getresponse().read() == f"{other}\n".encode()
        client.close()


def test_what_may_not_be_repeated_is_told_421(two: Server) -> None:
    first = b"GET / HTTP/1.1\r\nHost: alice.test\r\n\r\n"
    second = b"POST / HTTP/1.1\r\nHost: bob.test\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000
    answer = two.raw(first + second + first)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"421"]
    assert b"Connection: close" in answer.rpartition(b"HTTP/1.1 421")[2]
    assert not [process for process in two.processes("worker") if process.uid == BOB]


def test_what_came_before_another_owners_request_is_answered(two: Server) -> None:
    """Pipelined."""
    requests = b"".join(
        f"GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n".encode() for name in ("alice", "alice", "bob", "alice")
    )
    answer = two.raw(requests)
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [b"alice\n", b"alice\n"]


def test_names_of_one_owner_share_a_connection(world: World) -> None:
    """Also those that no virtual host goes by, where the first at the address is the owner's."""
    both = world.virtual_host("alice", ALICE) + world.virtual_host("second", ALICE, "ServerAlias *.second.test\n")
    server = world.server(both + world.virtual_host("bob", BOB))
    client = server.client()
    for name, says in (("second", "second"), ("alice", "alice"), ("x.second", "second"), ("unknown", "alice")) * 2:
        client.request("GET", "/", headers={"Host": f"{name}.test"})
        assert client.getresponse().read() == f"{says}\n".encode()
        local = client.sock.getsockname() if client.sock else None
    assert local is not None
    client.request("GET", "/", headers={"Host": "bob.test"})
    with pytest.raises(http.client.RemoteDisconnected):
        client.getresponse()
    client.close()


def test_the_neighbours_file_through_a_symlink_is_refused_by_the_kernel(world: World) -> None:
    config = world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB, files={"secret.txt": "bob's\n"})
    link = world.folder / "alice" / "theirs.txt"
    link.symlink_to(world.folder / "bob" / "secret.txt")
    server = world.server(config)
    assert server.get("alice.test", "/theirs.txt").status == 403
    assert server.get("bob.test", "/secret.txt").status == 200


def test_what_no_virtual_host_claims_runs_as_user_and_group(world: World) -> None:
    root = world.site("main", WWW, {"index.html": "main\n"})
    server = world.server(f"DocumentRoot {root}\n<Directory {root}>\nRequire all granted\n</Directory>\n")
    assert server.get("whatever.test").content == b"main\n"
    assert server.worker(WWW).role == "worker"


def test_folders_locations_and_files_of_other_owners(world: World) -> None:
    alice = world.site("alice", ALICE, {"index.html": "alice\n"})
    alice.chmod(0o711)
    inner = alice / "bob"
    inner.mkdir()
    (inner / "index.html").write_text("bob\n")
    (alice / "carol.txt").write_text("carol\n")
    for path, uid, mode in (
        (inner, BOB, 0o700),
        (inner / "index.html", BOB, 0o600),
        (alice / "carol.txt", CAROL, 0o600),
    ):
        os.chown(path, uid, uid)
        path.chmod(mode)
    server = world.server(
        f'<VirtualHost *:@PORT@>\nServerName alice.test\nDocumentRoot {alice}\nAssignUserID "#{ALICE}" "#{ALICE}"\n'
        f"<Directory {alice}>\nRequire all granted\n</Directory>\n"
        f'<Directory {inner}>\nAssignUserID "#{BOB}" "#{BOB}"\n</Directory>\n'
        f'<Files carol.txt>\nAssignUserID "#{CAROL}" "#{CAROL}"\n</Files>\n</VirtualHost>\n'
    )
    client = server.client()
    for uri, content in (("/", b"alice\n"), ("/bob/", b"bob\n"), ("/carol.txt", b"carol\n")) * 3:
        client.request("GET", uri, headers={"Host": "alice.test"})
        response = client.getresponse()
        assert (response.status, response.read()) == (200, content), uri
    client.close()
    assert {process.uid for process in server.processes("worker")} == {ALICE, BOB, CAROL}


def test_an_owner_who_does_not_exist_harms_nobody_else(world: World) -> None:
    root = world.site("nobody-there", CAROL)
    server = world.server(
        world.virtual_host("alice", ALICE)
        + f"<VirtualHost 127.0.0.1:@PORT@>\nServerName gone.test\nDocumentRoot {root}\n"
        "AssignUserID no-such-user-here no-such-group-here\n</VirtualHost>\n"
    )
    assert server.get("alice.test").status == 200
    assert server.get("gone.test").status == 500
    eventually(lambda: "no-such-user-here" in server.log(), message="the log does not name the user")


@pytest.mark.parametrize("who", ["root root", '"#0" "#0"', f'"#{ALICE}" "#0"', f'root "#{ALICE}"'])
def test_root_is_never_an_owner(world: World, who: str) -> None:
    root = world.site("files", WWW)
    server = world.server(
        f"<VirtualHost *:@PORT@>\nServerName root.test\nDocumentRoot {root}\nAssignUserID {who}\n"
        f"<Directory {root}>\nRequire all granted\n</Directory>\n</VirtualHost>\n"
    )
    assert server.get("root.test").status == 500
    eventually(lambda: "LimitUIDRange" in server.log() or "LimitGIDRange" in server.log())


def test_workers_leave_when_idle_and_come_back_when_asked(world: World) -> None:
    server = world.server("WorkerIdleTimeout 1\n" + world.virtual_host("alice", ALICE))
    assert server.get("alice.test").status == 200
    first = server.worker(ALICE).pid
    eventually(lambda: not server.processes("worker"), 10, "the idle worker stayed")
    assert server.get("alice.test").status == 200
    assert server.worker(ALICE).pid != first


def test_no_request_is_lost_while_workers_come_and_go(world: World) -> None:
    server = world.server("WorkerIdleTimeout 1\n" + world.virtual_host("alice", ALICE))
    pids: set[int] = set()
    end = time.monotonic() + 60
    pause = 0.9
    while len(pids) < 3 and time.monotonic() < end:  # asked again around the moment at which a worker leaves
        assert server.get("alice.test").status == 200
        pids |= {process.pid for process in server.processes("worker")}
        worker = os.pidfd_open(server.worker(ALICE).pid)
        is_silent(worker, pause)  # until it ends
        os.close(worker)
        pause += 0.05
    assert len(pids) > 1, "no worker left: this test saw nothing"


def test_titles_say_role_owner_and_load(two: Server) -> None:
    client = two.client()
    client.request("GET", "/", headers={"Host": "alice.test"})
    client.getresponse().read()
    worker = two.worker(ALICE)
    eventually(lambda: worker.title == f"ownhost: worker #{ALICE} (1 connection)", message=worker.title)
    client.close()


def test_a_thousand_owners(world: World) -> None:
    count = 1000
    parts = []
    for number in range(count):
        uid = 60_001 + number
        root = world.site(f"site{number}", uid, {"index.html": f"site {number}\n"})
        parts.append(
            f"<VirtualHost 127.0.0.1:@PORT@>\nServerName site{number}.test\nDocumentRoot {root}\n"
            f'AssignUserID "#{uid}" "#{uid}"\n<Directory {root}>\nRequire all granted\n</Directory>\n</VirtualHost>\n'
        )
    server = world.server("".join(parts))
    for number in (0, 1, 499, 998, 999):
        assert server.get(f"site{number}.test").content == f"site {number}\n".encode()
        assert server.worker(60_001 + number)
    assert len(server.processes("worker")) == 5


def test_started_without_root_it_serves_the_caller_alone(world: World) -> None:
    root = world.site("alice", ALICE)
    world.folder.chmod(0o777)
    config = (
        f'ServerRoot "@DIR@"\nListen 127.0.0.1:@PORT@\nServerName alice.test\nErrorLog @DIR@/own.log\n'
        f"DocumentRoot {root}\n<Directory {root}>\nRequire all granted\n</Directory>\n"
    )
    server = world.server(config, preamble=False, start=False)
    run_as(ALICE, server)
    eventually(lambda: "listening on" in server.stderr, 30)
    assert server.get("alice.test").content == b"alice\n"
    assert {process.uid for process in server.processes()} == {ALICE}

    other = world.server(config + f'AssignUserID "#{BOB}" "#{BOB}"\n', preamble=False, start=False)
    run_as(ALICE, other)
    assert other.process is not None
    assert other.process.wait(20) == 1
    assert "needs root" in other.stderr


def test_installed_in_a_home_that_nobody_else_may_enter(world: World, sites: Sites) -> None:
    """What serves reads nothing of the installation's any more once it is somebody: all is loaded by then.

    Owners' applications run on a Python that is not in there.
    """
    home = world.site("carol", CAROL, {})
    scripts = f"ScriptAlias /cgi/ {world.folder}/alice/cgi/\nWSGIScriptAlias /app {world.folder}/alice/app.wsgi\n"
    files = {
        "index.html": "alice\n",
        "cgi/x": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; id -u\n",
        "app.wsgi": (
            "import sys\n"
            "def application(environ, start_response):\n"
            "    start_response('200 OK', [])\n"
            "    return [sys.executable.encode()]\n"
        ),
    }
    server = world.server(
        sites.virtual_host("alice", ALICE, scripts, files) + sites.virtual_host("bob", BOB), start=False
    )
    server.start(python=install(home / "installed", "--copies"))
    assert sites.get(server, "alice.test").content == b"alice\n"
    assert sites.get(server, "alice.test", "/cgi/x").content == f"{ALICE}\n".encode()
    assert sites.get(server, "alice.test", "/app").content == b"/usr/bin/python3"
    assert curl(sites, server, "bob.test", "/", "--http2").stdout == b"bob\n"
    assert "Traceback" not in server.stderr + server.log()


def run_as(uid: int, server: Server) -> None:
    """Start a server as somebody without root's rights, from an installation that everybody can read."""
    python = install(server.folder / "installed")
    with open(server.folder / "stderr", "wb") as stderr:
        server.process = subprocess.Popen(
            [python, "-m", "ownhost", "run", "-f", str(server.config)],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
        )


def test_a_worker_has_its_own_logs_and_sockets_only(world: World) -> None:
    logs = "ErrorLog @DIR@/{0}.error\nCustomLog @DIR@/{0}.access common\n"
    server = world.server(
        'LogFormat "%h %t \\"%r\\" %>s %b" common\n'
        + world.virtual_host("alice", ALICE, logs.format("alice"))
        + world.virtual_host("bob", BOB, logs.format("bob"))
    )
    server.get("alice.test")
    server.get("bob.test")
    for uid, own, other in ((ALICE, "alice", "bob"), (BOB, "bob", "alice")):
        worker = server.worker(uid)
        open_files = set(worker.descriptors().values())
        assert {str(world.folder / f"{own}.error"), str(world.folder / f"{own}.access")} <= open_files
        assert not any(other in name for name in open_files)
        assert listening_inodes().isdisjoint(open_files)
    assert any(name in listening_inodes() for name in server.processes("gate")[0].descriptors().values())


def listening_inodes() -> set[str]:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return {f"socket:[{line.split()[9]}]" for line in lines if line.split()[3] == "0A"}


def test_a_request_in_many_small_pieces(two: Server) -> None:
    with two.connect() as sock:
        for byte in b"GET / HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n":
            sock.sendall(bytes([byte]))
            is_silent(sock, 0.002)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    assert answer.endswith(b"alice\n")


def test_a_gate_that_waits_for_the_rest_of_a_head_does_not_spin(two: Server) -> None:
    gates = two.processes("gate")
    with two.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: alice.te")
        assert is_silent(sock, 0.3)
        before = sum(map(cpu_ticks, gates))
        assert is_silent(sock, 1.0)
        assert sum(map(cpu_ticks, gates)) - before <= 10
        sock.sendall(b"st\r\nConnection: close\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def cpu_ticks(process: Process) -> int:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_http_client_sees_keep_alive(two: Server) -> None:
    client = two.client()
    for _ in range(3):
        client.request("GET", "/", headers={"Host": "alice.test"})
        response = client.getresponse()
        assert isinstance(response, http.client.HTTPResponse)
        assert response.read() == b"alice\n"
        assert not response.will_close
    client.close()
