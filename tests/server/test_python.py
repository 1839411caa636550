"""Python applications in the real server, as their owners: mod_wsgi's directives, and ASGI's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from frameworks import DJANGO_SETTINGS, DJANGO_URLS, DJANGO_WSGI, FLASK, MASKED_HELLO, STARLETTE, make_home
from harness import ALICE, BOB, Process, Server, World, answer
from waiting import eventually

SITE = """
import json, os, sys

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        import time
        time.sleep(60)
    if path == "/error":
        print("said to wsgi.errors", file=environ["wsgi.errors"])
        raise RuntimeError("broken on purpose")
    if path == "/upload":
        size = 0
        while data := environ["wsgi.input"].read(65536):
            size += len(data)
        body = str(size).encode()
    elif path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"x" * 65536 for _ in range(400))
    else:
        names = ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "HTTP_AUTHORIZATION", "wsgi.multithread")
        told = {name: environ.get(name) for name in names}
        told.update(pid=os.getpid(), uid=os.geteuid(), version="one", prefix=sys.prefix, folder=os.getcwd())
        body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


def wsgi(world: World, daemon: str = "", extra: str = "", script: str = SITE) -> Server:
    """A server with alice's application at /app."""
    path = f"{world.folder}/alice/app.wsgi"
    said = f"WSGIDaemonProcess site {daemon}\nWSGIScriptAlias /app {path} process-group=site\n{extra}\n"
    return world.server(world.virtual_host("alice", ALICE, said, {"app.wsgi": script, "index.html": "here"}))


def told(server: Server, path: str = "/app/", **fields: str) -> dict[str, object]:
    response = server.get("alice.test", path, **fields)
    assert response.status == 200, server.log()
    return dict(json.loads(response.content))


def test_an_application_is_its_owners(world: World) -> None:
    server = wsgi(world)
    answer = told(server, "/app/a%20b?c", Authorization="Basic YTpi")
    assert (answer["uid"], answer["SCRIPT_NAME"], answer["PATH_INFO"]) == (ALICE, "/app", "/a b")
    assert (answer["QUERY_STRING"], answer["HTTP_AUTHORIZATION"], answer["wsgi.multithread"]) == ("c", None, False)
    assert server.get("alice.test", "/index.html").content == b"here"
    assert server.get("alice.test", "/app.wsgi").content == SITE.encode()


def test_passwords_are_passed_on_where_that_is_said(world: World) -> None:
    server = wsgi(world, extra="WSGIPassAuthorization On")
    assert told(server, Authorization="Basic YTpi")["HTTP_AUTHORIZATION"] == "Basic YTpi"


def test_an_environment_of_its_own(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = world.folder / "venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(home)], check=True)
    server = wsgi(world, f"python-home={home} home={world.folder}/alice")
    answer = told(server)
    assert (answer["prefix"], answer["folder"]) == (str(home), f"{world.folder}/alice")


def test_processes_are_as_many_as_said(world: World) -> None:
    server = wsgi(world, "processes=2")
    with ThreadPoolExecutor(12) as pool:
        pids = {answer["pid"] for answer in pool.map(lambda _: told(server), range(60))}
    assert 1 <= len(pids) <= 2


def test_processes_are_replaced_after_so_many_requests(world: World) -> None:
    server = wsgi(world, "processes=1 maximum-requests=2")
    pids = [told(server)["pid"] for _ in range(6)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]


def test_a_request_that_takes_too_long(world: World) -> None:
    server = wsgi(world, "processes=1 request-timeout=2")
    assert server.get("alice.test", "/app/slow").status == 504
    assert told(server)["version"] == "one"


def test_a_touched_script_is_loaded_anew(world: World) -> None:
    server = wsgi(world, "processes=1")
    assert told(server)["version"] == "one"
    script = world.folder / "alice/app.wsgi"
    script.write_text(SITE.replace('"one"', '"two"'))
    assert told(server)["version"] == "two"


def test_a_script_that_cannot_be_loaded(world: World) -> None:
    server = wsgi(world, script="import none_such\n")
    for _ in range(3):
        assert server.get("alice.test", "/app/").status == 500
    eventually(lambda: "No module named 'none_such'" in server.log())
    (world.folder / "alice/app.wsgi").write_text(SITE)
    assert told(server)["version"] == "one"


def test_a_script_that_ends_its_process(world: World) -> None:
    server = wsgi(world, script="import os\nos._exit(3)\n")
    assert server.get("alice.test", "/app/").status == 500


def test_a_python_that_is_none(world: World) -> None:
    server = wsgi(world, f"python-home={world.folder}/none")
    assert server.get("alice.test", "/app/").status == 500
    eventually(lambda: f"(2)No such file or directory: exec of '{world.folder}/none/bin/python' failed" in server.log())


def test_errors_are_logged(world: World) -> None:
    server = wsgi(world)
    assert server.get("alice.test", "/app/error").status == 500
    eventually(lambda: "RuntimeError: broken on purpose" in server.log())
    eventually(lambda: "said to wsgi.errors" in server.log())
    assert told(server)["version"] == "one"


def test_a_killed_process_is_replaced(world: World) -> None:
    server = wsgi(world, "processes=1")
    pid = told(server)["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert told(server)["pid"] != pid


def test_processes_end_when_nobody_asks(world: World) -> None:
    server = wsgi(world, "inactivity-timeout=1")
    pid = told(server)["pid"]
    eventually(lambda: not Path(f"/proc/{pid}").exists(), 15)
    assert told(server)["pid"] != pid


def test_large_bodies(world: World) -> None:
    server = wsgi(world)
    client = server.client(30)
    client.request("POST", "/app/upload", bytes(40_000_000), {"Host": "alice.test"})
    assert client.getresponse().read() == b"40000000"
    client.request("GET", "/app/stream", headers={"Host": "alice.test"})
    assert len(client.getresponse().read()) == 400 * 65536
    client.close()
    for process in (server.worker(ALICE), *server.processes("launcher")):
        assert int(process.status["VmHWM"].split()[0]) < 150_000


def test_slow_clients_do_not_hold_a_process(world: World) -> None:
    server = wsgi(world, "processes=1")
    pid = told(server)["pid"]
    with server.connect() as reader, server.connect() as writer:
        reader.sendall(b"GET /app/stream HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        writer.sendall(b"POST /app/upload HTTP/1.1\r\nHost: alice.test\r\nContent-Length: 20\r\n\r\n0123456789")
        assert reader.recv(12) == b"HTTP/1.1 200"
        assert told(server)["pid"] == pid
        writer.sendall(b"0123456789")
        assert answer(writer).content == b"20"


def test_another_owners_script(world: World) -> None:
    script = f"{world.folder}/alice/app.wsgi"
    bob = world.virtual_host("bob", BOB, f"WSGIScriptAlias /app {script}\n")
    world.site("alice", ALICE, {"app.wsgi": SITE})
    assert world.server(bob).get("bob.test", "/app").status in (403, 404)


# Frameworks


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A virtual environment with them, which every owner may use."""
    folder = World()
    try:
        yield make_home(folder.folder)
    finally:
        folder.close()


def test_flask(world: World, home: Path) -> None:
    server = wsgi(world, f"python-home={home}", "WSGICallableObject app", script=FLASK)
    answer = told(server, "/app/hello/J%C3%BCrgen")
    assert answer == {"hello": "J\xfcrgen", "url": "http://alice.test/app/hello/J\xfcrgen", "seen": "J\xfcrgen"}
    assert server.get("alice.test", "/app/stream").content.count(b"\n") == 1000
    assert server.get("alice.test", "/app/broken").status == 500
    eventually(lambda: "ZeroDivisionError" in server.log())


def test_django(world: World, home: Path) -> None:
    settings = DJANGO_SETTINGS.replace("localhost", "alice.test")
    files: dict[str, str | bytes] = {
        "mysite/settings.py": settings,
        "mysite/urls.py": DJANGO_URLS,
        "mysite/wsgi.py": DJANGO_WSGI,
    }
    folder = world.folder / "alice"
    said = (
        f"WSGIDaemonProcess site python-home={home} python-path={folder}\nWSGIProcessGroup site\n"
        f"WSGIScriptAlias / {folder}/mysite/wsgi.py\n"
    )
    server = world.server(world.virtual_host("alice", ALICE, said, files))
    migrate = [str(home / "bin/python"), "-m", "django", "migrate", "--settings=mysite.settings", "-v0"]
    subprocess.run(migrate, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, check=True, user=ALICE)
    client = server.client()
    form = {"Host": "alice.test", "Content-Type": "application/x-www-form-urlencoded"}
    client.request("POST", "/users/", b"name=carol", form)
    assert json.loads(client.getresponse().read()) == {"users": ["carol"], "path": "/users/"}
    client.close()
    assert server.get("alice.test", "/users").getheader("Location") == "/users/"
    assert (folder / "mysite/db").stat().st_uid == ALICE


@pytest.fixture
def starlette(world: World, home: Path) -> Server:
    script = f"{world.folder}/alice/chat.py"
    said = f"ASGIDaemonProcess chat python-home={home}\nASGIScriptAlias /chat {script}:app process-group=chat\n"
    return world.server(world.virtual_host("alice", ALICE, said, {"chat.py": STARLETTE}))


def test_starlette(starlette: Server) -> None:
    answer = told(starlette, "/chat/where?q", X_Forwarded_For="192.0.2.9", X_Forwarded_Proto="https")
    assert answer == {
        "path": "/chat/where",
        "root": "/chat",
        "client": "127.0.0.1",
        "scheme": "http",
        "started": True,
        "body": 0,
    }
    client = starlette.client()
    client.request("POST", "/chat/where", bytes(5_000_000), {"Host": "alice.test"})
    assert json.loads(client.getresponse().read())["body"] == 5_000_000
    client.close()
    assert starlette.get("alice.test", "/chat/none").status == 404


def websocket(server: Server) -> socket.socket:
    """A WebSocket of alice's chat."""
    sock = server.connect()
    sock.sendall(
        b"GET /chat/echo HTTP/1.1\r\nHost: alice.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101 ")
    return sock


def test_starlette_speaks_websocket(starlette: Server) -> None:
    with websocket(starlette) as sock:
        for _ in range(3):
            sock.sendall(MASKED_HELLO)
            assert sock.recv(100) == b"\x81\x05HELLO"
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(100):
            pass


def test_an_asgi_process_that_is_killed_or_has_served_enough_is_replaced(world: World, home: Path) -> None:
    script = f"{world.folder}/alice/chat.py"
    said = (
        f"ASGIDaemonProcess chat python-home={home} maximum-requests=3\n"
        f"ASGIScriptAlias / {script}:app process-group=chat\n"
    )
    server = world.server(world.virtual_host("alice", ALICE, said, {"chat.py": STARLETTE}))
    for _ in range(8):
        assert told(server, "/where")["started"]
    for process in uvicorns(server):
        os.kill(process.pid, signal.SIGKILL)
    assert told(server, "/where")["started"]


def test_as_many_asgi_processes_run_as_are_said(world: World, home: Path) -> None:
    script = f"{world.folder}/alice/chat.py"
    said = f"ASGIDaemonProcess chat python-home={home} processes=2\nASGIScriptAlias / {script}:app process-group=chat\n"
    server = world.server(world.virtual_host("alice", ALICE, said, {"chat.py": STARLETTE}))
    assert told(server, "/where")["started"]
    one, _ = uvicorns(server)
    os.kill(one.pid, signal.SIGKILL)
    eventually(lambda: told(server, "/where")["started"] and len(uvicorns(server)) == 2 and not one.alive)


def uvicorns(server: Server) -> list[Process]:
    """The owner's ASGI processes."""
    own = [process for process in server.processes() if process.alive and process.uid == ALICE]
    return [process for process in own if b"uvicorn" in Path(f"/proc/{process.pid}/cmdline").read_bytes()]


def touch(world: World, text: str) -> None:
    """Have alice's application tell one thing more."""
    (world.folder / "alice/chat.py").write_text(STARLETTE.replace('"path":', f'"{text}": 1, "path":'))


def test_a_touched_asgi_script_is_loaded_anew(starlette: Server, world: World) -> None:
    assert "more" not in told(starlette, "/chat/where")
    touch(world, "more")
    assert "more" in told(starlette, "/chat/where")
    eventually(lambda: len(uvicorns(starlette)) == 1)


def test_no_request_is_lost_where_an_asgi_script_is_touched(starlette: Server, world: World) -> None:
    enough = threading.Event()

    def ask() -> None:
        while not enough.is_set():
            assert told(starlette, "/chat/where")["started"]

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for number in range(1, 6):
                touch(world, "m" * number)  # of another size, too: bytecode is told from its source by whole seconds
                assert "m" * number in told(starlette, "/chat/where")
        finally:
            enough.set()
        for one in asking:
            one.result()


def test_a_conversation_goes_on_where_an_asgi_script_is_touched(starlette: Server, world: World) -> None:
    with websocket(starlette) as sock:
        touch(world, "more")
        assert "more" in told(starlette, "/chat/where")
        sock.sendall(MASKED_HELLO)
        assert sock.recv(100) == b"\x81\x05HELLO"
        assert len(uvicorns(starlette)) == 2
    eventually(lambda: len(uvicorns(starlette)) == 1)


def test_an_asgi_script_that_cannot_be_loaded(world: World, home: Path) -> None:
    script = f"{world.folder}/alice/chat.py"
    said = f"ASGIDaemonProcess chat python-home={home}\nASGIScriptAlias /chat {script} process-group=chat\n"
    server = world.server(world.virtual_host("alice", ALICE, said, {"chat.py": "import none_such\n"}))
    assert server.get("alice.test", "/chat").status == 500
    assert server.get("alice.test", "/chat").status == 503  # for a while, it is not tried again
    eventually(lambda: "No module named 'none_such'" in server.log())
