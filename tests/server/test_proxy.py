"""Requests that a HTTP server behind this one answers: the real server in front, as the owner."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends import BIG, Backend, answering, backend
from harness import ALICE, BOB, Answer, Process, Server, World, answer, free_port
from ownhost.admin.cli import main
from ownhost.apps.spooling import SPOOL_MAX_ANSWER
from waiting import Still, eventually


@pytest.fixture
def behind() -> Iterator[Backend]:
    with backend() as made:
        yield made


def front(world: World, passes: str, **files: str) -> Server:
    """A server for alice with these directives; what is answered there takes no time."""
    return world.server(world.virtual_host("alice", ALICE, passes + "\n", {"index.html": "here\n", **files}))


@pytest.fixture
def server(world: World, behind: Backend) -> Server:
    return front(world, f"ProxyPass /b/ http://127.0.0.1:{behind.port}/in/\nProxyTimeout 5")


def lines(response: Answer) -> list[str]:
    return response.content.decode().splitlines()


def test_what_another_server_is_asked(server: Server, behind: Backend) -> None:
    said = lines(server.get("alice.test", "/b/a%20b/c?d=%20&e", X_One="1", X_Forwarded_For="192.0.2.1"))
    assert said[0] == "GET /in/a%20b/c?d=%20&e"
    assert {
        "Host: 127.0.0.1:BACKEND",
        "X-One: 1",
        "X-Forwarded-For: 192.0.2.1, 127.0.0.1",
        "X-Forwarded-Host: alice.test",
        "X-Forwarded-Server: alice.test",
    } <= set(said)
    assert server.get("alice.test", "/").content == b"here\n"


def test_the_owner_connects(server: Server, behind: Backend) -> None:
    assert server.get("alice.test", "/b/").status == 200
    peers = [handler.client_address[1] for handler in behind.asked]
    ports = [(peer, behind.port) for peer in peers]
    assert [int(row[7]) for row in tcp() if tuple(int(row[n].split(":")[1], 16) for n in (1, 2)) in ports] == [ALICE]


def test_connections_are_kept_and_used_again(server: Server, behind: Backend) -> None:
    for _ in range(5):
        assert server.get("alice.test", "/b/x").status == 200
    assert behind.connections == 1
    assert server.get("alice.test", "/b/stale").content == b"stale"
    assert server.get("alice.test", "/b/x").status == 200  # the other side has closed by now, or closes just now
    assert len(behind.asked) == 7


def test_a_request_that_may_not_be_repeated_gets_a_connection_of_its_own(server: Server, behind: Backend) -> None:
    assert server.get("alice.test", "/b/x").status == 200
    assert server.get("alice.test", "/b/x", "POST").status == 200
    assert behind.connections == 2


@pytest.mark.parametrize("size", [0, 10, 200_000, 5_000_000])
def test_bodies_both_ways(server: Server, size: int) -> None:
    body = os.urandom(size)
    client = server.client()
    client.request("POST", "/b/echo", body, {"Host": "alice.test"})
    assert client.getresponse().read() == body
    client.request("POST", "/b/echo", iter([body[: size // 2], body[size // 2 :]]), {"Host": "alice.test"})
    assert client.getresponse().read() == body
    client.close()


def test_a_backend_may_answer_while_the_body_is_sent_to_it(world: World) -> None:
    """The answer begins at once, and goes on as the body comes: an echo."""
    size = 40 << 20
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = front(world, f"ProxyPass / http://127.0.0.1:{listener.getsockname()[1]}/")
        client = server.client()
        client.request("POST", "/", bytes(size), {"Host": "alice.test"})
        sock, _ = listener.accept()
        with sock:
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(65_536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            response = client.getresponse()
            received = len(head.partition(b"\r\n\r\n")[2])
            while received < size:
                data = sock.recv(65_536)
                assert data, f"the body ended after {received} bytes"
                received += len(data)
            for _ in range(size >> 16):
                sock.sendall(bytes(1 << 16))
        assert len(response.read()) == size
        client.close()


def test_bodies_of_other_framings(server: Server) -> None:
    client = server.client()
    for path, body in (("chunked", b"some more"), ("unframed", b"until the end")):
        client.request("GET", f"/b/{path}", headers={"Host": "alice.test"})
        response = client.getresponse()
        assert (response.status, response.read()) == (200, body)
    client.close()


def lines_until(sock: socket.socket, end: bytes) -> list[bytes]:
    """What comes up to some bytes, in lines."""
    received = b""
    while not received.endswith(end):
        data = sock.recv(65_536)
        assert data, received
        received += data
    return received.split(b"\r\n")


def test_hints_come_before_the_answer_is_there(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        log = 'LogFormat "%>s %r" short\nCustomLog @DIR@/access.log short\n'
        server = front(world, f"{log}ProxyPass / http://127.0.0.1:{listener.getsockname()[1]}/")
        with server.connect() as client:
            client.sendall(b"GET /x HTTP/1.1\r\nHost: alice.test\r\n\r\n" * 2)
            sock, _ = listener.accept()
            for _ in range(2):  # on connections that are kept on both sides
                sock.recv(65_536)
                sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nServer: b\r\nContent-Length: 5\r\n\r\n")
                assert lines_until(client, b"\r\n\r\n") == [b"HTTP/1.1 103 Early Hints", b"Link: </a>", b"", b""]
                sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                answer = lines_until(client, b"ok")
                assert answer[0] == b"HTTP/1.1 200 OK"
                assert b"Link: </a>" not in answer
            sock.close()
    eventually(lambda: server.log("access.log") == "200 GET /x HTTP/1.1\n" * 2)


def test_too_many_hints(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = front(world, f"ProxyPass / http://127.0.0.1:{listener.getsockname()[1]}/")
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n")
            sock, _ = listener.accept()
            with sock:
                sock.recv(65_536)
                sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000)
                answer = b""
                while data := client.recv(65_536):
                    answer += data
    assert answer.count(b"HTTP/1.1 103 ") == 10
    assert answer.count(b"HTTP/1.1 502 ") == 1
    eventually(lambda: "too many (10) interim responses" in server.log())


def test_hints_that_a_client_does_not_read_are_given_up(world: World, behind: Backend) -> None:
    server = front(world, f"Timeout 1\nProxyPass / http://127.0.0.1:{behind.port}/ max=1 timeout=20")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"GET /heavy HTTP/1.1\r\nHost: alice.test\r\n\r\n" * 100)
        for _ in range(50):
            assert server.get("alice.test", "/x").status == 200
    assert 1 < len(behind.asked) < 150, "who does not read is not answered for ever"


def test_a_client_of_http_1_0_sees_the_end(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = front(world, f"ProxyPass / http://127.0.0.1:{listener.getsockname()[1]}/")
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.0\r\nHost: alice.test\r\nConnection: keep-alive\r\n\r\n")
            sock, _ = listener.accept()
            with sock:
                sock.recv(65_536)
                sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n")
                answer = b""
                while not answer.endswith(b"some"):
                    answer += client.recv(65_536)
                sock.sendall(b"5\r\n more\r\n0\r\n\r\n")
            while data := client.recv(65_536):
                answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"some more"
    assert b"chunked" not in head
    assert b"\r\nConnection: close" in head


def test_responses_without_bodies(server: Server) -> None:
    client = server.client()
    client.request("HEAD", "/b/echo", b"12345", headers={"Host": "alice.test"})
    response = client.getresponse()
    assert (response.status, response.getheader("Content-Length"), response.read()) == (200, "5", b"")
    for method, status in (("GET", 204), ("GET", 304), ("HEAD", 204)):
        client.request(method, f"/b/{status}", headers={"Host": "alice.test"})
        response = client.getresponse()
        assert (response.status, response.getheader("Content-Length"), response.read()) == (status, None, b"")
    assert response.getheader("X-Here") == "1"
    client.close()


def test_a_slow_client_does_not_hold_the_other_server(server: Server, behind: Backend) -> None:
    with server.connect() as slow:
        slow.sendall(b"GET /b/big HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        assert behind.finished.wait(10), "the other server waits for the client"
        peak = int(server.worker(ALICE).status["VmHWM"].split()[0])
        assert peak < 150_000, f"the worker has {peak} kB"
        received, wanted = 0, BIG
        while received < wanted and (data := slow.recv(1 << 20)):
            if not received:
                wanted += data.index(b"\r\n\r\n") + 4
            received += len(data)
        assert received == wanted


LARGE = 300_000_000


def peak(server: Server) -> int:
    """The most memory that alice's worker ever had, in kB."""
    return int(server.worker(ALICE).status["VmHWM"].split()[0])


@pytest.mark.parametrize("how", ["length", "chunked"])
def test_a_large_upload_takes_no_memory(world: World, how: str) -> None:
    taken: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = front(world, f"ProxyPass /up http://127.0.0.1:{listener.getsockname()[1]}/")
        assert server.get("alice.test", "/").status == 200
        before = peak(server)

        def take() -> None:
            sock, _ = listener.accept()
            with sock, sock.makefile("rb") as stream:
                head = iter(stream.readline, b"\r\n")
                length = next(int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length:"))
                list(head)
                while (left := length - sum(taken)) and (data := stream.read(min(left, 1 << 20))):
                    taken.append(len(data))
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken")

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        piece = bytes(1 << 20)
        pieces = (piece[: min(len(piece), LARGE - place)] for place in range(0, LARGE, len(piece)))
        fields = {"Host": "alice.test"} | ({"Content-Length": str(LARGE)} if how == "length" else {})
        client = server.client(60)
        client.request("POST", "/up", pieces, fields, encode_chunked=how == "chunked")
        assert client.getresponse().read() == b"taken"
        client.close()
        thread.join()
    assert sum(taken) == LARGE
    assert peak(server) < before + 30_000, f"the worker had {before} kB before, and then {peak(server)} kB"


def test_a_large_download_to_a_slow_client_takes_no_memory(world: World) -> None:
    """Nor more of a disk than SpoolMaxAnswer: then the other server waits."""
    given: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = front(world, f"ProxyPass /down http://127.0.0.1:{listener.getsockname()[1]}/")
        assert server.get("alice.test", "/").status == 200
        before = peak(server)

        def give() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(65_536)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
                for _ in range(LARGE // 100_000):
                    sock.sendall(bytes(100_000))
                    given.append(100_000)

        thread = threading.Thread(target=give, daemon=True)
        thread.start()
        with server.connect(60) as slow:
            slow.sendall(b"GET /down HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n")
            eventually(lambda: sum(given) > SPOOL_MAX_ANSWER.default, 60)
            eventually(Still(lambda: len(given)))
            assert sum(given) < LARGE // 2, "nothing held it up"
            assert peak(server) < before + 30_000, f"the worker had {before} kB before, and then {peak(server)} kB"
            head = b""
            while b"\r\n\r\n" not in head:
                head += slow.recv(1)
            received = 0
            while data := slow.recv(1 << 20):
                received += len(data)
        thread.join()
    assert received == LARGE
    assert peak(server) < before + 30_000, f"the worker had {before} kB before, and then {peak(server)} kB"


def test_redirects_and_cookies_are_said_anew(world: World, behind: Backend) -> None:
    url = f"http://127.0.0.1:{behind.port}"
    server = front(
        world,
        f"ProxyPass /b/ {url}/\nProxyPassReverse /b/ {url}/\n"
        "ProxyPassReverseCookiePath /inner /outer\nProxyPassReverseCookieDomain inner.test alice.test",
    )
    assert server.get("alice.test", "/b/redirect").getheader("Location") == "http://alice.test/b/to?a=b"
    cookie = server.get("alice.test", "/b/cookie").getheader("Set-Cookie")
    assert cookie == "a=b; Path=/outer; Domain=alice.test"


def test_other_ways_to_get_there(world: World, behind: Backend) -> None:
    url = f"http://127.0.0.1:{behind.port}"
    server = front(
        world,
        f"ProxyPreserveHost On\nProxyPass /b/stays/ !\nProxyPassMatch ^/m/(.*)$ {url}/match/$1\n"
        f"RewriteEngine On\nRewriteRule ^/r/(.*)$ {url}/rule/$1 [P]\n"
        f"<Location /l/>\nProxyPass {url}/location/\n</Location>\n"
        f"<Directory {world.folder}/alice/d>\nRewriteEngine On\nRewriteRule ^(.*)$ {url}/dir/$1 [P]\n</Directory>\n"
        f"<Directory {world.folder}/alice/h>\nSetHandler proxy:{url}/\n</Directory>\n"
        f"ProxyPass /b/ {url}/",
        **{"b/stays/x": "here", "d/x": "no", "h/x": "no"},
    )
    for path, asked in (
        ("/m/a%20b?c", "/match/a%20b?c"),
        ("/r/a?c", "/rule/a?c"),
        ("/l/a", "/location/a"),
        ("/d/a?c", "/dir/a?c"),
        ("/h/x", f"{world.folder}/alice/h/x"),
        ("/b/a", "/a"),
    ):
        said = lines(server.get("alice.test", path))
        assert said[0] == f"GET {asked}"
        assert "Host: alice.test" in said
    assert server.get("alice.test", "/b/stays/x").content == b"here"


@pytest.mark.parametrize(("path", "status"), [("garbage", 502), ("nothing", 502), ("wait", 504)])
def test_servers_that_do_not_answer(world: World, behind: Backend, path: str, status: int) -> None:
    server = front(world, f"ProxyPass / http://127.0.0.1:{behind.port}/ timeout=1")
    assert server.get("alice.test", f"/{path}").status == status
    eventually(lambda: f"127.0.0.1:{behind.port}" in server.log())


def test_a_request_that_no_head_can_say_is_an_error_at_once(world: World, behind: Backend) -> None:
    said = f'ProxyPass / http://127.0.0.1:{behind.port}/\nRequestHeader set X "a\vb"'
    server = front(world, said)
    assert server.get("alice.test", "/x").status == 500
    eventually(lambda: "a request that HTTP cannot express" in server.log())


def test_a_response_that_breaks_off_is_seen_to(server: Server) -> None:
    answer = server.raw(b"GET /b/half HTTP/1.1\r\nHost: alice.test\r\n\r\n")
    assert b"Content-Length: 100\r\n" in answer
    assert answer.endswith(b"half")
    eventually(lambda: "before its response was complete" in server.log())


def test_a_server_that_cannot_be_reached_is_left_alone_for_a_while(world: World) -> None:
    port, other = free_port(), free_port()
    server = front(world, f"ProxyPass /a/ http://127.0.0.1:{port}/\nProxyPass /b/ http://127.0.0.1:{other}/ retry=0")
    for path in ("/a/", "/b/"):
        assert server.get("alice.test", path).status == 503
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with answering(answer, port=port), answering(answer, port=other):
        assert server.get("alice.test", "/a/").status == 503
        assert server.get("alice.test", "/b/").status == 200


def test_no_more_connections_than_max(world: World, behind: Backend) -> None:
    server = front(world, f"ProxyPass / http://127.0.0.1:{behind.port}/ max=1 connectiontimeout=1")
    with server.connect() as first:
        first.sendall(b"GET /wait HTTP/1.1\r\nHost: alice.test\r\n\r\n")
        eventually(lambda: behind.asked)
        assert server.get("alice.test", "/x").status == 503
        behind.release.set()
        assert answer(first).content == b"at last"
    assert server.get("alice.test", "/x").status == 200
    assert behind.connections == 1


def test_error_pages_of_this_server(world: World, behind: Backend) -> None:
    server = front(
        world,
        f"ProxyErrorOverride On 404\nErrorDocument 404 /lost.txt\nProxyPass /lost.txt !\n"
        f"ProxyPass / http://127.0.0.1:{behind.port}/",
        **{"lost.txt": "lost\n"},
    )
    response = server.get("alice.test", "/404")
    assert (response.status, response.content) == (404, b"lost\n")
    response = server.get("alice.test", "/500")
    assert (response.status, response.content) == (500, b"the backend's own\n")


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3
UPGRADE = (
    b"GET /w/websocket HTTP/1.1\r\nHost: alice.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"
)


@pytest.mark.parametrize("passes", ["ProxyPass /w/ ws://{0}/", "ProxyPass /w/ http://{0}/ upgrade=websocket"])
def test_websockets(world: World, behind: Backend, passes: str) -> None:
    server = front(world, passes.format(f"127.0.0.1:{behind.port}"))
    with server.connect() as sock:
        sock.sendall(UPGRADE)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
        for _ in range(3):
            sock.sendall(b"hello")
            assert sock.recv(4096) == b"HELLO"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(4096) == b""


def test_an_upgrade_that_is_not_foreseen_is_none(server: Server, behind: Backend) -> None:
    said = lines(server.get("alice.test", "/b/x", Connection="Upgrade", Upgrade="websocket"))
    assert not [line for line in said if line.lower().startswith("upgrade")]


def test_another_protocol_than_the_one_asked_for_is_an_error(world: World, behind: Backend) -> None:
    port = behind.port
    server = front(world, f"ProxyPass /w/ http://127.0.0.1:{port}/ upgrade=ANY\nProxyPass / http://localhost:{port}/\n")
    asks = {"Connection": "Upgrade", "Upgrade": "one, Two"}
    assert server.get("alice.test", "/switched?one").status == 502
    assert server.get("alice.test", "/switched?one", **asks).status == 502
    assert server.get("alice.test", "/w/switched?one").status == 502
    assert server.get("alice.test", "/w/switched?three", **asks).status == 502
    eventually(lambda: "it switches to the protocol 'three', which was not asked for" in server.log())
    assert server.get("alice.test", "/w/switched?two", **asks).status == 101


def test_nobody_connects_who_only_asks_whose_it_is(world: World, behind: Backend) -> None:
    """Gates and `ownhost explain` find out who serves a request, not what it is answered."""
    server = front(world, f"ProxyPass / http://localhost:{behind.port}/\n")
    explained = CliRunner().invoke(main, ["explain", "-f", str(server.config), f"http://alice.test:{server.port}/x"])
    assert f"proxy:http://localhost:{behind.port}/x" in explained.output
    assert behind.connections == 0
    assert server.get("alice.test", "/x").status == 200
    assert behind.connections == 1
    gates = server.processes("gate")
    assert gates
    assert not [name for gate in gates for name in tcp_peers(gate) if name == behind.port]


def tcp_peers(process: Process) -> list[int]:
    """The ports that a process is connected to."""
    inodes = {name[8:-1] for name in process.descriptors().values() if name.startswith("socket:[")}
    return [int(row[2].split(":")[1], 16) for row in tcp() if row[9] in inodes]


def tcp() -> list[list[str]]:
    """Connections of this machine, as /proc shows them."""
    return [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]


def test_two_owners_do_not_share_connections(world: World, behind: Backend) -> None:
    passes = f"ProxyPass / http://127.0.0.1:{behind.port}/\n"
    server = world.server(world.virtual_host("alice", ALICE, passes) + world.virtual_host("bob", BOB, passes))
    for name in ("alice.test", "bob.test", "alice.test", "bob.test"):
        assert server.get(name, "/x").status == 200
    assert behind.connections == 2
