"""Many requests for one owner's programs at the same time: each is answered, once, and the processes are used again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import ALICE, Server, World

CLIENTS, REQUESTS = 40, 320  # more at once than fit into the queue of the launcher's socket
HELLO_PHP = "<?php file_put_contents('seen', $_GET['n'] . \"\\n\", FILE_APPEND); echo $_GET['n'];"
HELLO_WSGI = """
import os
seen = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seen")
def application(environ, start_response):
    number = environ["QUERY_STRING"][2:]
    with open(seen, "a") as file:
        file.write(number + "\\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [number.encode()]
"""


def programs(world: World) -> Server:
    root = world.folder / "alice"
    settings = f"AddHandler application/x-httpd-php .php\nWSGIScriptAlias /app {root}/app.wsgi\n"
    files = {"hello.php": HELLO_PHP, "app.wsgi": HELLO_WSGI}
    return world.server(world.virtual_host("alice", ALICE, settings, files))


@pytest.mark.parametrize("path", ["hello.php", "app"])
def test_every_request_of_a_burst_is_answered_and_none_is_run_twice(world: World, path: str) -> None:
    server = programs(world)

    def ask(number: int) -> tuple[int, bytes]:
        response = server.get("alice.test", f"/{path}?n={number}")
        return response.status, response.content

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(ask, range(REQUESTS)))
    assert answers == [(200, str(number).encode()) for number in range(REQUESTS)], server.log()
    seen = (world.folder / "alice" / "seen").read_text().split()
    assert sorted(map(int, seen)) == list(range(REQUESTS))
