"""What a worker keeps of its connection to php-fpm between requests, and when it does not count on it."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from harness import ALICE, Server, World
from waiting import eventually

PHP = "AddHandler application/x-httpd-php .php\n"
PID = "<?php echo getmypid();"
# Says that it has answered, and goes on until the file "go" is there.
GOES_ON = (
    "<?php echo getmypid(); fastcgi_finish_request(); while (!file_exists('go')) { usleep(10000); clearstatcache(); }"
)
COUNTS = "<?php file_put_contents('count', 'x', FILE_APPEND); posix_kill(getmypid(), 9); sleep(10);"
READS_NOTHING = "<?php echo $_SERVER['CONTENT_LENGTH'];"
FILES = {
    "pid.php": PID,
    "goes-on.php": GOES_ON,
    "counts.php": COUNTS,
    "posted.php": READS_NOTHING,
    "complains.php": "<?php error_log('one'); error_log('two'); echo getmypid();",
    "exits.php": "<?php echo getmypid(); exit(3);",
}


def serve(world: World, main: str = "", extra: str = "") -> Server:
    return world.server(main + world.virtual_host("alice", ALICE, PHP + extra, dict(FILES)))


def text(server: Server, path: str, name: str = "alice.test") -> str:
    response = server.get(name, path)
    assert response.status == 200
    return str(response.content.decode())


def lines(server: Server) -> int:
    """Connections that php-fpm's processes have."""
    fpm = [process.pid for process in server.processes() if process.alive and process.title.startswith("php-fpm: pool")]
    inodes = {
        line.split()[6]
        for line in Path("/proc/net/unix").read_text().splitlines()
        if "/ownhost-" in line and line.split()[5] == "03"  # SS_CONNECTED
    }
    found = [os.readlink(entry) for pid in fpm for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link[8:-1] in inodes for link in found if link.startswith("socket:"))


def test_a_line_is_kept_for_as_long_as_a_lease_is(world: World) -> None:
    server = serve(world)
    paths = ("/pid.php", "/exits.php", "/complains.php", "/pid.php")
    # A lease ends after an idle second, which a busy machine may take between two requests.
    eventually(lambda: len({text(server, path) for path in paths}) == 1 and lines(server) == 1, 60)
    eventually(lambda: lines(server) == 0)
    assert text(server, "/pid.php")


def test_a_process_that_is_still_at_work_is_left_alone(world: World) -> None:
    server = serve(world)
    busy = text(server, "/goes-on.php")
    assert text(server, "/pid.php") not in ("", busy)
    assert text(server, "/pid.php") != busy
    (server.folder / "alice/go").touch()
    assert text(server, "/goes-on.php")


def test_a_process_that_has_ended_is_asked_nothing(world: World) -> None:
    server = serve(world)
    first = int(text(server, "/pid.php"))
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{first}").exists())
    assert int(text(server, "/pid.php")) != first


def test_a_request_that_ends_its_process_is_asked_once(world: World) -> None:
    server = serve(world)
    count = server.folder / "alice/count"
    for number in (1, 2):
        text(server, "/pid.php")
        assert server.get("alice.test", "/counts.php").status == 500
        assert count.read_text() == number * "x"
    assert text(server, "/pid.php")


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_process_serves_no_more_requests_than_it_may(world: World, most: int) -> None:
    server = serve(world, f"MaxConnectionsPerChild {most}\n")
    pids = [text(server, "/pid.php") for _ in range(12)]
    assert max(map(pids.count, pids)) <= most


@pytest.mark.parametrize("size", [1, 100_000, 5_000_000])
def test_a_body_that_a_script_does_not_read_is_no_part_of_the_next_request(world: World, size: int) -> None:
    server = serve(world)
    for _ in range(2):
        client = server.client()
        with contextlib.closing(client):
            client.request("POST", "/posted.php", bytes(size), {"Host": "alice.test", "Connection": "close"})
            response = client.getresponse()
            assert (response.status, response.read()) == (200, b"%d" % size)
        text(server, "/pid.php")


def test_two_that_share_one_turn_take_it_from_each_other(world: World) -> None:
    hosts = "".join(world.virtual_host(name, ALICE, PHP, {"pid.php": PID}) for name in ("alice", "carol"))
    server = world.server("MaxRequestWorkers 1\n" + hosts)
    for _ in range(3):
        for name in ("alice.test", "carol.test"):
            assert text(server, "/pid.php", name)
