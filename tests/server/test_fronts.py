"""Proxies that the administrator lists: their connections go to a front, which relays each request to its owner."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import Backend
from encrypted import Sites
from harness import ALICE, BOB, Server, World, answer, standing
from waiting import eventually, is_silent

LISTED = "RemoteIPInternalProxy 127.0.0.1\nRemoteIPHeader X-Forwarded-For\n"
ECHO = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s ' \"$(id -u)\"; exec cat\n"
SLOW = (
    "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\none\\n'; while [ ! -e go ]; do sleep 0.05; done; echo two\n"
)
ENDLESS = "#!/bin/sh\necho $$ >pid; printf 'Content-Type: text/plain\\r\\n\\r\\n'; while echo x; do sleep 0.05; done\n"
STUCK = "#!/bin/sh\necho $$ >pid; exec sleep 60\n"
FILES: dict[str, str | bytes] = {
    "big": b"0123456789" * 3_000_000,
    "echo.cgi": ECHO,
    "slow.cgi": SLOW,
    "endless.cgi": ENDLESS,
    "stuck.cgi": STUCK,
    "only/x": "x\n",
}
EXTRA = (
    "<Directory @DIR@/{0}>\nOptions +ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n"
    "<Location /only>\nRequire ip 198.51.100.7\n</Location>\n"
    'LogFormat "%a %{{c}}a %r %>s" seen\nCustomLog @DIR@/{0}.log seen\n'
)


def host(world: World, name: str, uid: int, extra: str = "") -> str:
    files = {"index.html": f"{name}\n", **FILES}
    return world.virtual_host(name, uid, EXTRA.format(name) + extra, files)


@pytest.fixture(scope="module")
def two() -> Iterator[Server]:
    """alice.test and bob.test behind a proxy: the tests themselves."""
    world = World()
    server = world.server(LISTED + "MaxKeepAliveRequests 0\n" + host(world, "alice", ALICE) + host(world, "bob", BOB))
    yield server
    world.close()


def get(name: str, path: str = "/", *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {name}.test", *fields, "", "")).encode()


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        more = sock.recv(65_536)
        assert more, data
        data += more
    return data


def test_one_connection_carries_requests_of_all_owners(two: Server) -> None:
    with two.connect() as sock:
        for _ in range(20):
            for name in ("alice", "bob"):
                sock.sendall(get(name))
                assert answer(sock).content == f"{name}\n".encode()


def test_requests_that_do_not_wait_are_answered_in_order(two: Server) -> None:
    names = ["alice", "bob", "bob", "alice"] * 10
    with two.connect() as sock:
        sock.sendall(b"".join(map(get, names)) + get("alice", "/", "Connection: close"))
        said = b""
        while data := sock.recv(65_536):
            said += data
    assert [body.partition(b"HTTP/")[0].decode() for body in said.split(b"\r\n\r\n")[1:]] == [
        f"{name}\n" for name in [*names, "alice"]
    ]


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
def test_bodies(two: Server, size: int) -> None:
    body = b"x" * size
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:100_000], body[100_000:]) if part)
    with two.connect() as sock:
        for name, uid in (("alice", ALICE), ("bob", BOB)) * 2:
            sock.sendall(get(name, "/echo.cgi", f"Content-Length: {size}", method="POST") + body)
            assert answer(sock).content == b"%d %b" % (uid, body)
            sock.sendall(get(name, "/echo.cgi", "Transfer-Encoding: chunked", method="POST") + chunks + b"0\r\n\r\n")
            assert answer(sock).content == b"%d %b" % (uid, body)


def test_expect(two: Server) -> None:
    with two.connect() as sock:
        for name, uid in (("alice", ALICE), ("bob", BOB)):
            sock.sendall(get(name, "/echo.cgi", "Content-Length: 2", "Expect: 100-continue", method="POST"))
            assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"hi")
            assert answer(sock).content == b"%d hi" % uid


def test_a_slow_reader_costs_no_memory(two: Server) -> None:
    fronts = two.processes("front")
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(two.connect(30)) for _ in range(10)]
        for sock in socks:
            sock.sendall(get("alice", "/big") + get("bob", "/", "Connection: close"))
        for sock in socks:
            size, end = 0, b""
            while data := sock.recv(1 << 20):
                size, end = size + len(data), (end + data)[-4:]
            assert size > len(FILES["big"])
            assert end == b"bob\n"
    assert max(int(front.status["VmHWM"].split()[0]) for front in fronts) < 150_000


def test_what_a_program_says_comes_at_once(two: Server) -> None:
    go = two.folder / "alice" / "go"
    with two.connect() as sock:
        sock.sendall(get("alice", "/slow.cgi"))
        assert b"one" in read_until(sock, b"one\n\r\n")
        go.touch()
        assert b"two" in read_until(sock, b"0\r\n\r\n")
        sock.sendall(get("bob"))
        assert answer(sock).content == b"bob\n"


@pytest.mark.parametrize("path", ["/endless.cgi", "/stuck.cgi"])
@pytest.mark.parametrize("reset", [False, True])
def test_the_program_of_a_client_who_leaves_is_ended(two: Server, path: str, reset: bool) -> None:
    pid = two.folder / "alice" / "pid"
    pid.unlink(missing_ok=True)
    with two.connect() as sock:
        sock.sendall(get("alice", path))
        eventually(lambda: pid.exists() and pid.read_text().strip())
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    eventually(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


def test_a_client_that_says_no_more_is_answered(two: Server) -> None:
    with two.connect() as sock:
        sock.sendall(get("alice") + get("bob"))
        sock.shutdown(socket.SHUT_WR)
        said = b""
        while data := sock.recv(65_536):
            said += data
    assert said.count(b"HTTP/1.1 200 ") == 2
    assert said.endswith(b"bob\n")


def test_what_is_no_request_is_refused_and_logged_by_the_owner(two: Server) -> None:
    said = two.raw(get("alice") + b"GET /\x01 HTTP/1.1\r\nHost: bob.test\r\n\r\n" + get("alice"))
    assert said.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 400 Bad Request\r\n" in said
    eventually(lambda: " 400\n" in two.log("bob.log"))
    assert two.raw(get("bob", f"/{'x' * 9_000}")).startswith(b"HTTP/1.1 414 ")
    assert two.raw(get("bob", "/", "X: " + "x" * 9_000)).startswith(b"HTTP/1.1 431 ")
    assert two.raw(b"HEAD / HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")


def test_the_client_is_whom_the_proxy_names(two: Server) -> None:
    with two.connect() as sock:
        for name in ("alice", "bob"):
            for client, status in (("198.51.100.7", 200), ("198.51.100.8", 403)):
                sock.sendall(get(name, "/only/x", f"X-Forwarded-For: {client}"))
                assert answer(sock).status == status
                line = f"{client} 127.0.0.1 GET /only/x HTTP/1.1 {status}\n"
                eventually(lambda: line in two.log(f"{name}.log"))  # noqa: B023


def test_a_worker_that_dies_within_an_answer_ends_it(two: Server) -> None:
    pid = two.folder / "alice" / "pid"
    pid.unlink(missing_ok=True)
    with two.connect() as sock:
        sock.sendall(get("alice", "/stuck.cgi"))
        eventually(lambda: pid.exists() and pid.read_text().strip())
        os.kill(two.worker(ALICE).pid, signal.SIGKILL)
        assert answer(sock).status == 502
        assert sock.recv(1) == b""
    assert two.get("alice.test").status == 200


def test_a_worker_that_dies_between_requests_is_not_noticed(two: Server) -> None:
    with two.connect() as sock:
        for _ in range(3):
            for method in ("GET", "POST"):
                sock.sendall(get("alice", "/", "Content-Length: 0", method=method))
                assert answer(sock).status in (200, 405)
                os.kill(two.worker(ALICE).pid, signal.SIGKILL)
                eventually(lambda: not [one for one in two.processes("worker") if one.uid == ALICE])


def test_a_front_that_is_killed_is_replaced(two: Server) -> None:
    with two.connect() as kept:
        kept.sendall(get("alice"))
        assert answer(kept).status == 200
        before = two.processes("front")
        assert len(before) >= 2
        for front in before:
            os.kill(front.pid, signal.SIGKILL)
        assert kept.recv(1) == b""
    assert two.get("bob.test").content == b"bob\n"
    eventually(lambda: len([one for one in two.processes("front") if one.alive]) == len(before))


def test_who_stands_still_costs_his_own_requests(two: Server) -> None:
    assert two.get("alice.test").status == two.get("bob.test").status == 200
    with standing([one for one in two.processes("worker") if one.uid == ALICE]), two.connect(30) as sock:
        sock.sendall(get("alice"))
        for _ in range(20):
            assert two.get("bob.test").content == b"bob\n"
        assert answer(sock).status == 503
        sock.sendall(get("bob"))
        assert answer(sock).content == b"bob\n"
    assert two.get("alice.test").status == 200
    assert "its processes don't keep up; answered 503" in two.log()


def test_time_outs(world: World) -> None:
    times = "KeepAliveTimeout 60\nRequestReadTimeout header=1\nTimeout 2\n"
    server = world.server(
        LISTED + times + host(world, "alice", ALICE) + host(world, "bob", BOB, "KeepAliveTimeout 1\n")
    )
    with server.connect() as sock:
        sock.sendall(get("bob"))
        assert answer(sock).status == 200
        begun = time.monotonic()
        assert sock.recv(1) == b""
        assert time.monotonic() - begun > 0.5
    with server.connect() as sock:
        sock.sendall(get("alice") + b"GET / HT")
        assert answer(sock).status == 200
        assert answer(sock).status == 408
        assert sock.recv(1) == b""
    with server.connect() as sock:
        sock.sendall(b"\r\n")
        assert sock.recv(1) in (b"", b"H")
    with server.connect(30) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.sendall(get("alice", "/big"))
        eventually(lambda: all(one.title.endswith("(0 connections)") for one in server.processes("worker")), 20)
    with server.connect() as sock:
        sock.sendall(get("alice", "/echo.cgi", "Content-Length: 5", method="POST") + b"x")
        assert answer(sock).status == 408


def test_max_keep_alive_requests(world: World) -> None:
    server = world.server(LISTED + "MaxKeepAliveRequests 3\n" + host(world, "alice", ALICE) + host(world, "bob", BOB))
    with server.connect() as sock:
        for name in ("alice", "bob", "alice"):
            sock.sendall(get(name))
            last = answer(sock)
            assert last.content == f"{name}\n".encode()
        assert last.getheader("Connection") == "close"
        assert sock.recv(1) == b""


def test_max_clients_vhost(world: World) -> None:
    server = world.server(LISTED + host(world, "alice", ALICE, "MaxClientsVHost 1\n") + host(world, "bob", BOB))
    with server.connect() as one, server.connect() as other:
        one.sendall(get("alice", "/endless.cgi"))
        assert one.recv(10)
        other.sendall(get("bob"))
        served = answer(other)
        assert (served.status, served.content) == (200, b"bob\n")
        other.sendall(get("alice"))
        refused = answer(other)
        assert (refused.status, refused.getheader("Connection")) == (503, "close")  # as on a direct connection
        one.close()
        eventually(lambda: server.get("alice.test").status == 200)


def test_other_identities_of_a_virtual_host(world: World) -> None:
    """The front need not know of them: the virtual host's own worker relays on."""
    uids = {name: pwd.getpwnam(name).pw_uid for name in ("games", "news")}
    rules = "RewriteEngine on\nRewriteRule /~([a-z]+)/ - [E=WHO:$1]\nAssignUserIDExpr %{reqenv:WHO}\n"
    files: dict[str, str | bytes] = {f"~{name}/echo.cgi": ECHO for name in uids}
    shared = world.virtual_host("shared", ALICE, EXTRA.format("shared") + rules, files)
    (world.folder / "shared").chmod(0o711)
    for name, uid in uids.items():
        for path in (world.folder / "shared" / f"~{name}", world.folder / "shared" / f"~{name}" / "echo.cgi"):
            os.chown(path, uid, uid)
            path.chmod(0o700)
    server = world.server(LISTED + shared + host(world, "bob", BOB))
    with server.connect(30) as sock:
        for _ in range(3):
            for name, uid in uids.items():
                sock.sendall(get("shared", f"/~{name}/echo.cgi", "Content-Length: 5", method="POST") + b"hello")
                assert answer(sock).content == b"%d hello" % uid
                sock.sendall(get("bob"))
                assert answer(sock).content == b"bob\n"


@pytest.mark.parametrize("more", ["", "AssignUserIDExpr games\n"])
def test_websockets(world: World, more: str) -> None:
    with contextlib.ExitStack() as stack:
        backend = Backend()
        stack.callback(backend.server_close)
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        stack.callback(backend.shutdown)
        passes = f"ProxyPass /w/ ws://127.0.0.1:{backend.port}/\n"
        server = world.server(LISTED + host(world, "alice", ALICE, passes + more) + host(world, "bob", BOB))
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        with server.connect() as sock:
            sock.sendall(get("bob"))
            assert answer(sock).status == 200
            upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key)
            sock.sendall(get("alice", "/w/websocket", *upgrade))
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            for _ in range(3):
                sock.sendall(b"hello")
                assert sock.recv(4096) == b"HELLO"
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(4096) == b""


V1 = b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes((198, 51, 100, 7, 192, 0, 2, 1)) + b"\x12\x67\0\x50"


@pytest.mark.parametrize("header", [V1, V2])
def test_the_proxy_protocol(world: World, header: bytes) -> None:
    server = world.server(LISTED + "RemoteIPProxyProtocol On\n" + host(world, "alice", ALICE) + host(world, "bob", BOB))
    with server.connect() as sock:
        sock.sendall(header[:10])
        sock.sendall(header[10:] + get("alice", "/only/x"))
        assert answer(sock).status == 200
        sock.sendall(get("bob", "/only/x"))
        assert answer(sock).status == 200
    eventually(lambda: "198.51.100.7 127.0.0.1 GET /only/x HTTP/1.1 200\n" in server.log("bob.log"))
    assert server.raw(get("alice")) == b""
    eventually(lambda: "does not begin with the PROXY protocol" in server.log())


def test_who_is_not_listed_has_no_front(world: World) -> None:
    listed = "RemoteIPInternalProxy 192.0.2.1\nRemoteIPProxyProtocol On\n"
    server = world.server(listed + host(world, "alice", ALICE) + host(world, "bob", BOB))
    assert server.raw(V1 + get("alice")).startswith(b"HTTP/1.1 400 ")
    with server.connect() as sock:
        sock.sendall(get("alice"))
        assert answer(sock).status == 200
        sock.sendall(get("bob"))
        assert sock.recv(1) == b""


def test_without_listed_proxies_there_is_no_front(world: World) -> None:
    server = world.server(host(world, "alice", ALICE))
    assert server.get("alice.test").status == 200
    assert not server.processes("front")


@pytest.mark.parametrize("header", [V1, V2, b""])
def test_over_tls_the_gate_reads_the_header(sites: Sites, header: bytes) -> None:
    """In front of the handshake, and in two parts."""
    protocol = "On" if header else "Off"
    listed = f"RemoteIPInternalProxy 127.0.0.1\nRemoteIPProxyProtocol {protocol}\n"
    server = sites.world.server(listed + sites.virtual_host("alice", ALICE, EXTRA.format("alice")))
    with server.connect() as sock:
        if header:
            sock.sendall(header[:20])
            assert is_silent(sock, 0.05)
            sock.sendall(header[20:])
        with sites.context().wrap_socket(sock, server_hostname="alice.test") as encrypted:
            encrypted.sendall(get("alice"))
            assert answer(encrypted).status == 200
    who = "198.51.100.7" if header else "127.0.0.1"
    eventually(lambda: f"{who} 127.0.0.1 GET / HTTP/1.1 200\n" in server.log("alice.log"))


def test_a_graceful_stop_finishes_what_is_begun(world: World) -> None:
    server = world.server(LISTED + host(world, "alice", ALICE) + host(world, "bob", BOB))
    with server.connect(30) as busy, server.connect() as idle:
        idle.sendall(get("bob"))
        assert answer(idle).status == 200
        busy.sendall(get("alice", "/slow.cgi"))
        assert b"one" in read_until(busy, b"one\n\r\n")
        os.kill(server.pid, signal.SIGWINCH)
        assert idle.recv(1) == b""
        (server.folder / "alice" / "go").touch()
        assert b"two" in read_until(busy, b"0\r\n\r\n")
        assert busy.recv(1) == b""
    assert server.process is not None
    assert server.process.wait(20) == 0
