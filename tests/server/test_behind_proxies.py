"""Debian's nginx and HAProxy in front of the server, as docs/fronts.md configures them."""

from __future__ import annotations

import contextlib
import http.client
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import Backend
from harness import ALICE, BOB, CAROL, World, free_port
from waiting import eventually

PAGE = Path(__file__).parents[2] / "docs" / "fronts.md"
OWNERS = {"alice": ALICE, "bob": BOB, "carol": CAROL}
ECHO = '#!/bin/sh\nprintf \'Content-Type: text/plain\\r\\n\\r\\n%s %s \' "$(id -u)" "$REMOTE_ADDR"; exec cat\n'
REQUESTS, CLIENTS = 10_000, 50
NGINX = """\
daemon off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100000;
    client_body_temp_path {folder}/temp;
    proxy_temp_path {folder}/temp;
{example}
}}
"""


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def directives() -> str:
    """What the page's configuration says of proxies."""
    lines = block("apache").split("<VirtualHost")[0].splitlines()
    return "\n".join(line for line in lines if line.partition(" ")[0] not in ("Listen", "User", "Group")) + "\n"


@contextlib.contextmanager
def running(kind: str, world: World, behind: int) -> Iterator[int]:
    """A proxy in front of a port: its own."""
    port = free_port()
    example = block(kind).replace("127.0.0.1:8080", f"127.0.0.1:{behind}").replace("127.0.0.1:80", f"127.0.0.1:{port}")
    file = world.folder / f"{kind}.conf"
    if kind == "nginx":
        file.write_text(NGINX.format(folder=world.folder, example=example))
        command = ["/usr/sbin/nginx", "-p", str(world.folder), "-c", str(file)]
    else:
        file.write_text(example)
        command = ["/usr/sbin/haproxy", "-q", "-db", "-f", str(file)]
    log = world.folder / f"{kind}.err"
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        eventually(lambda: answers(port) or process.poll() is not None, 20)
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as client:
        try:
            client.request("GET", "/", headers={"Host": "alice.test"})
            return client.getresponse().read() == b"alice\n"
        except (OSError, http.client.HTTPException):
            return False


@pytest.fixture(params=["nginx", "haproxy"])
def proxy(request: pytest.FixtureRequest, world: World) -> Iterator[int]:
    """The port of a proxy, before three owners' sites; each has a WebSocket."""
    backend = Backend()
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    extra = (
        "<Directory @DIR@/{0}>\nOptions +ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n"
        f"ProxyPass /live/ ws://127.0.0.1:{backend.port}/\n"
    )
    hosts = "".join(
        world.virtual_host(name, uid, extra.format(name), {"index.html": f"{name}\n", "echo.cgi": ECHO})
        for name, uid in OWNERS.items()
    )
    server = world.server(directives() + hosts)
    with running(request.param, world, server.port) as port:
        yield port
    backend.shutdown()
    backend.server_close()


def test_ten_thousand_requests_of_all_owners_over_kept_connections(proxy: int) -> None:
    """All are answered, each by its owner."""
    wrong: list[object] = []

    def ask(number: int) -> None:
        names = list(OWNERS)
        client = http.client.HTTPConnection("127.0.0.1", proxy, timeout=60)
        try:
            for count in range(REQUESTS // CLIENTS):
                name = names[(number + count) % len(names)]
                client.request("GET", "/", headers={"Host": f"{name}.test"})
                said = client.getresponse()
                found = said.status, said.read()
                if found != (200, f"{name}\n".encode()):
                    wrong.append((number, count, name, found))
        except (OSError, http.client.HTTPException) as error:
            wrong.append((number, error))
        finally:
            client.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_bodies_and_addresses(proxy: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy, timeout=60)) as client:
        for name, uid in [*OWNERS.items()] * 3:
            fields = {"Host": f"{name}.test", "X-Forwarded-For": "198.51.100.7"}
            for body in (b"hello", b"x" * 300_000):
                for sent in (body, iter([body])):  # with its length, and in chunks
                    chunked = {} if sent is body else {"Transfer-Encoding": "chunked"}
                    client.request("POST", "/echo.cgi", sent, {**fields, **chunked}, encode_chunked=sent is not body)
                    assert client.getresponse().read() == b"%d 198.51.100.7 %b" % (uid, body)


def test_websockets(proxy: int) -> None:
    for name in OWNERS:
        client = http.client.HTTPConnection("127.0.0.1", proxy, timeout=60)
        client.putrequest("GET", "/live/websocket", skip_host=True)
        for field, value in (
            ("Host", f"{name}.test"),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ):
            client.putheader(field, value)
        client.endheaders()
        assert client.sock is not None
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.sock.recv(4096)
        assert head.startswith(b"HTTP/1.1 101 ")
        for _ in range(3):
            client.sock.sendall(b"hello")
            assert client.sock.recv(4096) == b"HELLO"
        client.close()
