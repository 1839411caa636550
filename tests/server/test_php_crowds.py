"""More clients at once than php-fpm has processes: none waits for one that a kept line holds, or that is missing."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import ALICE, Server, World

CLIENTS, REQUESTS = 40, 100
# Waits until as many as are to meet are at work at the same time.
MEET = """<?php
touch('come-' . $_GET['n']);
for ($looks = 0; count(glob('come-*')) < $_GET['all']; $looks++) {
    if ($looks > 1000) { exit('alone'); }
    usleep(10000);
}
echo 'met';
"""
GOES_ON = (
    "<?php echo 'done'; fastcgi_finish_request();"
    " for ($looks = 0; !file_exists('go') && $looks < 3000; $looks++) { usleep(10000); clearstatcache(); }"
)
FILES = {"hello.php": "<?php echo 'hello';", "meet.php": MEET, "goes-on.php": GOES_ON}


def serve(world: World, main: str = "") -> Server:
    php = "AddHandler application/x-httpd-php .php\n"
    return world.server(main + world.virtual_host("alice", ALICE, php, dict(FILES)))


def text(server: Server, path: str) -> str:
    with contextlib.closing(server.client(timeout=60)) as client:
        client.request("GET", path, headers={"Host": "alice.test"})
        response = client.getresponse()
        return f"{response.status} {response.read().decode()}"


@pytest.mark.parametrize("main", ["", "MaxConnectionsPerChild 1\n", "MaxRequestWorkers 12\n", "MinSpareServers 6\n"])
@pytest.mark.parametrize("warm", [False, True])
def test_as_many_scripts_run_at_once_as_are_asked_for(world: World, main: str, warm: bool) -> None:
    server = serve(world, main)
    if warm:
        assert text(server, "/hello.php") == "200 hello"
    with ThreadPoolExecutor(12) as clients:
        found = clients.map(lambda number: text(server, f"/meet.php?all=12&n={number}"), range(12))
        assert list(found) == 12 * ["200 met"], server.log()


def test_no_line_keeps_the_last_process_from_others(world: World) -> None:
    """There are three processes, and two are at work for themselves: two clients share the third."""
    server = serve(world, "MaxRequestWorkers 2\n")
    for _ in range(2):
        assert text(server, "/goes-on.php") == "200 done"
    answers = [0, 0]

    def ask_on_and_on(number: int) -> None:
        with contextlib.closing(server.client()) as client:
            while min(answers) < 50:
                client.request("GET", "/hello.php", headers={"Host": "alice.test"})
                assert client.getresponse().read() == b"hello"
                answers[number] += 1
                assert answers[number] < 5_000, "the other one waits all the while"

    with ThreadPoolExecutor(2) as clients:
        list(clients.map(ask_on_and_on, range(2)))
    (world.folder / "alice/go").touch()


@pytest.mark.parametrize("main", ["", "MaxRequestWorkers 2\n", "MaxRequestWorkers 4\n", "StartServers 2\n"])
@pytest.mark.parametrize("how", ["", "Connection: close\r\n"])
def test_none_of_a_crowd_waits_for_another_to_be_through(world: World, main: str, how: str) -> None:
    """Each of 40 clients has its first answer before any has its hundredth."""
    server = serve(world, main)
    answers = [0] * CLIENTS
    left_behind = 0

    async def ask(client: int) -> None:
        nonlocal left_behind
        streams = None
        for _ in range(REQUESTS):
            streams = streams or await asyncio.open_connection("127.0.0.1", server.port)
            streams[1].write(f"GET /hello.php HTTP/1.1\r\nHost: alice.test\r\n{how}\r\n".encode())
            head = await streams[0].readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            assert b"hello" in await (streams[0].read() if how else streams[0].readexactly(5))
            answers[client] += 1
            if how:
                streams[1].close()
                streams = None
        left_behind += answers.count(0)
        if streams is not None:
            streams[1].close()

    async def crowd() -> None:
        async with asyncio.timeout(120):
            await asyncio.gather(*map(ask, range(CLIENTS)))

    asyncio.run(crowd())
    assert answers == CLIENTS * [REQUESTS]
    assert left_behind == 0
