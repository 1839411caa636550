"""Real sites: Flask and Django through the WSGI runner, Starlette with a WebSocket through uvicorn."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcgi_client import Runner, environment
from frameworks import DJANGO_SETTINGS, DJANGO_URLS, DJANGO_WSGI, FLASK, MASKED_HELLO, STARLETTE, make_home
from ownhost.apps.asgi import command_of
from ownhost.modules.mod_asgi import ScriptAlias
from ownhost.modules.python_daemons import Daemon

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def python_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment as an owner has one."""
    return make_home(tmp_path_factory.mktemp("owner"))


@pytest.fixture
def flask(python_home: Path, tmp_path: Path) -> Iterator[Runner]:
    (tmp_path / "shop.wsgi").write_text(FLASK)
    runner = Runner(tmp_path, tmp_path / "shop.wsgi", python=str(python_home / "bin/python"), name="app")
    yield runner
    runner.close()


def test_flask(flask: Runner) -> None:
    reply = flask.ask(environment("/hello/J\xc3\xbcrgen", SCRIPT_NAME="/shop", HTTPS="on"))
    assert reply.head["Status"] == "200 OK"
    assert json.loads(reply.body) == {
        "hello": "J\xfcrgen",
        "seen": "J\xfcrgen",
        "url": "https://localhost/shop/hello/J\xfcrgen",
    }
    assert reply.head["Set-Cookie"].startswith("session=")
    assert flask.get("/stream").body == b"".join(b"%d\n" % number for number in range(1000))
    assert flask.get("/missing").head["Status"] == "404 NOT FOUND"


def test_flask_takes_uploads(flask: Runner) -> None:
    content = os.urandom(1 << 20)
    body = (
        b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nalice\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + content + b"\r\n--b--\r\n"
    )
    params = environment(
        "/upload", "POST", CONTENT_TYPE="multipart/form-data; boundary=b", CONTENT_LENGTH=str(len(body))
    )
    assert json.loads(flask.ask(params, [body]).body) == {"size": len(content), "name": "alice"}


def test_flasks_own_errors_are_logged(flask: Runner) -> None:
    reply = flask.get("/broken")
    assert reply.head["Status"] == "500 INTERNAL SERVER ERROR"
    assert "ZeroDivisionError" in reply.errors


def test_django(python_home: Path, tmp_path: Path) -> None:
    site = tmp_path / "mysite"
    site.mkdir()
    for name, text in (("settings.py", DJANGO_SETTINGS), ("urls.py", DJANGO_URLS), ("wsgi.py", DJANGO_WSGI)):
        (site / name).write_text(text)
    python = str(python_home / "bin/python")
    migrate = [python, "-m", "django", "migrate", "--settings=mysite.settings", "-v0"]
    subprocess.run(migrate, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=True)
    runner = Runner(tmp_path, site / "wsgi.py", (f"--python-path={tmp_path}",), python=python)
    try:
        form = b"name=alice"
        params = environment(
            "/users/", "POST", CONTENT_TYPE="application/x-www-form-urlencoded", CONTENT_LENGTH=str(len(form))
        )
        assert json.loads(runner.ask(params, [form]).body) == {"users": ["alice"], "path": "/users/"}
        assert json.loads(runner.get("/users/", SCRIPT_NAME="/in").body) == {"users": ["alice"], "path": "/in/users/"}
        assert runner.get("/users").head["Location"] == "/users/"
        assert runner.get("/stream").body.endswith(b"\n999\n")
        assert runner.ask(environment("/users/", "HEAD")).body == b""
        assert runner.get("/missing").head["Status"] == "404 Not Found"
    finally:
        runner.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self.path))


@pytest.fixture
def starlette(python_home: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """uvicorn, started as the launcher does, with its socket in tmp_path."""
    script = tmp_path / "chat.py"
    script.write_text(STARLETTE)
    command = command_of(ScriptAlias("/chat", str(script), "app"), Daemon(python_home=str(python_home)))
    with socket.socket(socket.AF_UNIX) as listener, open(tmp_path / "log", "wb") as log:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        process = subprocess.Popen(command, stdin=listener.fileno(), stdout=log, stderr=log, cwd="/")
    yield process
    process.kill()
    process.wait()


def test_starlette(starlette: subprocess.Popen[bytes], tmp_path: Path) -> None:
    connection = _Connection(tmp_path / "socket")
    fields = {"Host": "localhost", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    for _ in range(2):
        connection.request("POST", "/where?q", body=bytes(1 << 20), headers=fields)
        response = connection.getresponse()
        assert json.loads(response.read()) == {
            "path": "/chat/where",
            "root": "/chat",
            "client": "192.0.2.1",
            "scheme": "https",
            "started": True,
            "body": 1 << 20,
        }
        assert response.getheader("Server") is None
    connection.close()
    starlette.send_signal(signal.SIGTERM)
    starlette.wait(10)
    assert (tmp_path / "log").read_text() == "ended\n"


def test_starlette_speaks_websocket(starlette: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(tmp_path / "socket"))
        sock.sendall(
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 ")
        sock.sendall(MASKED_HELLO)
        assert sock.recv(100) == b"\x81\x05HELLO"
