"""HTTP/2 as real clients speak it to the real server, over TLS: curl, nghttp, h2load, httpx, openssl s_client."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from backends import Backend, backend
from encrypted import Sites, curl, s_client
from harness import ALICE, BOB, Server, World
from waiting import eventually

UPLOAD = os.urandom(1 << 20) * 20
DOWNLOAD = os.urandom(1 << 20) * 50
HTML = "<!doctype html><title>alice</title>\n"
CGI = """\
#!/usr/bin/python3
import hashlib, json, os, sys
body = sys.stdin.buffer.read()
told = {"uid": os.getuid(), "length": len(body), "sum": hashlib.sha256(body).hexdigest(), **os.environ}
print("Content-Type: application/json", "", json.dumps(told), sep="\\n")
"""
PHP = (
    "<?php header('Content-Type: application/json'); $body = file_get_contents('php://input'); echo json_encode("
    "['uid' => posix_getuid(), 'length' => strlen($body), 'sum' => hash('sha256', $body)] + $_SERVER);"
)
WSGI = """
import hashlib, json, os

def application(environ, start_response):
    sum, length = hashlib.sha256(), 0
    for chunk in iter(lambda: environ["wsgi.input"].read(65536), b""):
        sum.update(chunk)
        length += len(chunk)
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    told.update(uid=os.getuid(), length=length, sum=sum.hexdigest())
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
"""
SLOW = """\
#!/bin/sh
printf 'Content-Type: text/plain\\n\\nbegun\\n'
while [ ! -e {folder}/go ]; do sleep 0.05; done
echo done
"""
ENDLESS = """\
<?php
echo str_repeat('x', 10000);
while (!connection_aborted()) {
    echo 'x';
    flush();
    usleep(20000);
}
"""
ALICES = """\
<FilesMatch "\\.php$">
SetHandler application/x-httpd-php
</FilesMatch>
<FilesMatch "\\.cgi$">
Options +ExecCGI
SetHandler cgi-script
</FilesMatch>
WSGIDaemonProcess app
WSGIScriptAlias /app @DIR@/alice/app.wsgi process-group=app
ProxyPass /b/ http://127.0.0.1:@BACKEND@/in/
ProxyPass /ws ws://127.0.0.1:@BACKEND@/websocket
"""
PREAMBLE = 'Protocols h2 http/1.1\nCustomLog @DIR@/access.log "%{Host}i %r|%>s|%B|%k|%u|%H|%X"\n'


@dataclass
class Served:
    """A server of alice's and bob's, and what stands behind it."""

    server: Server
    sites: Sites
    behind: Backend

    @property
    def folder(self) -> Path:
        return self.server.folder

    @property
    def url(self) -> str:
        return f"https://alice.test:{self.server.port}"

    def curl(self, path: str, *arguments: str | Path, host: str = "alice.test") -> bytes:
        """What curl gets."""
        done = curl(self.sites, self.server, host, path, *arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def run(self, *command: str | Path, seconds: float = 60) -> str:
        """What a program prints; it must succeed."""
        done = subprocess.run(list(map(str, command)), capture_output=True, timeout=seconds, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
        return done.stdout.decode(errors="replace")

    def lines(self, path: str) -> list[str]:
        """Lines of the access log with this path, or part of it; there must be one."""
        return eventually(lambda: [one for one in self.server.log("access.log").splitlines() if path in one])


def start(world: World, behind: Backend) -> Served:
    sites = Sites(world)
    files: dict[str, str | bytes] = {
        "index.html": HTML,
        "a.txt": "hello\n",
        "down.bin": DOWNLOAD,
        "echo.cgi": CGI,
        "echo.php": PHP,
        "app.wsgi": WSGI,
        "slow.cgi": SLOW.format(folder=world.folder),
        "slow.php": ENDLESS,
    }
    both = sites.certificate("alice", "second.test", "*.alice.test")
    text = PREAMBLE + "".join(
        (
            sites.virtual_host("alice", ALICE, ALICES.replace("@BACKEND@", str(behind.port)), files, both),
            sites.virtual_host("second", ALICE, "ServerAlias *.alice.test\n", certificate=both),
            sites.virtual_host("bob", BOB),
        )
    )
    return Served(world.server(text), sites, behind)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """One server for those tests that leave it as it was."""
    world = World()
    try:
        (world.folder / "up.bin").write_bytes(UPLOAD)
        with backend() as behind:
            yield start(world, behind)
    finally:
        world.close()


@pytest.fixture
def own(world: World) -> Iterator[Served]:
    """A server of the test's own."""
    with backend() as behind:
        yield start(world, behind)


# curl

VERSIONS = {"--http2": "2", "--http1.1": "1.1"}
SAID = ("-o", "/dev/null", "-w", "%{http_version} %{http_code} %{size_download} %{num_connects}\n")


@pytest.mark.parametrize("version", VERSIONS)
def test_get_and_head(served: Served, version: str) -> None:
    assert served.curl("/a.txt", version) == b"hello\n"
    assert served.curl("/a.txt", version, *SAID) == f"{VERSIONS[version]} 200 6 1\n".encode()
    head = served.curl("/a.txt", version, "-I").decode().lower()
    assert head.startswith(f"http/{VERSIONS[version]} 200")
    assert "content-length: 6" in head


@pytest.mark.parametrize("version", VERSIONS)
def test_a_download_of_fifty_megabytes(served: Served, version: str) -> None:
    assert hashlib.sha256(served.curl("/down.bin", version)).digest() == hashlib.sha256(DOWNLOAD).digest()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", ["/echo.cgi", "/echo.php", "/app"])
@pytest.mark.parametrize("how", ["with its length", "without"])
def test_uploads_of_twenty_megabytes_reach_the_owners_programs(
    served: Served, version: str, path: str, how: str
) -> None:
    file = served.folder / "up.bin"
    way = ("--data-binary", f"@{file}") if how == "with its length" else ("-T", "-", "-X", "POST")
    command = ("curl", "-sS", "--cacert", served.sites.authority_file, version, *way)
    resolve = ("--resolve", f"alice.test:{served.server.port}:127.0.0.1")
    with open(file, "rb") as body:
        done = subprocess.run(
            [*map(str, (*command, *resolve)), f"{served.url}{path}"], stdin=body, capture_output=True, check=True
        )
    told = json.loads(done.stdout)
    assert (told["uid"], told["length"], told["sum"]) == (ALICE, len(UPLOAD), hashlib.sha256(UPLOAD).hexdigest())
    assert told["SERVER_PROTOCOL"] == f"HTTP/{'2.0' if VERSIONS[version] == '2' else '1.1'}"
    assert told.get("HTTP2", "off") == ("on" if VERSIONS[version] == "2" else "off")
    assert told["HTTP_HOST"] == f"alice.test:{served.server.port}"


@pytest.mark.parametrize("version", VERSIONS)
def test_expect(served: Served, version: str) -> None:
    """The program gets the body; one that is too long for LimitRequestBody or for nobody at all is not waited for."""
    file = served.folder / "up.bin"
    told = json.loads(served.curl("/echo.cgi", version, "-H", "Expect: 100-continue", "--data-binary", f"@{file}"))
    assert told["length"] == len(UPLOAD)
    none = served.curl("/none.php", version, "-H", "Expect: 100-continue", "--data-binary", f"@{file}", *SAID)
    assert none.split()[1] == b"404"


def test_many_in_parallel_on_one_connection(served: Served) -> None:
    """Curl's own count says how many connections it made."""
    paths = "/{a.txt,index.html,echo.cgi,echo.php,app}?many=[1-20]"
    arguments = ("--parallel", "--parallel-max", "60", "--http2", "--no-progress-meter")
    said = served.curl(paths, *arguments, "-o", "/dev/null", "-w", "%{http_version} %{http_code} %{num_connects}\n")
    answers = said.decode().splitlines()
    assert {line[:5] for line in answers} == {"2 200"}
    assert len(answers) == 100
    assert sum(int(line.split()[2]) for line in answers) == 1
    eventually(lambda: len(served.lines("many=")) == 100)  # lines are written at the end of a turn
    logged = served.lines("many=")
    assert sorted(int(line.split("|")[3]) for line in logged) == list(range(100)), "%k counts on the connection"


def test_what_is_logged(served: Served) -> None:
    served.curl("/a.txt?logged", "--http2")
    served.curl("/none?logged", "--http2")
    host = f"alice.test:{served.server.port}"
    eventually(lambda: len(served.lines("?logged")) == 2)
    assert served.lines("?logged") == [
        f"{host} GET /a.txt?logged HTTP/2.0|200|6|0|-|HTTP/2.0|+",
        *(line for line in served.lines("/none?logged") if f"{host} GET /none?logged HTTP/2.0|404|" in line),
    ]


@pytest.mark.parametrize("path", ["/slow.cgi", "/slow.php", "/b/wait"])
def test_a_program_ends_with_its_stream(own: Served, path: str) -> None:
    """The client is killed, and the stream or its connection is gone."""
    command = ["curl", "-sSN", "--http2", "-k", "--resolve", f"alice.test:{own.server.port}:127.0.0.1", own.url + path]
    client = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert client.stdout is not None
    if path == "/b/wait":
        eventually(lambda: own.behind.asked)
    else:
        assert client.stdout.read(1)
    client.kill()
    client.communicate()
    (line,) = own.lines(path)
    assert line.endswith("|X"), "it was not completed"
    own.behind.release.set()
    if path == "/slow.cgi":
        eventually(lambda: not [one for one in own.server.processes() if one.title.endswith("slow.cgi")])


# nghttp, h2load


def nghttp(served: Served, path: str, *arguments: str) -> str:
    """What `nghttp -v` says of frames. It connects by address; :authority is the name in TLS, too."""
    authority = ("-H", f":authority: alice.test:{served.server.port}")
    return served.run("nghttp", "-v", *authority, *arguments, f"https://127.0.0.1:{served.server.port}{path}")


def statuses(said: str) -> list[str]:
    return re.findall(r"recv \(stream_id=\d+\) :status: (\d+)", said)


def test_nghttp_multiplies(served: Served) -> None:
    said = nghttp(served, "/a.txt", "-n", "-m", "50", "-H", "x-one: 1")
    assert statuses(said) == ["200"] * 50
    assert "RST_STREAM" not in said
    assert "error_code=NO_ERROR" in said or "GOAWAY" not in said


def test_nghttp_weighs(served: Served) -> None:
    said = nghttp(served, "/a.txt", "-n", "-m", "10", "-p", "256", "--no-dep")
    assert statuses(said) == ["200"] * 10
    assert statuses(nghttp(served, "/a.txt", "-n", "-p", "1")) == ["200"]


@pytest.mark.parametrize("path", ["/echo.cgi", "/echo.php", "/app"])
def test_nghttp_sends_trailers(served: Served, path: str) -> None:
    """They are dropped, and the body is whole."""
    said = nghttp(served, path, "-d", str(served.folder / "up.bin"), "--trailer", "x-after: 1", "--no-content-length")
    assert statuses(said) == ["200"]
    assert hashlib.sha256(UPLOAD).hexdigest() in said
    assert "HTTP_X_AFTER" not in said
    assert "send HEADERS frame" in said.partition("send DATA frame")[2], "nghttp did send them"


def test_nghttp_with_small_windows(served: Served) -> None:
    said = nghttp(served, "/down.bin", "-n", "-w", "16", "-W", "16")
    assert statuses(said) == ["200"]
    assert "RST_STREAM" not in said


@pytest.mark.parametrize("path", ["/a.txt", "/app"])
def test_h2load(served: Served, path: str) -> None:
    number = "2000" if path == "/a.txt" else "100"
    where = f"--connect-to=127.0.0.1:{served.server.port}"
    said = served.run("h2load", "-n", number, "-c", "4", "-m", "32", where, served.url + path)
    assert f"{number} total, {number} started, {number} done, {number} succeeded, 0 failed, 0 errored" in said
    assert f"status codes: {number} 2xx, 0 3xx, 0 4xx, 0 5xx" in said
    assert "Application protocol: h2" in said


# httpx


def test_httpx(served: Served) -> None:
    """A Python client: many requests at a time, uploads in pieces, errors, all on one connection."""

    async def pieces() -> object:
        for at in range(0, len(UPLOAD), 300_000):
            yield UPLOAD[at : at + 300_000]

    async def work() -> None:
        url = f"https://127.0.0.1:{served.server.port}"
        extensions = {"sni_hostname": "alice.test"}
        headers = {"Host": "alice.test"}
        async with httpx.AsyncClient(
            http2=True, http1=False, verify=served.sites.context(), base_url=url, headers=headers, timeout=60
        ) as client:

            async def get(path: str) -> httpx.Response:
                return await client.get(path, extensions=extensions)

            paths = [f"/{name}?httpx={number}" for name in ("a.txt", "echo.php", "app", "none") for number in range(20)]
            answers = await asyncio.gather(*map(get, paths))
            assert [answer.status_code for answer in answers] == [200] * 60 + [404] * 20
            assert {answer.http_version for answer in answers} == {"HTTP/2"}
            answer = await client.post("/app?httpx=up", content=pieces(), extensions=extensions)  # type: ignore[arg-type]
            assert answer.json()["sum"] == hashlib.sha256(UPLOAD).hexdigest()

    asyncio.run(work())
    eventually(lambda: len(served.lines("httpx=")) == 81)
    assert sorted(int(line.split("|")[3]) for line in served.lines("httpx=")) == list(range(81)), "one connection"


# What is agreed upon


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("h2", "h2"),
        ("http/1.1", "http/1.1"),
        ("http/1.1,h2", "h2"),
        ("h2,http/1.1", "h2"),
        ("h3,spdy/3", ""),
        ("", ""),
    ],
)
def test_alpn(served: Served, offer: str, agreed: str) -> None:
    said = s_client(served.server, "-servername", "alice.test", *(("-alpn", offer) if offer else ()))
    assert ("ALPN protocol: " + agreed if agreed else "No ALPN negotiated") in said


def test_the_clients_order(world: World, sites: Sites) -> None:
    server = world.server("Protocols http/1.1 h2\n" + sites.virtual_host("alice", ALICE))
    assert "ALPN protocol: http/1.1" in s_client(server, "-servername", "alice.test", "-alpn", "h2,http/1.1")


def test_no_alpn_is_http_1(served: Served) -> None:
    said = s_client(
        served.server,
        *("-servername", "alice.test", "-quiet", "-ign_eof"),
        say="GET /a.txt HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n",
    )
    assert "HTTP/1.1 200 OK" in said
    assert "\r\n\r\nhello\n" in said


CIPHERS = "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"
CBC = f"Protocols h2 http/1.1\nSSLProtocol TLSv1.2\nSSLCipherSuite {CIPHERS}\n"


@pytest.mark.parametrize(
    ("extra", "cipher", "taken"),
    [
        ("", "ECDHE-ECDSA-AES128-SHA256", False),
        ("", "ECDHE-ECDSA-AES128-GCM-SHA256", True),
        ("H2ModernTLSOnly Off\n", "ECDHE-ECDSA-AES128-SHA256", True),
    ],
)
def test_http2_needs_modern_tls(world: World, sites: Sites, extra: str, cipher: str, taken: bool) -> None:
    """RFC 9113, 9.2: otherwise the connection ends, with a word about why. HTTP/1.1 may be spoken."""
    server = world.server(sites.virtual_host("alice", ALICE, CBC + extra))
    context = sites.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher + ":@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    with sites.connect(server, context=context) as sock:
        assert sock.cipher()[0] == cipher  # type: ignore[index]
        assert sock.selected_alpn_protocol() == "h2"
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        said = b""
        while b"\0\0\0\4\1" not in said and (data := sock.recv(65_536)):  # until SETTINGS are acknowledged
            said += data
    goaway = b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\0" + b"\0\0\0\x0c"
    assert said[3] == 4, "SETTINGS come first"
    assert (goaway in said) == (not taken)
    if not taken:
        eventually(lambda: f"HTTP/2 may not be spoken over TLSv1.2 with {cipher}" in server.log())
    assert (
        curl(sites, server, "alice.test", "/", "--http1.1", "--ciphers", cipher, "--tls-max", "1.2").stdout
        == b"alice\n"
    )


# Hosts


def test_hosts_of_one_owner_share_a_connection(served: Served) -> None:
    """Also those that only the gates know of: a wildcard's. Another owner's is 421, and the connection goes on."""

    async def work() -> list[tuple[int, str]]:
        async with httpx.AsyncClient(http2=True, http1=False, verify=served.sites.context()) as client:

            async def get(host: str) -> tuple[int, str]:
                answer = await client.get(
                    f"https://127.0.0.1:{served.server.port}/?shared",
                    headers={"Host": f"{host}:{served.server.port}"},
                    extensions={"sni_hostname": "alice.test"},
                )
                return answer.status_code, answer.text

            hosts = (
                "alice.test",
                "second.test",
                "a.alice.test",
                "b.alice.test",
                "bob.test",
                "second.test",
                "nobody.test",
            )
            return list(await asyncio.gather(*map(get, hosts)))

    answers = asyncio.run(work())
    alice, second = (200, HTML), (200, "second\n")
    assert [answers[place] for place in (0, 1, 2, 3, 5)] == [alice, second, second, second, second]
    assert answers[6] == alice, "the address's default"
    assert answers[4][0] == 421
    assert "bob" not in answers[4][1].replace("bob.test", "")
    eventually(lambda: len(served.lines("?shared")) == 7)
    assert sorted(int(line.split("|")[3]) for line in served.lines("?shared")) == list(range(7)), "one connection"


def test_after_a_421_a_connection_of_its_own_works(served: Served) -> None:
    port = served.server.port
    wrong = ("--connect-to", f"alice.test:{port}:127.0.0.1:{port}", "-H", f"Host: bob.test:{port}")
    assert served.curl("/", "--http2", *wrong, *SAID).split()[:2] == [b"2", b"421"]
    assert served.curl("/", "--http2", host="bob.test") == b"bob\n"
    assert served.curl("/", "--http2", *SAID, host="bob.test").split()[:2] == [b"2", b"200"]


# Servers behind this one


def test_a_proxied_backend(served: Served) -> None:
    said = served.curl("/b/x?y=1", "--http2", "-H", "X-One: 1").decode().splitlines()
    assert said[0] == "GET /in/x?y=1"
    assert "x-one: 1" in said, "names are in small letters in HTTP/2"
    assert f"X-Forwarded-Host: alice.test:{served.server.port}" in said
    assert not [line for line in said if line.lower().startswith((":", "http2-settings", "upgrade"))]
    echoed = served.curl("/b/echo", "--http2", "--data-binary", f"@{served.folder / 'up.bin'}")
    assert hashlib.sha256(echoed).digest() == hashlib.sha256(UPLOAD).digest()


def test_websockets_come_over_http_1(served: Served) -> None:
    """A client that would speak HTTP/2 is refused, as browsers are not: they ask for http/1.1 alone."""
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    head = (
        f"GET /ws HTTP/1.1\r\nHost: alice.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    context = served.sites.context()
    context.set_alpn_protocols(["http/1.1"])
    with served.sites.connect(served.server, context=context) as sock:
        sock.sendall(head.encode())
        said = sock.recv(65_536)
    assert said.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in said


# A stop


def test_a_graceful_stop_answers_what_is_begun(own: Served) -> None:
    port = own.server.port
    context = own.sites.context()
    context.set_alpn_protocols(["h2"])
    command = ["curl", "-sSNv", "--http2", "-k", "--parallel", "--resolve", f"alice.test:{port}:127.0.0.1"]
    with open(own.folder / "stopped.txt", "w+") as output, open(own.folder / "stopped.err", "w+") as errors:
        client = subprocess.Popen([*command, *[f"{own.url}/slow.cgi?[1-10]"]], stdout=output, stderr=errors)
        written = own.folder / "stopped.txt"
        eventually(lambda: written.read_text().count("begun") == 10)
        with own.sites.connect(own.server, context=context) as idle:
            idle.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            own.server.process.send_signal(signal.SIGWINCH)  # type: ignore[union-attr]
            said = b""
            while data := idle.recv(65_536):
                said += data
            assert b"\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\0" in said, "GOAWAY, of no error, and nothing was begun"
        assert client.poll() is None
        (own.folder / "go").touch()
        assert client.wait(20) == 0, errors.read()
        assert written.read_text().count("done") == 10
    assert own.server.process.wait(20) == 0  # type: ignore[union-attr]
    assert [line.split("|")[1] for line in own.lines("slow.cgi")] == ["200"] * 10
