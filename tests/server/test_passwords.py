"""Passwords as browsers send them: the real server, its owner's file, hashes as htpasswd writes them."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
from pathlib import Path

import pytest

import encrypted
from encrypted import Sites
from harness import ALICE, BOB, Server, World
from waiting import eventually

KINDS = {"bcrypt": "-B", "apr1": "-m", "sha": "-s", "des": "-d", "sha256": "-2", "sha512": "-5"}
# As Debian hashes the passwords of accounts: with much memory.
YESCRYPT = "yescrypt:$y$j9T$saltsalt$VuCHcCYYVuebTL.IxzSml3z./71e36sys.wEb95cM54\n"
CGI = '#!/bin/sh\nprintf \'Content-Type: text/plain\\n\\n%s %s %s\' "$REMOTE_USER" "$AUTH_TYPE" "$HTTP_AUTHORIZATION"\n'
LOGIN = "AuthType Basic\nAuthName login\nAuthUserFile @ROOT@/.htpasswd\nRequire valid-user\n"


def htpasswd(file: Path, kind: str, user: str, password: str) -> None:
    subprocess.run(["htpasswd", "-b", KINDS[kind], file, user, password], check=True, capture_output=True)


def served(world: World, extra: str = "") -> Server:
    root = world.site("alice", ALICE, {"a.txt": "content", "a.cgi": CGI, "open/a.txt": "open", ".htpasswd": ""})
    (root / "a.cgi").chmod(0o700)
    for kind in KINDS:
        htpasswd(root / ".htpasswd", kind, kind, "secret")
    with open(root / ".htpasswd", "a") as file:
        file.write(YESCRYPT)
    os.chown(root / ".htpasswd", ALICE, ALICE)
    (root / ".htpasswd").chmod(0o600)
    text = (
        "TypesConfig /dev/null\nAddType text/plain txt\nAddHandler cgi-script .cgi\nProtocols h2 http/1.1\n"
        'LogFormat "%u %>s %U" users\n'
        "<VirtualHost 127.0.0.1:@PORT@>\nServerName alice.test\nDocumentRoot @ROOT@\n"
        f'AssignUserID "#{ALICE}" "#{ALICE}"\nCustomLog {world.folder}/access.log users\n{extra}\n'
        f"<Directory @ROOT@>\nOptions ExecCGI\n{LOGIN}</Directory>\n"
        "<Directory @ROOT@/open>\nRequire all granted\n</Directory>\n</VirtualHost>\n"
    )
    return world.server(text.replace("@ROOT@", str(root)))


@pytest.fixture(scope="module")
def one(shared_world: World) -> Server:
    return served(shared_world)


def curl(server: Server, path: str, *arguments: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{server.port}{path}"
    done = subprocess.run(
        [
            "curl",
            "-s",
            "--max-time",
            "20",
            "--write-out",
            "\n%{http_code}",
            "--header",
            "Host: alice.test",
            *arguments,
            url,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


@pytest.mark.parametrize("kind", [*KINDS, "yescrypt"])
def test_a_password_of_each_kind(one: Server, kind: str) -> None:
    assert curl(one, "/a.txt", "--user", f"{kind}:secret") == (200, "content")
    assert curl(one, "/a.cgi", "--user", f"{kind}:secret") == (200, f"{kind} Basic ")
    assert curl(one, "/a.txt", "--user", f"{kind}:Secret")[0] == 401
    assert curl(one, "/a.cgi", "--user", f"{kind}:wrong")[0] == 401


def test_a_password_over_http2(world: World) -> None:
    sites = Sites(world)
    server = served(world, f"SSLEngine on\n{sites.certificate('alice')}")
    for path, login, expected in (
        ("/a.txt", "bcrypt:secret", b"content 200 2"),
        ("/a.cgi", "bcrypt:secret", b"bcrypt Basic  200 2"),
        ("/a.cgi", "bcrypt:wrong", b" 401 2"),
        ("/a.txt", "apr1:secret", b"content 200 2"),
        ("/a.txt", "nobody:secret", b" 401 2"),
    ):
        said = encrypted.curl(
            sites, server, "alice.test", path, "--http2", "-u", login, "-w", " %{http_code} %{http_version}"
        )
        assert said.stdout.endswith(expected), said
    body = world.folder / "body"
    body.write_bytes(b"x" * 1_000_000)
    said = encrypted.curl(
        sites, server, "alice.test", "/a.cgi", "--http2", "-u", "sha:secret", "--data-binary", f"@{body}"
    )
    assert said.stdout == b"sha Basic "


def test_who_has_no_password_is_asked(one: Server) -> None:
    response = one.get("alice.test", "/a.txt")
    assert (response.status, response.getheader("WWW-Authenticate")) == (401, 'Basic realm="login"')
    assert curl(one, "/open/a.txt") == (200, "open")


def test_a_body_that_was_sent_meanwhile_is_read(one: Server) -> None:
    """The connection goes on behind a request whose password was checked while its body came."""
    body = "x" * 100_000
    login = base64.b64encode(b"sha:secret").decode()
    fields = f"Host: alice.test\r\nAuthorization: Basic {login}\r\n"
    first = f"POST /a.cgi HTTP/1.1\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}"
    last = f"GET /a.txt HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"
    answers = one.raw((first + last).encode())
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.endswith(b"content")


def test_logs_name_the_user(one: Server, shared_world: World) -> None:
    curl(one, "/a.txt?here", "--user", "sha:secret")
    curl(one, "/a.txt", "--user", "nobody:x")
    eventually(lambda: "nobody 401 /a.txt" in (shared_world.folder / "access.log").read_text())
    assert "sha 200 /a.txt" in (shared_world.folder / "access.log").read_text()
    assert "AH01618: user nobody not found: /a.txt" in one.log()


def test_a_password_is_changed_at_once(world: World) -> None:
    server = served(world)
    file = world.folder / "alice/.htpasswd"
    for password in ("one", "two", "three"):
        htpasswd(file, "bcrypt", "bcrypt", password)
        assert curl(server, "/a.txt", "--user", f"bcrypt:{password}") == (200, "content")
        assert curl(server, "/a.txt", "--user", "bcrypt:secret")[0] == 401


def test_others_are_answered_while_a_slow_hash_is_computed(world: World) -> None:
    server = served(world)
    slow = "slow:$6$rounds=999999999$saltsalt$" + "x" * 86 + "\n"
    file = world.folder / "alice/.htpasswd"
    file.write_text(slow + file.read_text())
    login = base64.b64encode(b"slow:x").decode()
    assert curl(server, "/open/a.txt") == (200, "open")
    threads = Path(f"/proc/{server.worker(ALICE).pid}/task")
    before = len(list(threads.iterdir()))
    with socket.create_connection(("127.0.0.1", server.port), 20) as waiting:
        waiting.sendall(f"GET /a.txt HTTP/1.1\r\nHost: alice.test\r\nAuthorization: Basic {login}\r\n\r\n".encode())
        eventually(lambda: len(list(threads.iterdir())) > before)
        assert curl(server, "/open/a.txt") == (200, "open")
        assert curl(server, "/a.txt", "--user", "sha:secret") == (200, "content")
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):
            waiting.recv(1)
    assert server.stop() == 0


def test_a_file_is_read_as_the_owner(world: World) -> None:
    """One that only root, or another owner, can read is a 500, which the log explains."""
    server = served(world)
    file = world.folder / "alice/.htpasswd"
    for uid in (0, BOB):
        os.chown(file, uid, uid)
        assert curl(server, "/a.txt", "--user", "sha:secret")[0] == 500
    eventually(lambda: f"AH01620: Could not open password file: {file}: Permission denied" in server.log())
    file.unlink()
    os.mkfifo(file)
    os.chown(file, ALICE, ALICE)
    assert curl(server, "/a.txt", "--user", "sha:secret")[0] == 500
    assert curl(server, "/open/a.txt") == (200, "open")
