"""Servers behind this one that speak FastCGI, SCGI and uwsgi: real ones, php-fpm and uWSGI, and what breaks off."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backends import answering
from harness import ALICE, BOB, Answer, World, free_port
from waiting import eventually

POOL = """[global]
error_log = {log}
[site]
user = {uid}
group = {uid}
listen = {listen}
listen.owner = {uid}
listen.group = {uid}
listen.mode = 0600
pm = static
pm.max_children = 1
"""
PHP = """<?php
header('X-Uid: ' . stat('/proc/self')['uid']);
echo json_encode(['script' => $_SERVER['SCRIPT_NAME'], 'file' => $_SERVER['SCRIPT_FILENAME'],
    'info' => $_SERVER['PATH_INFO'] ?? null, 'query' => $_SERVER['QUERY_STRING'], 'said' => $_SERVER['SAID'] ?? null,
    'body' => strlen(file_get_contents('php://input'))]);
"""
WSGI = """
import json

def application(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    names = ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "HTTP_X_ONE", "HTTP_AUTHORIZATION", "REMOTE_ADDR")
    start_response("201 Made", [("Content-Type", "application/json"), ("X-Two", "2")])
    return [json.dumps({"body": len(body), **{name: environ.get(name) for name in names}}).encode()]
"""


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """A server of the test's, until the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def php_fpm(world: World, uid: int, listen: str) -> Iterator[None]:
    """A php-fpm whose scripts run as an owner, and whose socket is that owner's alone."""
    folder = world.site(f"fpm-{uid}", uid, {})
    config, log = folder / "fpm.conf", folder / "log"
    config.write_text(POOL.format(uid=uid, listen=listen, log=log))
    with running(["/usr/sbin/php-fpm8.2", "-n", "-F", "-y", str(config)], folder / "output"):
        eventually(lambda: log.exists() and "ready to handle connections" in log.read_text())
        yield


def told(response: Answer) -> dict[str, object]:
    assert response.status in (200, 201), response.status
    return dict(json.loads(response.content))


def test_php_fpm_on_the_owners_socket(world: World) -> None:
    """Another owner's site that names the same socket is refused by the kernel."""
    sock = world.folder / "fpm-50001" / "php.sock"
    handler = f'<FilesMatch \\.php$>\nSetHandler "proxy:unix:{sock}|fcgi://localhost"\n</FilesMatch>\n'
    extra = handler + "ProxyFCGISetEnvIf true SAID %{REQUEST_METHOD}\n"
    files = {"x.php": PHP}
    with php_fpm(world, ALICE, str(sock)):
        (world.folder / "fpm-50001").chmod(0o711)
        server = world.server(
            world.virtual_host("alice", ALICE, extra, files) + world.virtual_host("bob", BOB, extra, files)
        )
        response = server.get("alice.test", "/x.php/more%20info?a=b")
        assert told(response) == {
            "script": "/x.php",
            "file": str(world.folder / "alice/x.php"),
            "info": "/more info",
            "query": "a=b",
            "said": "GET",
            "body": 0,
        }
        assert response.getheader("X-Uid") == str(ALICE)
        client = server.client()
        client.request("POST", "/x.php", bytes(3_000_000), {"Host": "alice.test"})
        assert json.loads(client.getresponse().read())["body"] == 3_000_000
        client.close()
        assert server.get("alice.test", "/none.php").status == 404
        assert server.get("bob.test", "/x.php").status == 503
        eventually(lambda: f"attempt to connect to {sock} failed: Permission denied" in server.log())


def test_php_fpm_over_tcp(world: World) -> None:
    port = free_port()
    passes = f"ProxyPassMatch ^/(.*\\.php(/.*)?)$ fcgi://127.0.0.1:{port}{world.folder}/alice/$1\n"
    with php_fpm(world, ALICE, f"127.0.0.1:{port}"):
        server = world.server(world.virtual_host("alice", ALICE, passes, {"d/x.php": PHP}))
        answer = told(server.get("alice.test", "/d/x.php/info?a"))
        assert (answer["script"], answer["info"], answer["query"]) == ("/d/x.php", "/info", "a")
        assert answer["file"] == f"{world.folder}/alice/d/x.php"
        response = server.get("alice.test", "/d/x.php", "HEAD")
        assert (response.status, response.content) == (200, b"")
        assert server.get("alice.test", "/d/none.php").status == 404


@pytest.fixture
def uwsgi(world: World) -> Iterator[dict[str, int]]:
    """The ports of a uWSGI that speaks three protocols."""
    ports = {scheme: free_port() for scheme in ("uwsgi", "scgi", "fcgi")}
    folder = world.site("program", ALICE, {"program.py": WSGI})
    command = ["uwsgi-core", "--plugin", "python3", "--wsgi-file", str(folder / "program.py"), "--uid", str(ALICE)]
    command += ["--gid", str(ALICE), "--master", "--die-on-term", "--need-app"]
    for scheme, option in (("uwsgi", "uwsgi-socket"), ("scgi", "scgi-socket"), ("fcgi", "fastcgi-socket")):
        command += [f"--{option}", f"127.0.0.1:{ports[scheme]}"]
    log = world.folder / "uwsgi.log"
    with running(command, log):
        eventually(lambda: "spawned uWSGI worker 1" in log.read_text(), 20)
        yield ports


@pytest.mark.parametrize("scheme", ["uwsgi", "scgi", "fcgi"])
def test_uwsgi_and_scgi(world: World, uwsgi: dict[str, int], scheme: str) -> None:
    server = world.server(
        world.virtual_host("alice", ALICE, f"ProxyPass /app/ {scheme}://127.0.0.1:{uwsgi[scheme]}/\n")
    )
    for _ in range(2):
        response = server.get("alice.test", "/app/a%20b?c=d", X_One="1", Authorization="Basic YTpi")
        answer = told(response)
        assert (response.status, response.getheader("X-Two")) == (201, "2")
        assert (answer["QUERY_STRING"], answer["HTTP_X_ONE"], answer["REMOTE_ADDR"]) == ("c=d", "1", "127.0.0.1")
        assert answer["HTTP_AUTHORIZATION"] == ("Basic YTpi" if scheme == "uwsgi" else None)
        if scheme != "fcgi":
            assert (answer["SCRIPT_NAME"], answer["PATH_INFO"]) == ("/app", "/a b")
    client = server.client()
    client.request("POST", "/app/", os.urandom(2_000_000), {"Host": "alice.test"})
    assert json.loads(client.getresponse().read())["body"] == 2_000_000
    client.close()
    response = server.get("alice.test", "/app/", "HEAD")
    assert (response.status, response.content) == (201, b"")


def test_servers_that_cannot_be_reached(world: World) -> None:
    passes = "".join(
        f"ProxyPass /{scheme} {scheme}://127.0.0.1:{free_port()}/\n" for scheme in ("fcgi", "scgi", "uwsgi")
    )
    server = world.server(world.virtual_host("alice", ALICE, passes))
    for scheme in ("fcgi", "scgi", "uwsgi"):
        assert server.get("alice.test", f"/{scheme}").status == 503


@pytest.mark.parametrize(
    ("scheme", "answer", "status"),
    [
        ("fcgi", b"", 503),
        ("fcgi", b"HTTP/1.1 200 OK\r\n\r\n", 503),
        ("scgi", b"", 500),
        ("scgi", b"Content-Type: text/plain\r\nConte", 500),
        ("scgi", b"nothing of a head\r\n\r\n", 500),
        ("uwsgi", b"nothing of a head\r\n\r\n", 502),
        ("uwsgi", b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n", 502),
    ],
)
def test_servers_that_speak_something_else(world: World, scheme: str, answer: bytes, status: int) -> None:
    """As Apache answers."""
    with answering(answer) as (port, asked):
        server = world.server(world.virtual_host("alice", ALICE, f"ProxyPass / {scheme}://127.0.0.1:{port}/\n"))
        assert server.get("alice.test", "/x").status == status
        assert asked
