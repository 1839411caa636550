"""PHP as panels run it: mod_fcgid's directives, and a wrapper that starts php-cgi as the owner."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from harness import ALICE, BOB, Server, World
from waiting import eventually

PHP = "/usr/lib/cgi-bin/php8.2"
STARTER = f'#!/bin/sh\nexport PHP_FCGI_CHILDREN=0 STARTED=yes\nexec {PHP} "$@"\n'
ECHO = (
    "<?php header('Content-Type: application/json'); header('X-Sapi: ' . php_sapi_name()); echo json_encode(['uid' =>"
    " posix_getuid(), 'pid' => getmypid(), 'started' => getenv('STARTED'), 'init' => getenv('INIT'), 'server' =>"
    " $_SERVER, 'memory' => ini_get('memory_limit'), 'body' => strlen(file_get_contents('php://input'))]);"
)
FILES: dict[str, str | bytes] = {
    "i.php": ECHO,
    "slow.php": "<?php usleep(300000); echo getmypid();",
    "late.php": "<?php sleep(5); echo 'late';",
    "error.php": "<?php error_log('a complaint'); echo 'done';",
    "die.php": "<?php posix_kill(getmypid(), 9);",
    "status.php": "<?php http_response_code(418); echo 'pot';",
}


def panel(world: World, uid: int = ALICE, extra: str = "", name: str = "alice") -> str:
    """A virtual host as ISPConfig, Virtualmin and i-MSCP write it; the wrapper is the owner's."""
    home = world.site(f"{name}-bin", uid, {"starter": STARTER})
    return world.virtual_host(
        name,
        uid,
        "<IfModule mod_fcgid.c>\n"
        f"FcgidInitialEnv INIT value\nFcgidMaxRequestLen 100000\nFcgidBusyTimeout 300\n"
        f"<Directory {world.folder}/{name}>\nOptions +ExecCGI\nAddHandler fcgid-script .php\n"
        f'FcgidWrapper "{home}/starter -d memory_limit=33M" .php\n</Directory>\n</IfModule>\n{extra}',
        dict(FILES),
    )


def told(server: Server, path: str, host: str = "alice.test", method: str = "GET") -> dict[str, object]:
    response = server.get(host, path, method)
    content = response.content
    assert response.status == 200, content
    assert response.getheader("X-Sapi") == "cgi-fcgi"
    found = json.loads(content)
    assert isinstance(found, dict)
    return found


def workers_of_php(server: Server, uid: int) -> list[int]:
    return [process.pid for process in server.processes() if process.title.startswith(PHP) and process.uid == uid]


def test_each_owner_has_php_of_their_own(world: World) -> None:
    server = world.server(panel(world) + panel(world, BOB, name="bob"))
    for name, uid in (("alice", ALICE), ("bob", BOB)):
        found = told(server, "/i.php/in/fo?a=b", f"{name}.test")
        assert (found["uid"], found["started"], found["init"], found["memory"]) == (uid, "yes", "value", "33M")
        variables = found["server"]
        assert isinstance(variables, dict)
        assert variables["SCRIPT_FILENAME"] == f"{world.folder}/{name}/i.php"
        assert (variables["PATH_INFO"], variables["SCRIPT_NAME"], variables["QUERY_STRING"]) == (
            "/in/fo",
            "/i.php",
            "a=b",
        )
        assert (variables["PHP_SELF"], variables["FCGI_ROLE"]) == ("/i.php/in/fo", "RESPONDER")
        assert len(workers_of_php(server, uid)) == 1


def test_a_process_stays_and_more_come_on_demand(world: World) -> None:
    server = world.server(panel(world))
    assert told(server, "/i.php")["pid"] == told(server, "/i.php")["pid"]
    found: list[bytes] = []

    def ask() -> None:
        found.append(server.get("alice.test", "/slow.php").content)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) > 1
    assert set(map(int, found)) <= set(workers_of_php(server, ALICE))


def test_most_processes(world: World) -> None:
    server = world.server(panel(world, extra="FcgidMaxProcessesPerClass 1\n"))
    threads = [threading.Thread(target=server.get, args=("alice.test", "/slow.php")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(workers_of_php(server, ALICE)) == 1


def test_a_process_leaves_after_its_requests(world: World) -> None:
    server = world.server(panel(world, extra="FcgidMaxRequestsPerProcess 1\n"))
    assert len({told(server, "/i.php")["pid"] for _ in range(3)}) == 3


def test_a_process_that_dies_is_replaced(world: World) -> None:
    server = world.server(panel(world))
    assert server.get("alice.test", "/die.php").status in (500, 502, 503)
    assert told(server, "/i.php")["uid"] == ALICE
    (pid,) = workers_of_php(server, ALICE)
    assert server.processes("launcher")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.get("alice.test", "/i.php").status == 200)


def test_bodies(world: World) -> None:
    server = world.server(panel(world))
    client = server.client()
    client.request("POST", "/i.php", body=b"x" * 90_000, headers={"Host": "alice.test"})
    response = client.getresponse()
    assert json.loads(response.read())["body"] == 90_000
    client.request("POST", "/i.php", body=b"x" * 100_001, headers={"Host": "alice.test"})
    assert client.getresponse().status == 500
    client.close()
    eventually(lambda: "exceeds FcgidMaxRequestLen (100000)" in server.log())


def test_statuses_and_complaints(world: World) -> None:
    server = world.server(panel(world))
    assert server.get("alice.test", "/status.php").status == 418
    assert server.get("alice.test", "/error.php").status == 200
    eventually(lambda: "[fcgid:error]" in server.log() and "a complaint" in server.log())
    assert server.get("alice.test", "/none.php").status == 404


def test_a_program_that_says_nothing_is_given_up(world: World) -> None:
    server = world.server(panel(world, extra="FcgidIOTimeout 1\n"))
    assert server.get("alice.test", "/late.php").status == 504


def test_without_the_handlers_module_the_source_is_not_sent(world: World) -> None:
    text = "LoadModule dir_module x\n" + panel(world, extra="AddHandler fcgid-script .php\n")
    server = world.server(text)
    response = server.get("alice.test", "/i.php")
    assert response.status == 500
    assert b"<?php" not in response.content


def test_a_wrapper_that_cannot_be_started_costs_only_its_requests(world: World) -> None:
    server = world.server(panel(world))
    (world.folder / "alice-bin" / "starter").unlink()
    response = server.get("alice.test", "/i.php")
    assert response.status in (500, 503)
    assert b"<?php" not in response.content
    eventually(lambda: "exec of" in server.log())
    assert server.get("alice.test", "/").status in (403, 404)


@pytest.mark.parametrize("script", ["own.fcgi"])
def test_a_script_may_be_a_program_itself(world: World, script: str) -> None:
    root = world.site("carol-site", ALICE, {script: STARTER, "index.html": "x"})
    body = (
        "<VirtualHost 127.0.0.1:@PORT@>\nServerName own.test\n"
        f'DocumentRoot {root}\nAssignUserID "#{ALICE}" "#{ALICE}"\n<Directory {root}>\nRequire all granted\n'
        "Options +ExecCGI\nAddHandler fcgid-script .fcgi\n</Directory>\n</VirtualHost>\n"
    )
    server = world.server(body)
    response = server.get("own.test", f"/{script}")
    assert response.status in (200, 404)  # php-cgi takes the script's own name for one of PHP's
    assert workers_of_php(server, ALICE)
    assert Path(f"/proc/{workers_of_php(server, ALICE)[0]}/cwd").resolve() == root
