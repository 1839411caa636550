"""Requests over TLS: whose they may be, virtual hosts of several identities, bodies, programs, other protocols."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from encrypted import Sites, ask, curl, exchange, s_client
from harness import ALICE, BOB, CAROL, Server, World, answer
from waiting import Still, eventually, is_silent, unread

BIG = os.urandom(1 << 20) * 20  # 20 MiB
WHO = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; id -u\n"
ECHO = "#!/bin/sh\nprintf 'Content-Type: application/octet-stream\\n\\n'; cat\n"
CGI = "Options ExecCGI FollowSymLinks\nSetHandler cgi-script\n"


def choosing(world: World, sites: Sites, extra: str = "") -> str:
    """all.test is alice's; what X-Who names serves instead, and below /bob/ it is bob who does."""
    for name, uid in (("alice", ALICE), ("bob", BOB)):
        world.site(name, uid, {"who.cgi": WHO, "echo.cgi": ECHO, "big.bin": BIG, "index.html": f"{name}\n"})
    sections = "".join(
        f"<Directory {world.folder}/{name}>\nRequire all granted\nOptions ExecCGI\n"
        "<Files *.cgi>\nSetHandler cgi-script\n</Files>\n</Directory>\n"
        for name in ("alice", "bob")
    )
    return (
        f"<VirtualHost 127.0.0.1:@PORT@>\nServerName all.test\nSSLEngine on\n{sites.certificate('all')}"
        f'DocumentRoot {world.folder}/alice\nAlias /bob/ {world.folder}/bob/\nAssignUserID "#{ALICE}" "#{ALICE}"\n'
        f'<Location /bob/>\nAssignUserID "#{BOB}" "#{BOB}"\n</Location>\n{sections}{extra}</VirtualHost>\n'
    )


@pytest.fixture(scope="module")
def chosen(shared_world: World, shared_sites: Sites) -> Server:
    """all.test, part of which is bob's, and carol.test."""
    return shared_world.server(choosing(shared_world, shared_sites) + shared_sites.virtual_host("carol", CAROL))


@pytest.fixture
def own(world: World, sites: Sites) -> Server:
    """all.test, for a test that stops it."""
    return world.server(choosing(world, sites))


class Stream:
    """A connection as http.client takes it, with what is behind an answer kept for the next one."""

    def __init__(self, sock: socket.socket) -> None:
        self.file = sock.makefile("rb")

    def makefile(self, _mode: str) -> Stream:
        return self

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)

    def close(self) -> None:
        """For http.client, which is done with one answer."""


# Hosts and connections


def test_another_owners_host_is_421_and_the_connection_goes_on(world: World, sites: Sites) -> None:
    server = world.server(sites.virtual_host("alice", ALICE) + sites.virtual_host("bob", BOB))
    with sites.connect(server) as sock:
        for _ in range(3):
            assert ask(sock, "bob.test").status == 421
            assert ask(sock, "alice.test").content == b"alice\n"
            assert ask(sock, "unknown.test").content == b"alice\n", "the address's default"
    assert not [process for process in server.processes("worker") if process.uid == BOB]


def test_hosts_that_nobody_goes_by_are_refused_where_they_must_be_known(world: World, sites: Sites) -> None:
    server = world.server("StrictHostCheck On\n" + sites.virtual_host("alice", ALICE) + sites.virtual_host("bob", BOB))
    with sites.connect(server) as sock:
        assert ask(sock, "alice.test").content == b"alice\n"
        assert ask(sock, "bob.test").status == 421
        assert ask(sock, "unknown.test").status == 400
    for version in ("--http1.1", "--http2"):
        said = curl(sites, server, "alice.test", "/", version, "-w", "%{http_code}", "-H", "Host: unknown.test")
        assert said.stdout.endswith(b"400"), said
    assert "AH10157: Requested hostname 'unknown.test' did not match any ServerName/ServerAlias" in server.log()


def test_a_421_leaves_no_body_in_the_stream(world: World, sites: Sites) -> None:
    server = world.server(sites.virtual_host("alice", ALICE) + sites.virtual_host("bob", BOB))
    with sites.connect(server) as sock:
        assert ask(sock, "bob.test", method="POST", body=b"GET / HTTP/1.1\r\nHost: alice.test\r\n\r\n").status == 421
        assert ask(sock, "alice.test").content == b"alice\n"


def test_the_same_owners_other_hosts_share_a_connection(world: World, sites: Sites) -> None:
    """Also those that only the gates know of: a wildcard's."""
    both = sites.certificate("alice", "second.test")
    other = sites.virtual_host("second", ALICE, "ServerAlias *.second.test\n", certificate=both)
    server = world.server(sites.virtual_host("alice", ALICE, certificate=both) + other)
    with sites.connect(server) as sock:
        assert ask(sock, "second.test").content == b"second\n"
        assert ask(sock, "any.second.test").content == b"second\n"
        assert ask(sock, "alice.test").content == b"alice\n"


@pytest.mark.parametrize(
    "differs", ["SSLVerifyClient optional\nSSLCACertificateFile @DIR@/authority.pem\n", "SSLProtocol TLSv1.3\n"]
)
def test_hosts_of_one_owner_that_ask_for_other_things_do_not_share(world: World, sites: Sites, differs: str) -> None:
    server = world.server(sites.virtual_host("alice", ALICE) + sites.virtual_host("second", ALICE, differs))
    for one, two in (("alice.test", "second.test"), ("second.test", "alice.test")):
        with sites.connect(server, one) as sock:
            assert ask(sock, two).status == 421
            assert ask(sock, one).status == 200


def test_plain_http_does_not_reach_a_worker_by_a_name(world: World, sites: Sites) -> None:
    server = world.server(sites.virtual_host("alice", ALICE))
    assert b"alice\n" not in server.raw(b"GET / HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n")


# A virtual host of several identities


def test_owners_take_turns_on_one_connection(shared_sites: Sites, chosen: Server) -> None:
    with shared_sites.connect(chosen, "all.test") as sock:
        for _ in range(4):
            assert ask(sock, "all.test", "/who.cgi").content == b"%d\n" % ALICE
            assert ask(sock, "all.test", "/").content == b"alice\n"
            assert ask(sock, "all.test", "/bob/who.cgi").content == b"%d\n" % BOB
            assert ask(sock, "all.test", "/bob/").content == b"bob\n"
            assert ask(sock, "all.test", "/bob/none").status == 404
            assert ask(sock, "carol.test").status == 421


def test_owners_take_turns_in_one_packet(shared_sites: Sites, chosen: Server) -> None:
    """Pipelined."""
    paths = ["/", "/bob/", "/who.cgi", "/bob/who.cgi", "/bob/", "/"] * 3
    with shared_sites.connect(chosen, "all.test") as sock:
        sock.sendall("".join(f"GET {path} HTTP/1.1\r\nHost: all.test\r\n\r\n" for path in paths).encode())
        stream = Stream(sock)
        found = [answer(cast(socket.socket, stream)).content for _ in paths]
    expected = {"/": b"alice\n", "/bob/": b"bob\n", "/who.cgi": b"%d\n" % ALICE, "/bob/who.cgi": b"%d\n" % BOB}
    assert found == [expected[path] for path in paths]


def test_an_expression_names_the_owner(world: World, sites: Sites) -> None:
    games = choosing(world, sites, "AssignUserIDExpr %{HTTP:X-Who}\nAssignGroupIDExpr %{HTTP:X-Who}\n")
    server = world.server("LimitUIDRange 2 60000\nLimitGIDRange 2 60000\n" + games)
    world.site("alice", ALICE, {"who.cgi": WHO}, mode=0o755)
    with sites.connect(server, "all.test") as sock:
        for who, uid in (("games", 5), ("news", 9), ("games", 5)):
            assert ask(sock, "all.test", "/who.cgi", X_Who=who).content == b"%d\n" % uid
        assert ask(sock, "all.test", "/who.cgi", X_Who="root").status == 500


def test_owners_take_turns_over_http2(shared_sites: Sites, chosen: Server) -> None:
    """One connection, and each of its streams to whom it is for."""
    paths = ("/bob/who.cgi", "/", "/bob/", "/who.cgi", "/bob/none") * 4
    urls = [f"https://all.test:{chosen.port}{path}" for path in paths]
    done = curl(shared_sites, chosen, "all.test", "/bob/", "--http2", *urls)
    assert done.stdout.count(b"%d\n" % BOB) == 4, done
    assert done.stdout.count(b"%d\n" % ALICE) == 4
    assert done.stdout.count(b"bob\n") == 5


@pytest.mark.parametrize("path", ["/echo.cgi", "/bob/echo.cgi"])
@pytest.mark.parametrize("how", ["length", "expect"])
def test_twenty_megabytes_there_and_back_over_http2(shared_sites: Sites, chosen: Server, path: str, how: str) -> None:
    file = chosen.folder / "upload"
    file.write_bytes(BIG)
    more = {"length": ["-H", "Expect:"], "expect": ["-H", "Expect: 100-continue"]}
    done = curl(shared_sites, chosen, "all.test", path, "--http2", "--data-binary", f"@{file}", *more[how])
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(BIG).digest(), done.stderr


@pytest.mark.parametrize("path", ["/echo.cgi", "/bob/echo.cgi"])
@pytest.mark.parametrize("how", ["length", "chunked", "expect"])
def test_twenty_megabytes_there_and_back(shared_sites: Sites, chosen: Server, path: str, how: str) -> None:
    file = chosen.folder / "upload"
    file.write_bytes(BIG)
    more = {
        "length": ["-H", "Expect:"],
        "chunked": ["-H", "Transfer-Encoding: chunked", "-H", "Expect:"],
        "expect": ["-H", "Expect: 100-continue"],
    }
    done = curl(shared_sites, chosen, "all.test", path, "--http1.1", "--data-binary", f"@{file}", *more[how])
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(BIG).digest(), done.stderr


@pytest.mark.parametrize("path", ["/big.bin", "/bob/big.bin"])
def test_a_slow_reader_costs_no_memory(shared_sites: Sites, chosen: Server, path: str) -> None:
    with shared_sites.connect(chosen, "all.test") as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: all.test\r\nConnection: close\r\n\r\n".encode())
        assert sock.recv(12) == b"HTTP/1.1 200"
        eventually(Still(lambda: unread(sock)))
        for process in chosen.processes("worker"):
            assert int(process.status["VmHWM"].split()[0]) < 60_000, "kilobytes"
        sent = hashlib.sha256()
        rest = b""
        while b"\r\n\r\n" not in rest:
            rest += sock.recv(65536)
        sent.update(rest.partition(b"\r\n\r\n")[2])
        while data := sock.recv(65536):
            sent.update(data)
    assert sent.digest() == hashlib.sha256(BIG).digest()


@pytest.mark.parametrize("path", ["/big.bin", "/bob/big.bin", "/bob/who.cgi"])
def test_head_and_ranges(shared_sites: Sites, chosen: Server, path: str) -> None:
    with shared_sites.connect(chosen, "all.test") as sock:
        response = ask(sock, "all.test", path, "HEAD")
        assert (response.status, response.content) == (200, b"")
        if path.endswith("bin"):
            assert ask(sock, "all.test", path, Range="bytes=1000-1999").content == BIG[1000:2000]
        assert ask(sock, "all.test").content == b"alice\n"


@pytest.mark.parametrize("folder", ["alice", "bob"])
def test_a_client_that_leaves_ends_its_program(world: World, sites: Sites, folder: str) -> None:
    server = world.server(choosing(world, sites))
    script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nbegun\\n'; exec sleep 876\n"
    root = world.site(folder, ALICE if folder == "alice" else BOB, {"long.cgi": script})
    assert root.exists()

    def running() -> list[int]:
        return [process.pid for process in server.processes() if process.title == "sleep"]

    with sites.connect(server, "all.test") as sock:
        sock.sendall(b"GET %s/long.cgi HTTP/1.1\r\nHost: all.test\r\n\r\n" % (b"/bob" if folder == "bob" else b""))
        eventually(running)
    eventually(lambda: not running(), message="the program runs on")
    eventually(lambda: all("(0 connections)" in process.title for process in server.processes("worker")))


def test_many_clients_that_change_owners(shared_sites: Sites, chosen: Server) -> None:
    """No descriptor, no connection is left behind."""
    for worker in (shared_sites.get(chosen, "all.test"), shared_sites.get(chosen, "all.test", "/bob/")):
        assert worker.status == 200

    def count() -> list[tuple[int, int]]:
        return [(process.uid, len(process.descriptors())) for process in chosen.processes("worker")]

    before = dict(count())  # the first two connections may still be among them
    for _ in range(3):
        socks = [shared_sites.connect(chosen, "all.test") for _ in range(30)]
        for sock in socks:
            assert ask(sock, "all.test", "/bob/").content == b"bob\n"
        for number, sock in enumerate(socks):
            if number % 2:
                assert ask(sock, "all.test", "/").content == b"alice\n"
            sock.close()
    eventually(lambda: all(found <= before[uid] for uid, found in count()))
    gates = [len(process.descriptors()) for process in chosen.processes("gate")]
    assert max(gates) < 40


def test_a_stop_ends_connections_that_are_passed_on(sites: Sites, own: Server) -> None:
    import signal

    with sites.connect(own, "all.test") as sock, sites.connect(own, "all.test") as begun:
        assert ask(sock, "all.test", "/bob/").content == b"bob\n"
        assert ask(begun, "all.test", "/bob/").content == b"bob\n"
        begun.sendall(b"POST /bob/echo.cgi HTTP/1.1\r\nHost: all.test\r\nContent-Length: 5\r\n\r\nhe")
        assert is_silent(begun, 0.2)
        assert own.process is not None
        own.process.send_signal(signal.SIGWINCH)
        assert sock.recv(1) == b""
        begun.sendall(b"llo")
        assert answer(begun).content == b"hello"
        own.process.wait(15)


# Other protocols


@contextmanager
def backend() -> Iterator[int]:
    """A server that switches to a protocol which gives back what it gets, in upper case."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n")
            while (data := client.recv(65536)) not in (b"", b"bye"):
                client.sendall(data.upper())

    def run() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@pytest.mark.parametrize("path", ["/up", "/bob/up"])
def test_another_protocol_over_tls(world: World, sites: Sites, path: str) -> None:
    with backend() as port:
        proxied = f"ProxyPass {path} http://127.0.0.1:{port}/ upgrade=shout\n"
        server = world.server(choosing(world, sites, proxied))
        with sites.connect(server, "all.test") as sock:
            head = f"GET {path} HTTP/1.1\r\nHost: all.test\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n"
            sock.sendall(head.encode() + b"early ")
            data = b""
            while not data.endswith(b"\r\n\r\nEARLY "):
                data += sock.recv(1000)
            assert data.startswith(b"HTTP/1.1 101 ")
            sock.sendall(b"hello")
            assert sock.recv(1000) == b"HELLO"
            assert exchange(sock, b"x" * 3_000_000) == b"X" * 3_000_000
        eventually(lambda: all("(0 connections)" in process.title for process in server.processes("worker")))


@pytest.mark.parametrize("path", ["/up", "/bob/up"])
def test_another_protocol_that_the_other_side_ends(world: World, sites: Sites, path: str) -> None:
    with backend() as port:
        server = world.server(choosing(world, sites, f"ProxyPass {path} http://127.0.0.1:{port}/ upgrade=shout\n"))
        with sites.connect(server, "all.test") as sock:
            sock.sendall(
                f"GET {path} HTTP/1.1\r\nHost: all.test\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n".encode()
            )
            data = b""
            while not data.endswith(b"\r\n\r\n"):
                data += sock.recv(1000)
            sock.sendall(b"bye")
            assert sock.recv(1000) == b""


def test_renegotiation_is_refused(shared_sites: Sites, chosen: Server) -> None:
    done = s_client(chosen, "-servername", "all.test", "-tls1_2", say="R\n")
    assert "RENEGOTIATING" in done
    assert "no renegotiation" in done


def test_nothing_is_compressed(shared_sites: Sites, chosen: Server) -> None:
    context = shared_sites.context()
    context.options &= ~ssl.OP_NO_COMPRESSION
    with shared_sites.connect(chosen, "all.test", context) as sock:
        assert sock.compression() is None
