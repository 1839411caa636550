"""HTTP/1.1 as clients see it: the real server, raw sockets (RFC 9110, 9112)."""

from __future__ import annotations

import socket
import time

import pytest

from harness import ALICE, BOB, Server, World, free_port
from waiting import eventually

HOST = b"Host: alice.test\r\n"


@pytest.fixture(scope="module")
def one(shared_world: World) -> Server:
    return shared_world.server(shared_world.virtual_host("alice", ALICE))


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b" folded: line\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: alice.test\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\nHost: alice.test\n\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"HEAD /\r\n\r\n",
        b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_smuggling_is_made_of_is_refused_and_ends_the_connection(one: Server, request_: bytes) -> None:
    answer = one.raw(request_ + b"GET /index.html HTTP/1.1\r\n" + HOST + b"\r\n")
    assert statuses(answer) == [400]
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Expect: a-miracle\r\nContent-Length: 1\r\n\r\n", 417),
        (b"CONNECT alice.test:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /" + b"a" * 90000, 414),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 90000, 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 20000, 431),
    ],
)
def test_what_cannot_be_served_is_answered_and_ends_the_connection(one: Server, request_: bytes, status: int) -> None:
    answer = one.raw(request_)
    assert statuses(answer) == [status]
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    ("method", "status"), [("FOO", 501), ("PUT", 405), ("DELETE", 405), ("PATCH", 405), ("POST", 200), ("OPTIONS", 200)]
)
def test_methods(one: Server, method: str, status: int) -> None:
    response = one.get("alice.test", "/index.html", method)
    assert response.status == status
    if status in (405, 501) or method == "OPTIONS":
        assert {"GET", "HEAD", "OPTIONS"} <= {word.strip() for word in str(response.getheader("Allow")).split(",")}


def test_head_has_the_fields_of_get_and_no_body(one: Server) -> None:
    get, head = (one.get("alice.test", "/", method) for method in ("GET", "HEAD"))
    assert (head.status, head.content) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Accept-Ranges"):
        assert head.getheader(name) == get.getheader(name)


def test_options_of_the_server_itself(one: Server) -> None:
    assert statuses(one.raw(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")) == [200]


def test_trace_repeats_the_request_but_not_its_secrets(one: Server) -> None:
    answer = one.raw(b"TRACE /x HTTP/1.1\r\n" + HOST + b"X: y\r\nCookie: a=b\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"message/http" in head
    assert body.startswith(b"TRACE /x HTTP/1.1\r\nHost: alice.test\r\nX: y\r\n")
    assert b"a=b" not in body


def test_trace_can_be_switched_off(world: World) -> None:
    server = world.server("TraceEnable off\n" + world.virtual_host("alice", ALICE))
    assert server.get("alice.test", "/", "TRACE").status == 405


def test_keep_alive_and_its_fields(one: Server) -> None:
    with one.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        first = sock.recv(65536)
        assert b"Connection:" not in first
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: keep-alive\r\n\r\n")
        second = sock.recv(65536)
        assert b"Connection: Keep-Alive\r\n" in second
        assert b"Keep-Alive: timeout=5, max=98\r\n" in second
        sock.sendall(b"GET / HTTP/1.0\r\n" + HOST + b"\r\n")
        assert b"Connection: close\r\n" in sock.recv(65536)
        assert sock.recv(1) == b""


def test_http_1_0_stays_open_where_it_asks_to(one: Server) -> None:
    with one.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET / HTTP/1.0\r\n" + HOST + b"Connection: Keep-Alive\r\n\r\n")
            assert b"Connection: Keep-Alive\r\n" in sock.recv(65536)


def test_max_keep_alive_requests(world: World) -> None:
    server = world.server("MaxKeepAliveRequests 3\n" + world.virtual_host("alice", ALICE))
    answer = server.raw((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 5)
    assert statuses(answer) == [200] * 3
    assert answer.count(b"Connection: close") == 1


def test_keep_alive_off(world: World) -> None:
    server = world.server("KeepAlive Off\n" + world.virtual_host("alice", ALICE))
    assert statuses(server.raw((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 2)) == [200]


def test_keep_alive_timeout(world: World) -> None:
    server = world.server("KeepAliveTimeout 1\n" + world.virtual_host("alice", ALICE))
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert sock.recv(65536)
        begun = time.monotonic()
        assert sock.recv(1) == b""
        assert 0.5 < time.monotonic() - begun < 8


def test_a_head_request_that_is_none_gets_no_body(one: Server) -> None:
    answer = one.raw(b"HEAD * HTTP/1.1\r\nHost: alice.test\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("begun", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: alice.te"])
def test_a_head_that_takes_too_long_is_a_408(world: World, begun: bytes) -> None:
    server = world.server("RequestReadTimeout header=1\n" + world.virtual_host("alice", ALICE))
    assert statuses(server.raw(begun)) == [408], "in a gate"
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert sock.recv(65536)
        sock.sendall(begun)
        answer = sock.recv(65536)
        assert statuses(answer) == [408], "in a worker"
        assert sock.recv(1) == b""


def test_a_body_that_takes_too_long_ends_the_connection(world: World) -> None:
    server = world.server("RequestReadTimeout body=1\n" + world.virtual_host("alice", ALICE))
    with server.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nabc")
        while sock.recv(65536):
            pass


def test_a_client_that_says_nothing_is_no_error(world: World) -> None:
    """With deferred accept nobody ever sees it; a speculative connection of a browser must not be logged as one."""
    server = world.server(world.virtual_host("alice", ALICE))
    with server.connect():
        assert server.get("alice.test").status == 200


def test_chunked_bodies_and_what_follows_them(one: Server) -> None:
    chunked = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
    post = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked
    last = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    assert statuses(one.raw(post + post + last)) == [200, 200, 200]
    with one.connect() as sock:
        for byte in post + last:
            sock.sendall(bytes([byte]))
        answer = b""
        while data := sock.recv(65536):
            answer += data
    assert statuses(answer) == [200, 200]


def test_a_malformed_chunk_ends_the_connection(one: Server) -> None:
    post = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"
    assert len(statuses(one.raw(post + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"))) == 1


def test_limit_request_body(world: World) -> None:
    server = world.server("LimitRequestBody 100\n" + world.virtual_host("alice", ALICE))
    post = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n"
    assert statuses(server.raw(post % 101 + b"x" * 101)) == [413]
    last = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    assert statuses(server.raw(post % 100 + b"x" * 100 + last)) == [200, 200]
    chunked = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + b"x" * 255
    assert statuses(server.raw(chunked + last)) == [413]
    close = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert statuses(server.raw(close + b"33\r\n" + b"x" * 51 + b"\r\n33\r\n" + b"x" * 51 + b"\r\n0\r\n\r\n")) == [413]
    assert statuses(server.raw(close + b"ffffffffffffffff\r\n")) == [413]


def test_a_large_body_is_read_to_its_end(one: Server) -> None:
    size = 5_000_000
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size
    last = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    assert statuses(one.raw(head + b"x" * size + last)) == [200, 200]


def test_expect_is_answered_at_once(one: Server) -> None:
    with one.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        answer = sock.recv(65536)
        assert statuses(answer) in ([200], [100])
        sock.sendall(b"hello")


def test_the_host_of_an_absolute_target_counts(world: World) -> None:
    server = world.server(world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))
    answer = server.raw(b"GET http://bob.test/ HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert answer.endswith(b"bob\n")


@pytest.mark.parametrize("host", ["BOB.test", "bob.test.", "bob.test:81", "Bob.Test.:81"])
def test_forms_of_a_host_name(world: World, host: str) -> None:
    server = world.server(world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))
    assert server.get(host).content == b"bob\n"


def test_http_1_0_without_host_gets_the_default_virtual_host(world: World) -> None:
    server = world.server(world.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))
    assert server.raw(b"GET / HTTP/1.0\r\n\r\n").endswith(b"alice\n")


def test_an_upgrade_that_is_not_taken_up_is_a_request_like_any_other(one: Server) -> None:
    answer = one.raw(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n")
    assert statuses(answer) == [200]


def test_a_client_that_leaves_in_the_middle_harms_nobody(one: Server) -> None:
    for _ in range(20):
        sock = one.connect()
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n" * 2 + b"GET / HT")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        sock.close()
    assert one.get("alice.test").status == 200
    assert "bug" not in one.log()


def test_an_error_after_keep_alive_reaches_the_client_before_the_connection_ends(one: Server) -> None:
    """A close with bytes unread would reset the connection, and take the 400 with it."""
    with one.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert sock.recv(65536)
        sock.sendall(b"broken\r\n\r\n" + b"x" * 300_000)
        answer = b""
        while data := sock.recv(65536):
            answer += data
    assert statuses(answer) == [400]


def test_many_connections_at_once(one: Server) -> None:
    socks = [one.connect() for _ in range(300)]
    for sock in socks:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    for sock in socks:
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    eventually(lambda: "300 connections" in one.worker(ALICE).title or len(one.processes("worker")) > 1)
    for sock in socks:
        sock.close()
    eventually(lambda: all("(0 connections)" in worker.title for worker in one.processes("worker")))


def test_limit_request_body_of_a_location(world: World) -> None:
    server = world.server(
        "LimitRequestBody 10\n"
        + world.virtual_host("alice", ALICE, "<Location /large.txt>\nLimitRequestBody 1000\n</Location>\n")
    )
    for path, size, status in (("/", 11, 413), ("/large.txt", 11, 404), ("/large.txt", 1001, 413)):
        head = (
            b"POST %b HTTP/1.1\r\n" % path.encode() + HOST + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % size
        )
        assert statuses(server.raw(head + b"x" * size)) == [status]


def test_several_addresses_and_ports(world: World) -> None:
    other = free_port()
    body = (
        f"Listen 127.0.0.1:{other}\nListen [::1]:{other}\n{world.virtual_host('alice', ALICE)}"
        f"{world.virtual_host('bob', BOB)}"
    ).replace(
        "<VirtualHost 127.0.0.1:@PORT@>\nServerName bob",
        f"<VirtualHost 127.0.0.1:{other} [::1]:{other}>\nServerName bob",
    )
    server = world.server(body)
    request = b"GET / HTTP/1.0\r\n\r\n"
    answers = {}
    for address in (("127.0.0.1", server.port), ("127.0.0.1", other), ("::1", other)):
        with socket.create_connection(address, 10) as sock:
            sock.sendall(request)
            answers[address[0], address[1] == other] = sock.makefile("rb").read().rpartition(b"\r\n\r\n")[2]
    assert answers == {("127.0.0.1", False): b"alice\n", ("127.0.0.1", True): b"bob\n", ("::1", True): b"bob\n"}


def test_a_port_alone_listens_on_ipv4_and_ipv6(world: World) -> None:
    port = free_port()
    root = world.site("alice", ALICE)
    server = world.server(
        f'Listen {port}\nServerName any.test\nUser "#50080"\nGroup "#50080"\nErrorLog @DIR@/error.log\n'
        f'<VirtualHost *:{port}>\nServerName alice.test\nDocumentRoot {root}\nAssignUserID "#{ALICE}" "#{ALICE}"\n'
        'CustomLog @DIR@/access.log "%a %A %p"\n</VirtualHost>\n',
        preamble=False,
    )
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, port), 10) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert sock.makefile("rb").read().endswith(b"alice\n")
    eventually(lambda: server.log("access.log") == f"127.0.0.1 127.0.0.1 {port}\n::1 ::1 {port}\n")
