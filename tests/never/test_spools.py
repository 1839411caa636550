"""What clients and programs can have an owner's processes keep, and what of it is left when everything is killed
(S10, S15)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
from pathlib import Path

from harness import ALICE, Process, Server, World
from waiting import eventually

MIB = 1 << 20
EIGHT = f"SpoolMaxAnswer {8 * MIB}\n"
LARGE = f"#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nexec head -c {64 * MIB} /dev/zero\n"
HOLDS = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nwc -c\n"
RUNS = "<Directory @DIR@/alice>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n"
APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def kept(server: Server) -> int:
    """Bytes in files without a name that the server's processes have open."""
    found: dict[tuple[int, int], int] = {}
    for process in server.processes():
        for descriptor, name in process.descriptors().items():
            if name.endswith("(deleted)") and name.startswith("/") and not name.startswith(("/memfd:", "/dev/")):
                with contextlib.suppress(OSError):
                    status = Path(f"/proc/{process.pid}/fd/{descriptor}").stat()
                    found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def slow_client(server: Server, path: str) -> socket.socket:
    """A client that asks for something and reads nothing yet."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n".encode())
    return sock


def running(server: Server) -> list[Process]:
    """Alice's `head`s."""
    found = []
    for process in server.processes():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process.pid}/comm").read_text() == "head\n":
                found.append(process)
    return found


def test_a_program_waits_for_clients_that_read_nothing(world: World) -> None:
    files: dict[str, str | bytes] = {"large.cgi": LARGE, "index.html": "."}
    server = world.server(EIGHT + world.virtual_host("alice", ALICE, RUNS, files))
    clients = [slow_client(server, "/large.cgi") for _ in range(3)]
    eventually(lambda: kept(server) > 3 * 7 * MIB)
    assert len(running(server)) == 3
    assert kept(server) <= 3 * 9 * MIB
    assert server.get("alice.test").status == 200
    for sock in clients:
        size, zeros = 0, 0
        with sock:
            while data := sock.recv(MIB):
                size += len(data)
                zeros += data.count(b"\0")
        assert zeros == 64 * MIB, "the answer is not whole"
    eventually(lambda: not running(server) and kept(server) == 0)


def test_a_client_that_leaves_ends_the_program_that_waits_for_it(world: World) -> None:
    server = world.server(EIGHT + world.virtual_host("alice", ALICE, RUNS, {"large.cgi": LARGE}))
    with slow_client(server, "/large.cgi"):
        eventually(lambda: kept(server) > 7 * MIB)
        assert running(server)
    eventually(lambda: not running(server) and kept(server) == 0)


def test_bodies_have_room_up_to_a_bound(world: World) -> None:
    """One that is larger than it is 413; where others have it, 503. Small ones need none."""
    lines = "SpoolMaxSize 3000000\n" + world.virtual_host("alice", ALICE, RUNS, {"size.cgi": HOLDS})
    server = world.server(lines)

    def head(size: int) -> bytes:
        fields = f"Host: alice.test\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        return f"POST /size.cgi HTTP/1.1\r\n{fields}".encode()

    assert b"2000000\n" in server.raw(head(2_000_000) + bytes(2_000_000))
    assert server.raw(head(4_000_000) + bytes(4_000_000)).startswith(b"HTTP/1.1 413 ")
    with server.connect() as waiting:
        waiting.sendall(head(2_900_000) + bytes(2_500_000))
        eventually(lambda: kept(server) > 2_400_000)
        assert server.raw(head(2_000_000) + bytes(2_000_000)).startswith(b"HTTP/1.1 503 ")
        assert b"100000\n" in server.raw(head(100_000) + bytes(100_000))
        waiting.sendall(bytes(400_000))
        assert b"200 OK" in waiting.recv(4096)
    assert b"2000000\n" in server.raw(head(2_000_000) + bytes(2_000_000))


def test_nothing_is_left_after_everything_was_killed(world: World) -> None:
    said = f"WSGIScriptAlias /app {world.folder}/alice/app.wsgi\n"
    text = world.virtual_host("alice", ALICE, said, {"app.wsgi": APP})
    before = set(os.listdir(tempfile.gettempdir()))
    server = world.server(text)
    assert server.get("alice.test", "/app").status == 200
    run = world.folder / "run"
    (folder,) = run.glob(f"*/{ALICE}-{ALICE}/*")
    assert (folder / "socket").is_socket()
    everybody = server.processes()
    for process in everybody:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    assert server.process is not None
    server.process.wait()
    eventually(lambda: not any(process.alive for process in everybody))
    assert folder.exists(), "it tidied up: this tries nothing"
    server.start()
    assert not folder.exists()
    assert server.get("alice.test", "/app").status == 200
    assert server.stop() == 0
    assert not list(run.iterdir())
    new = set(os.listdir(tempfile.gettempdir())) - before
    assert not [name for name in new if (Path(tempfile.gettempdir()) / name).stat().st_uid == ALICE]


def test_an_owner_who_fills_his_state_folder_holds_up_a_start_for_seconds_at_most(world: World) -> None:
    server = world.server(world.virtual_host("alice", ALICE))
    server.get("alice.test")
    (folder,) = (world.folder / "run").glob(f"*/{ALICE}-{ALICE}")
    deep = folder
    for _ in range(200):
        deep = deep / "x"
        deep.mkdir()
    for number in range(5_000):
        (folder / f"f{number}").touch()
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to(world.folder / "alice")
    for path in [folder, *folder.rglob("*")]:
        os.lchown(path, ALICE, ALICE)
    everybody = server.processes()
    for process in everybody:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    assert server.process is not None
    server.process.wait()
    eventually(lambda: not any(process.alive for process in everybody))
    server.start()
    assert not list(folder.iterdir())
    assert (world.folder / "alice/index.html").exists()
    assert server.get("alice.test").status == 200
