"""How many programs an identity has, how long they live, and what is left when a process dies or stands still."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness import ALICE, BOB, Process, Server, World, standing
from waiting import eventually

STORMY = 50071  # a uid of this file's own: what it may have of processes is used up
# Each says that it has started, waits for the file "go", and ends.
BLOCK = {
    "block.cgi": "#!/bin/sh\necho Content-Type: text/plain; echo; touch started.$$\n"
    "while [ ! -e go ]; do sleep 0.05; done; echo done\n",
    "block.php": "<?php touch('started.' . getmypid()); while (!file_exists('go')) { usleep(50000); clearstatcache(); }"
    "echo 'done';",
}
PID = {
    "pid.cgi": "#!/bin/sh\necho Content-Type: text/plain; echo; echo $$\n",
    "pid.php": "<?php echo getmypid();",
}
WSGI = """
import os, time
folder = os.path.dirname(os.path.abspath(__file__))
def application(environ, start_response):
    if environ["PATH_INFO"] == "/block":
        open(f"{folder}/started.{os.getpid()}", "w").close()
        while not os.path.exists(f"{folder}/go"):
            time.sleep(0.05)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
LEAVES = """#!/bin/sh
echo Content-Type: text/plain; echo
sleep 1000 </dev/null >/dev/null 2>&1 &
setsid sh -c 'sleep 1000 & exec sleep 1000' </dev/null >/dev/null 2>&1 &
echo here
"""
WAYS = ("pid.cgi", "pid.php", "app")


def host(world: World, name: str, uid: int, extra: str = "", **files: str) -> str:
    """A virtual host with programs of every kind."""
    root = world.folder / name
    settings = (
        f"AddHandler cgi-script .cgi\nAddHandler application/x-httpd-php .php\nWSGIScriptAlias /app {root}/app.wsgi\n"
        f"<Directory {root}>\nOptions +ExecCGI\n</Directory>\n{extra}"
    )
    files = {"index.html": f"{name}\n", "app.wsgi": WSGI, "leaves.cgi": LEAVES, **BLOCK, **PID, **files}
    text = world.virtual_host(name, uid, settings, dict(files))
    for script in root.glob("*.cgi"):
        script.chmod(0o700)
    return text


def two(world: World, main: str = "", extra: str = "", **files: str) -> Server:
    """alice.test and bob.test."""
    return world.server(main + host(world, "alice", ALICE, extra, **files) + host(world, "bob", BOB))


@contextmanager
def asked(server: Server, *paths: str, name: str = "alice.test") -> Iterator[list[socket.socket]]:
    """Requests that are under way."""
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect(30)) for _ in paths]
        for client, path in zip(clients, paths, strict=True):
            client.sendall(f"GET /{path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        yield clients


def answer(client: socket.socket) -> bytes:
    data = b""
    while chunk := client.recv(65536):
        data += chunk
    return data


def started(server: Server) -> int:
    return len(list((server.folder / "alice").glob("started.*")))


def titled(server: Server, pattern: str, uid: int = ALICE) -> list[Process]:
    """An owner's processes that ps(1) shows so."""
    found = [process for process in server.processes() if process.alive and process.uid == uid]
    return [process for process in found if re.search(pattern, command(process))]


def command(process: Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


# How many


def test_an_identitys_programs_share_max_request_workers_and_a_queue(world: World) -> None:
    """Of whatever kind they are: two are at work and two wait, so three of five more are refused."""
    server = two(world, "MaxRequestWorkers 2\nListenBacklog 2\n")
    with asked(server, "block.cgi", "app/block") as at_work:
        eventually(lambda: started(server) == 2)
        with asked(server, "block.php", "pid.cgi", "pid.php", "app", "block.cgi") as more:
            eventually(lambda: len(answered(more)) == 3)
            refused = answered(more)
            assert all(b" 503 " in answer(client) for client in refused)
            assert started(server) == 2, "somebody began before a turn was free"
            assert server.get("alice.test", "/index.html").status == 200, "files need no turn"
            assert server.get("bob.test", "/pid.cgi").status == 200
            (server.folder / "alice/go").touch()
            assert all(b" 200 " in answer(client) for client in more if client not in refused)
        assert all(b" 200 " in answer(client) for client in at_work)
    eventually(lambda: "MaxRequestWorkers 2 are at work" in server.log())


def answered(clients: list[socket.socket]) -> list[socket.socket]:
    return select.select(clients, [], [], 0)[0]


def test_a_request_waits_for_its_turn_no_longer_than_timeout(world: World) -> None:
    extra = "WSGIDaemonProcess a request-timeout=30\nWSGIProcessGroup a\n"
    server = two(world, "MaxRequestWorkers 1\nTimeout 1\n", extra)
    with asked(server, "app/block"):
        eventually(lambda: started(server) == 1)
        assert server.get("alice.test", "/pid.cgi").status == 503
    eventually(lambda: "no turn within 1 s" in server.log())


def test_whoever_leaves_gives_its_turn_and_its_place_back(world: World) -> None:
    server = two(world, "MaxRequestWorkers 1\nListenBacklog 1\n")
    with asked(server, "block.cgi"):
        eventually(lambda: started(server) == 1)
        with asked(server, "block.cgi", "block.cgi") as waiting:
            eventually(lambda: len(answered(waiting)) == 1, message="one has to wait, the other is refused")
    eventually(lambda: server.get("alice.test", "/pid.cgi").status == 200)


def test_a_turn_that_is_kept_for_the_next_request_is_given_to_who_waits(world: World) -> None:
    """Workers keep the use of an app for a second, in case that another request comes: not while others wait."""
    server = two(world, "MaxRequestWorkers 1\nTimeout 1\n")
    for path in WAYS * 5:
        assert server.get("alice.test", f"/{path}").status == 200


@pytest.mark.parametrize("path", ["pid.php", "app"])
def test_max_connections_per_child_1_is_a_fresh_process_for_each_request(world: World, path: str) -> None:
    server = two(world, "MaxConnectionsPerChild 1\n")
    answers = [server.get("alice.test", f"/{path}") for _ in range(4)]
    assert [one.status for one in answers] == [200] * 4
    assert len({one.content for one in answers}) == 4


@pytest.mark.parametrize("path", ["pid.php", "app"])
def test_without_a_limit_a_process_stays(world: World, path: str) -> None:
    server = two(world)
    pids = [server.get("alice.test", f"/{path}").content for _ in range(8)]
    assert len(set(pids)) <= 2, "php-fpm may have forked a second one before the first was idle again"


@pytest.mark.parametrize("said", ["StartServers 3\nMinSpareServers 2\nMaxSpareServers 3\n", "StartServers 3\n"])
@pytest.mark.parametrize(("path", "title"), [("pid.php", "php-fpm: pool"), ("app", "wsgi_runner")])
def test_spare_processes_wait_for_requests_to_come(world: World, said: str, path: str, title: str) -> None:
    server = two(world, said)
    assert server.get("alice.test", f"/{path}").status == 200
    eventually(lambda: len(titled(server, title)) == 3)
    assert titled(server, title, BOB) == [], "nobody has asked for bob's"


@pytest.mark.parametrize(("path", "title"), [("block.php", "php-fpm: pool"), ("app/block", "wsgi_runner")])
def test_more_idle_processes_than_max_spare_servers_end(world: World, path: str, title: str) -> None:
    server = two(world, "MinSpareServers 1\nMaxSpareServers 2\nWSGIDaemonProcess a processes=8\nWSGIProcessGroup a\n")
    with asked(server, *[path] * 5) as clients:
        eventually(lambda: started(server) == 5)
        (server.folder / "alice/go").touch()
        assert all(b" 200 " in answer(client) for client in clients)
    eventually(lambda: 1 <= len(titled(server, title)) <= 2, 30)


def test_an_idle_app_ends_and_comes_back(world: World) -> None:
    server = two(world, extra="WSGIDaemonProcess a inactivity-timeout=1\nWSGIProcessGroup a\n")
    assert server.get("alice.test", "/app").status == 200
    (before,) = titled(server, "wsgi_runner")
    eventually(lambda: not before.alive)
    assert server.get("alice.test", "/app").status == 200


# Deaths


def busy(world: World) -> tuple[Server, list[Process]]:
    """A server with programs of every kind, some of which have left others running; and all of its processes."""
    server = two(world)
    for path in ("pid.php", "app", "leaves.cgi"):
        assert server.get("alice.test", f"/{path}").status == 200
    eventually(lambda: len(titled(server, "^sleep 1000")) == 3)
    eventually(lambda: titled(server, "php-fpm: pool"))
    return server, server.processes()


@pytest.mark.parametrize(
    ("role", "number"),
    [("supervisor", signal.SIGKILL), ("supervisor", signal.SIGTERM), ("forkserver", signal.SIGKILL)],
)
def test_no_program_outlives_the_server(world: World, role: str, number: int) -> None:
    server, _ = busy(world)
    with asked(server, "block.cgi", "app/block", "block.php"):
        eventually(lambda: started(server) == 3)
        everybody = server.processes()
        os.kill(next(one.pid for one in everybody if one.role == role), number)
        eventually(lambda: left(everybody) == [], message=f"left: {left(everybody)}")
    assert server.process is not None
    server.process.wait(15)


def test_a_launcher_that_stands_still_does_not_outlive_the_forkserver(world: World) -> None:
    """Nor does what its programs left running: it goes on, and ends that first."""
    server, everybody = busy(world)
    with standing(titled(server, "ownhost: launcher")):
        os.kill(next(one.pid for one in everybody if one.role == "forkserver"), signal.SIGKILL)
        eventually(lambda: left(everybody) == [], message=f"left: {left(everybody)}")


def left(processes: list[Process]) -> list[str]:
    return [command(process) for process in processes if process.alive]


def test_a_killed_launcher_takes_its_programs_along_and_is_replaced(world: World) -> None:
    server, _ = busy(world)
    (launcher,) = titled(server, "ownhost: launcher")
    with asked(server, "block.cgi", "app/block", "block.php") as clients:
        eventually(lambda: started(server) == 3)
        eventually(lambda: len(titled(server, "^(?!ownhost)")) >= 8)
        programs = titled(server, "^(?!ownhost)")
        os.kill(launcher.pid, signal.SIGKILL)
        eventually(lambda: left(programs) == [], message=f"left: {left(programs)}")
        assert not any(b"done" in answer(client) for client in clients)
    for path in WAYS:
        assert server.get("alice.test", f"/{path}").status == 200
    assert launcher.pid not in {process.pid for process in titled(server, "ownhost: launcher")}


def test_a_killed_worker_takes_the_programs_of_its_requests_along(world: World) -> None:
    server = two(world)
    with asked(server, "block.cgi"):
        eventually(lambda: started(server) == 1)
        (program,) = titled(server, "block.cgi")
        os.kill(server.worker(ALICE).pid, signal.SIGKILL)
        eventually(lambda: not program.alive)
    assert server.get("alice.test", "/pid.cgi").status == 200


def test_a_stop_leaves_no_folder_behind(world: World) -> None:
    server, _ = busy(world)
    commands = " ".join(command(process) for process in titled(server, "^(?!ownhost)"))
    folders = [Path(name) for name in re.findall(r"(/\S+)/(?:fpm\.conf|wsgi_runner\.py)", commands)]
    assert len(folders) == 2
    assert all((folder / "socket").exists() for folder in folders)
    assert server.stop() == 0
    assert not any(folder.exists() for folder in folders)


# Programs that hurt, and processes that stand still


def test_a_launcher_that_stands_still_costs_its_owner_a_503_and_others_nothing(world: World) -> None:
    server = two(world, "Timeout 2\n")
    for name in ("alice.test", "bob.test"):
        assert server.get(name, "/pid.cgi").status == 200
    paths = [f"{way}?{number}" for way in WAYS for number in range(9)]
    with standing(titled(server, "ownhost: launcher")), asked(server, *paths) as clients:
        for path in ("index.html", *WAYS):
            assert server.get("bob.test", f"/{path}").status == 200
        assert server.get("alice.test", "/index.html").status == 200
        assert {answer(client).split()[1] for client in clients} == {b"503"}
    for path in WAYS:
        assert server.get("alice.test", f"/{path}").status == 200


@pytest.mark.parametrize(("path", "title"), [("pid.php", "php-fpm"), ("app", "wsgi_runner")])
def test_an_app_that_stands_still_costs_its_owner_a_504_and_others_nothing(world: World, path: str, title: str) -> None:
    server = two(world, "Timeout 2\n", "WSGIDaemonProcess a processes=1\nWSGIProcessGroup a\n")
    assert server.get("alice.test", f"/{path}").status == 200
    with standing(titled(server, title)), asked(server, path) as (client,):
        for name, other in (("bob.test", path), ("alice.test", "pid.cgi"), ("alice.test", "index.html")):
            assert server.get(name, f"/{other}").status == 200
        assert answer(client).split()[1] == b"504"
    assert server.get("alice.test", f"/{path}").status == 200


def test_a_server_stops_though_a_launcher_stands_still(world: World) -> None:
    server, everybody = busy(world)
    with standing(titled(server, "ownhost: launcher")):
        assert server.stop() == 0
    assert left(everybody) == []


STORM = """#!/bin/sh
echo Content-Type: text/plain; echo
storm() { while :; do storm & done 2>/dev/null; }
storm
"""
LOOP = "#!/bin/sh\necho Content-Type: text/plain; echo; while :; do :; done\n"


@pytest.mark.parametrize("script", [LOOP, STORM])
def test_a_loop_or_a_storm_of_forks_leaves_the_others_answering(world: World, script: str) -> None:
    stormy = host(world, "stormy", STORMY, "RLimitNPROC 20 20\n", **{"storm.cgi": script})
    server = world.server(stormy + host(world, "bob", BOB))
    with asked(server, "storm.cgi", name="stormy.test") as (client,):
        assert b" 200 " in client.recv(4096)
        for path in ("index.html", *WAYS):
            assert server.get("bob.test", f"/{path}").status == 200
        assert len(titled(server, "storm.cgi", STORMY)) <= 20
    eventually(lambda: titled(server, "storm.cgi", STORMY) == [], message="the storm goes on though its client left")
    assert server.get("stormy.test", "/index.html").status == 200
