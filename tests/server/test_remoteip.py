"""mod_remoteip in the real server: what logs, rules and programs see of a client that a listed proxy speaks for."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

import httpx
import pytest

from certificates import Authority
from harness import ALICE, BOB, PYTHON, Server, World
from waiting import eventually, is_silent

SCRIPT = f"""#!{PYTHON}
import os
print("Content-Type: text/plain\\n")
for name in ("REMOTE_ADDR", "REMOTE_PORT", "HTTP_X_FORWARDED_FOR", "HTTP_X_BY"):
    print(name, os.environ.get(name))
"""
LINES = """\
RemoteIPHeader X-Forwarded-For
RemoteIPProxiesHeader X-By
LogFormat "%a %h %{c}a %{X-Forwarded-For}i %{remoteip-proxy-ip-list}n %U" clients
CustomLog @DIR@/access.log clients
ErrorLogFormat "[client %a] [peer %{c}a] %M"
ScriptAlias /cgi/ @DIR@/alice/
<Location /only>
    Require ip 198.51.100.7
</Location>
"""
FILES = {"index.html": "alice\n", "env.cgi": SCRIPT, "only/x.txt": "x\n"}


@pytest.fixture
def behind(world: World) -> Server:
    """alice.test behind a proxy: the tests themselves."""
    return world.server("RemoteIPTrustedProxy 127.0.0.1\n" + world.virtual_host("alice", ALICE, LINES, FILES))


def lines(server: Server, count: int) -> list[str]:
    eventually(lambda: Path(server.folder / "access.log").exists() and server.log("access.log").count("\n") >= count)
    return server.log("access.log").splitlines()


def test_programs_and_rules_see_the_client(behind: Server) -> None:
    said = behind.get("alice.test", "/cgi/env.cgi", X_Forwarded_For="10.1.1.1, 198.51.100.7")
    found = dict(line.split(" ", 1) for line in said.content.decode().splitlines())
    assert found["REMOTE_ADDR"] == "198.51.100.7"
    assert (found["HTTP_X_FORWARDED_FOR"], found["HTTP_X_BY"]) == ("10.1.1.1", "127.0.0.1")
    assert behind.get("alice.test", "/only/x.txt", X_Forwarded_For="198.51.100.7").status == 200
    assert behind.get("alice.test", "/only/x.txt", X_Forwarded_For="198.51.100.8").status == 403
    assert behind.get("alice.test", "/only/x.txt").status == 403
    eventually(lambda: "[client 198.51.100.8:" in behind.log())
    line = next(line for line in behind.log().splitlines() if "[client 198.51.100.8:" in line)
    assert "[peer 127.0.0.1:" in line


def test_what_is_remembered_is_logged_with_each_ones_client(behind: Server) -> None:
    """The same file for several clients of one connection, and for the proxy itself."""
    client = behind.client()
    clients = ["198.51.100.7", "203.0.113.5", "", "2001:db8::1", "198.51.100.7", "10.0.0.1"]
    for address in clients:
        client.request(
            "GET", "/index.html", headers={"Host": "alice.test", **({"X-Forwarded-For": address} if address else {})}
        )
        assert client.getresponse().read() == b"alice\n"
    client.close()
    assert lines(behind, len(clients)) == [
        "198.51.100.7 198.51.100.7 127.0.0.1 - 127.0.0.1 /index.html",
        "203.0.113.5 203.0.113.5 127.0.0.1 - 127.0.0.1 /index.html",
        "127.0.0.1 127.0.0.1 127.0.0.1 - - /index.html",
        "2001:db8::1 2001:db8::1 127.0.0.1 - 127.0.0.1 /index.html",
        "198.51.100.7 198.51.100.7 127.0.0.1 - 127.0.0.1 /index.html",
        "127.0.0.1 127.0.0.1 127.0.0.1 10.0.0.1 - /index.html",
    ]


def test_who_is_not_listed_speaks_for_himself_alone(world: World) -> None:
    """A client that says to be another: neither rules nor logs believe it, listed as others may be."""
    server = world.server("RemoteIPTrustedProxy 192.0.2.1\n" + world.virtual_host("alice", ALICE, LINES, FILES))
    assert server.get("alice.test", "/only/x.txt", X_Forwarded_For="198.51.100.7").status == 403
    assert server.get("alice.test", "/only/x.txt", X_Forwarded_For="198.51.100.7, 192.0.2.1").status == 403
    assert {line.split()[0] for line in lines(server, 2)} == {"127.0.0.1"}


ANNOUNCING = "RemoteIPTrustedProxy 127.0.0.0/24\nRemoteIPProxyProtocol On\nRemoteIPProxyProtocolExceptions 127.0.0.9\n"
V1 = b"PROXY TCP4 198.51.100.7 192.0.2.9 4000 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13" + bytes([198, 51, 100, 7, 192, 0, 2, 9, 15, 160, 0, 80]) + b"\x02\0\x04name"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


@pytest.fixture
def announcing(world: World) -> Server:
    """alice.test behind a proxy that speaks the PROXY protocol: the tests themselves."""
    return world.server(ANNOUNCING + world.virtual_host("alice", ALICE, LINES, FILES))


def asked(path: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: alice.test", "Connection: close", *fields, "", "")).encode()


def spoken(server: Server, *parts: bytes, source: str = "127.0.0.1") -> bytes:
    """What is answered to what a proxy of an address says, in parts that come one by one."""
    with socket.create_connection(("127.0.0.1", server.port), 10, source_address=(source, 0)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            sock.sendall(part)
            is_silent(sock, 0.02 if len(parts) > 1 else 0)  # so that they come one by one; either way all is the same
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(65_536):
                answer += data
        return answer


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("cut", [0, 1, 9, 16, 30, 50])
def test_the_proxy_protocol(announcing: Server, header: bytes, cut: int) -> None:
    """At once and in parts: the client is whom the proxy announces, whatever a field says."""
    data = header + asked("/cgi/env.cgi", "X-Forwarded-For: 203.0.113.5")
    said = spoken(announcing, *((data[:cut], data[cut:]) if cut else (data,)))
    assert b"REMOTE_ADDR 198.51.100.7\nREMOTE_PORT 4000\nHTTP_X_FORWARDED_FOR 203.0.113.5" in said
    assert spoken(announcing, header + asked("/only/x.txt")).startswith(b"HTTP/1.1 200")
    assert lines(announcing, 1)[0].startswith("198.51.100.7 198.51.100.7 127.0.0.1 203.0.113.5 - ")


def test_who_does_not_announce_anybody(announcing: Server) -> None:
    """A listed proxy must, but for health checks; an exception does not, and others are not listened to."""
    assert spoken(announcing, asked("/index.html")) == b""
    eventually(
        lambda: "front proxy 127.0.0.1: its connection does not begin with the PROXY protocol" in announcing.log()
    )
    assert spoken(announcing, LOCAL + asked("/index.html")).startswith(b"HTTP/1.1 200")
    assert spoken(announcing, asked("/index.html"), source="127.0.0.9").startswith(b"HTTP/1.1 200")
    assert spoken(announcing, V1 + asked("/index.html"), source="127.0.0.9").startswith(b"HTTP/1.1 400")
    assert spoken(announcing, V1 + asked("/only/x.txt"), source="127.0.1.1").startswith(b"HTTP/1.1 400"), "not listed"
    assert spoken(announcing, asked("/only/x.txt"), source="127.0.1.1").startswith(b"HTTP/1.1 403")
    assert {line.split()[0] for line in lines(announcing, 4)} == {"127.0.0.1", "127.0.0.9", "127.0.1.1"}


def tls(world: World) -> str:
    certificate, key = Authority().issue("alice.test").files(world.folder, "alice")
    return f"SSLEngine on\nSSLCertificateFile {certificate}\nSSLCertificateKeyFile {key}\nProtocols h2 http/1.1\n"


def test_the_proxy_protocol_comes_before_tls(world: World) -> None:
    server = world.server(ANNOUNCING + world.virtual_host("alice", ALICE, tls(world) + LINES, FILES))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with server.connect() as sock:
        sock.sendall(V2)
        with context.wrap_socket(sock, server_hostname="alice.test") as secure:
            secure.sendall(asked("/cgi/env.cgi"))
            answer = b""
            while data := secure.recv(65_536):
                answer += data
    assert b"REMOTE_ADDR 198.51.100.7\nREMOTE_PORT 4000" in answer


@pytest.mark.parametrize("http2", [False, True])
def test_another_identity_of_the_virtual_host_sees_the_same_client(world: World, http2: bool) -> None:
    """Whoever ends the connection passes the request on as it came, and says whose the connection is."""
    root = world.site("bobs", BOB, {"x.txt": "bob\n"})
    lines_ = (
        f'Alias /bobs/ {root}/\n<Directory {root}>\nAssignUserID "#{BOB}" "#{BOB}"\nRequire ip 198.51.100.7\n'
        "</Directory>\nRequestHeader append X-Once a early\n"
        'Header set X-Client "expr=%{REMOTE_ADDR} %{CONN_REMOTE_ADDR} %{HTTP:X-Forwarded-For} %{HTTP:X-Once}"\n'
    )
    body = world.virtual_host("alice", ALICE, tls(world) + LINES + lines_, FILES)
    server = world.server("RemoteIPTrustedProxy 127.0.0.1\n" + body)
    with httpx.Client(http1=not http2, http2=http2, verify=False) as client:
        for path in ("/bobs/x.txt", "/index.html", "/bobs/x.txt"):
            fields = {"Host": "alice.test", "X-Forwarded-For": "192.0.2.5, 198.51.100.7"}
            answer = client.get(f"https://127.0.0.1:{server.port}{path}", headers=fields)
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
            assert answer.headers["X-Client"] == "198.51.100.7 127.0.0.1 192.0.2.5 a"
