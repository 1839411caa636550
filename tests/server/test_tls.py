"""TLS from a client's first byte to its first request: who answers, with whose certificate; clients' mistakes."""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from encrypted import Sites, ask, curl, s_client
from harness import ALICE, BOB, CAROL, Server, World, answer
from waiting import eventually, is_silent

GET = b"GET / HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def two(shared_world: World, shared_sites: Sites) -> Server:
    """alice.test and bob.test, each with a certificate of its own."""
    return shared_world.server(shared_sites.virtual_host("alice", ALICE) + shared_sites.virtual_host("bob", BOB))


@pytest.fixture
def own(world: World, sites: Sites) -> Server:
    """alice.test, for a test that stops it."""
    return world.server(sites.virtual_host("alice", ALICE))


def hello(sites: Sites, name: str | None, protocols: tuple[str, ...] = ()) -> bytes:
    """A ClientHello."""
    context = sites.context() if name else sites.careless()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def shown(sites: Sites, server: Server, name: str | None) -> str:
    """The common name of the certificate that is shown to clients who ask for `name`."""
    with sites.connect(server, name, sites.careless()) as sock:
        certificate = sock.getpeercert(binary_form=True)
    assert certificate
    for which, identity in sites.identities.items():
        if identity.certificate.public_bytes(Encoding.DER) == certificate:
            return which
    raise AssertionError("nobody's certificate")


# Who answers


def test_each_virtual_host_has_its_own_certificate_and_content(shared_sites: Sites, two: Server) -> None:
    for name in ("alice", "bob"):
        assert shared_sites.get(two, f"{name}.test").content == f"{name}\n".encode()
        done = curl(shared_sites, two, f"{name}.test", "/")
        assert (done.stdout, done.stderr) == (f"{name}\n".encode(), b"")
    assert {process.uid for process in two.processes("worker")} == {ALICE, BOB}


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("alice.test", "alice"),
        ("bob.test", "bob"),
        ("BOB.Test", "bob"),
        ("bob.test.", "bob"),
        ("unknown.test", "alice"),
        (None, "alice"),
    ],
)
def test_the_certificate_is_the_named_virtual_hosts_or_the_address_defaults(
    shared_sites: Sites, two: Server, name: str | None, whose: str
) -> None:
    assert shown(shared_sites, two, name) == whose


@pytest.mark.parametrize("name", ["unknown.test", None])
def test_who_is_served_without_a_name_that_is_known(shared_sites: Sites, two: Server, name: str | None) -> None:
    response = shared_sites.get(two, "alice.test", name=name, context=shared_sites.careless())
    assert (response.status, response.content) == (200, b"alice\n")
    response = shared_sites.get(two, "unknown.test", name=name, context=shared_sites.careless())
    assert (response.status, response.content) == (200, b"alice\n")
    assert shared_sites.get(two, "bob.test", name=name, context=shared_sites.careless()).status == 421


def test_strict_sni(world: World, sites: Sites) -> None:
    server = world.server(
        sites.virtual_host("alice", ALICE, "SSLStrictSNIVHostCheck on\n") + sites.virtual_host("bob", BOB)
    )
    assert sites.get(server, "alice.test").status == 200
    assert sites.get(server, "alice.test", name=None).status == 403
    eventually(lambda: "AH02033: No hostname was provided via SNI" in server.log())


def test_two_ports_two_families(world: World, sites: Sites) -> None:
    """Plain and encrypted side by side, over IPv4 and IPv6."""
    from harness import free_port

    plain, six = free_port(), free_port()
    host = sites.virtual_host("alice", ALICE)
    tls = host.replace("<VirtualHost 127.0.0.1:@PORT@>", f"<VirtualHost 127.0.0.1:@PORT@ [::1]:{six}>")
    clear = world.virtual_host("alice", ALICE).replace("@PORT@", str(plain))
    server = world.server(f"Listen 127.0.0.1:{plain}\nListen [::1]:{six} https\n{tls}{clear}")
    assert sites.get(server).content == b"alice\n"
    with sites.context().wrap_socket(socket.create_connection(("::1", six), 10), server_hostname="alice.test") as sock:
        assert ask(sock, "alice.test").content == b"alice\n"
    with socket.create_connection(("127.0.0.1", plain), 10) as sock:
        assert ask(sock, "alice.test").content == b"alice\n"
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", plain), 10) as sock:
        sites.context().wrap_socket(sock, server_hostname="alice.test")


def test_a_virtual_host_without_tls_at_an_address_with_it_is_not_served(world: World, sites: Sites) -> None:
    server = world.server(sites.virtual_host("alice", ALICE) + world.virtual_host("bob", BOB))
    assert shown(sites, server, "bob.test") == "alice"
    assert sites.get(server, "bob.test", name="bob.test", context=sites.careless()).status == 421
    assert sites.get(server, "alice.test").status == 200


# How the first bytes come


@pytest.mark.parametrize("protocols", [(), tuple(f"protocol-{number}" for number in range(250))])
@pytest.mark.parametrize("size", [1, 7, 250, 1_500])
def test_a_client_hello_in_pieces(shared_sites: Sites, two: Server, size: int, protocols: tuple[str, ...]) -> None:
    """Without delays here: the kernel may join them; with them below."""
    data = hello(shared_sites, "bob.test", (*protocols, "http/1.1"))
    with two.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), size):
            sock.sendall(data[start : start + size])
        assert sock.recv(3) == b"\x16\x03\x03", "a ServerHello"


def test_a_client_hello_byte_by_byte_with_delays(shared_sites: Sites, two: Server) -> None:
    data = hello(shared_sites, "bob.test")
    with two.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(data)):
            sock.sendall(data[place : place + 1])
            if place % 8 == 0:
                is_silent(sock, 0.002)
        assert sock.recv(3) == b"\x16\x03\x03"


def test_clients_that_never_finish_a_client_hello_keep_nobody_out(shared_sites: Sites, two: Server) -> None:
    """Among them some that say nothing at all."""
    data = hello(shared_sites, "alice.test")
    slow = []
    for number in range(200):
        sock = two.connect()
        sock.sendall(data[: number % len(data)])
        slow.append(sock)
    for name in ("alice.test", "bob.test"):
        assert shared_sites.get(two, name).status == 200
    for sock in slow:
        sock.close()


@pytest.mark.parametrize("sent", [1, 100])  # the kernel keeps those who say nothing to itself (TCP_DEFER_ACCEPT)
@pytest.mark.parametrize(
    "limit", ["RequestReadTimeout handshake=1 header=60\n", "RequestReadTimeout handshake=0 header=60\nTimeout 1\n"]
)
def test_a_client_hello_that_does_not_come_to_an_end_is_not_waited_for(
    world: World, sites: Sites, limit: str, sent: int
) -> None:
    server = world.server(limit + sites.virtual_host("alice", ALICE))
    with server.connect(30) as sock:
        sock.sendall(hello(sites, "alice.test")[:sent])
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    eventually(lambda: "Request handshake read timeout" in server.log())


@pytest.mark.parametrize(
    "limit", ["RequestReadTimeout handshake=1 header=60\n", "RequestReadTimeout handshake=0 header=60\nTimeout 1\n"]
)
def test_a_handshake_that_does_not_come_to_an_end_is_not_waited_for(world: World, sites: Sites, limit: str) -> None:
    server = world.server(limit + sites.virtual_host("alice", ALICE))
    with server.connect(30) as sock:
        sock.sendall(hello(sites, "alice.test"))
        while data := sock.recv(65536):
            assert data
    eventually(lambda: "Request handshake read timeout" in server.log())
    assert sites.get(server).status == 200


def test_after_the_handshake_a_client_has_the_time_of_a_first_request(world: World, sites: Sites) -> None:
    """KeepAliveTimeout is for those behind it."""
    server = world.server("KeepAliveTimeout 1\n" + sites.virtual_host("alice", ALICE))
    with sites.connect(server) as sock:
        sock.settimeout(2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(10)
        assert ask(sock, "alice.test").status == 200
        assert sock.recv(1) == b"", "this time it is KeepAliveTimeout"


# Clients that do it wrong


def test_plain_http_where_tls_is_spoken_gets_a_400_that_says_so(two: Server) -> None:
    response = two.raw(GET)
    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in response
    assert b"alice\n" not in response


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 64, b"\x16\x03\x01\x00\x05nonsense", b"\xff" * 4096]
)
def test_garbage_ends_with_an_alert_or_an_end(shared_sites: Sites, two: Server, data: bytes) -> None:
    response = two.raw(data)
    assert response == b"" or response.startswith((b"\x15\x03", b"HTTP/1.1 400"))
    assert shared_sites.get(two).status == 200


def test_a_server_name_that_could_forge_a_message_is_none(shared_sites: Sites, two: Server) -> None:
    """A NUL ends a text in a mailbox: behind it a client could say who it is."""
    data = bytearray(hello(shared_sites, "x" * 60 + ".test"))
    name = b"x\0\x30" + b"127.0.0.1\0" + b"5\0" + b"127.0.0.1\0" + b"1\0" + b"1\0{}"
    at = data.index(b"x" * 60)
    data[at : at + len(name)] = name
    response = two.raw(bytes(data))
    assert response.startswith(b"\x15\x03"), response
    assert "relayed" not in two.log()
    assert "nonsense" not in two.log()
    assert shared_sites.get(two).status == 200


def test_a_client_that_leaves_in_the_midst_of_it(shared_sites: Sites, two: Server) -> None:
    for sent in (0, 10, 10_000):
        for _ in range(20):
            with two.connect() as sock:
                sock.sendall(hello(shared_sites, "alice.test")[:sent])
    assert shared_sites.get(two).status == 200
    assert "bug" not in two.log()


def test_what_follows_the_handshake_at_once_is_answered(shared_sites: Sites, two: Server) -> None:
    """Finished and the first request in one packet, and a second one behind it."""
    done = s_client(
        two, "-servername", "alice.test", "-quiet", "-ign_eof", say=(GET.replace(b"close", b"x") + GET).decode()
    )
    assert done.count("200 OK") == 2


def test_the_end_is_said(shared_sites: Sites, two: Server) -> None:
    """close_notify: without it a client cannot know that nothing was cut off (Python raises SSLEOFError)."""
    context = shared_sites.context()
    with context.wrap_socket(two.connect(), server_hostname="alice.test", suppress_ragged_eofs=False) as sock:
        sock.sendall(GET)
        while data := sock.recv(65536):
            assert data


def test_a_client_that_says_its_end_and_waits(shared_sites: Sites, two: Server) -> None:
    """close_notify while the server lingers over a body that nobody reads: nothing is left behind."""
    with shared_sites.connect(two) as sock:
        sock.sendall(b"POST /none HTTP/1.1\r\nHost: alice.test\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n")
        assert answer(sock).status in (404, 405)
        sock.unwrap()
    eventually(lambda: "(0 connections)" in two.worker(ALICE).title)
    assert "bug" not in two.log()


# A stop


def test_a_graceful_stop_lets_handshakes_and_first_requests_finish(sites: Sites, own: Server) -> None:
    import signal

    sites.get(own)
    context = sites.context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="alice.test")
    with sites.connect(own) as quiet, own.connect() as sock:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        sock.sendall(outgoing.read())
        incoming.write(sock.recv(65536))
        assert own.process is not None
        own.process.send_signal(signal.SIGWINCH)
        eventually(lambda: not own.processes("gate"))
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
        client.write(GET)
        sock.sendall(outgoing.read())
        data = b""
        while b"alice\n" not in data:
            incoming.write(sock.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                data += client.read(65536)
        assert data.startswith(b"HTTP/1.1 200 ")
        assert ask(quiet, "alice.test").status == 200
        own.process.wait(15)


@pytest.mark.parametrize("name", ["carol.test"])
def test_a_name_of_nobody_who_speaks_tls(world: World, sites: Sites, name: str) -> None:
    """Where the address itself speaks none, neither does a name there."""
    server = world.server(world.virtual_host("alice", ALICE) + sites.virtual_host("carol", CAROL))
    with pytest.raises(OSError, match=r".*"):
        sites.connect(server, name)
    assert server.raw(hello(sites, name)).startswith(b"HTTP/1.1 400 ")
