"""Servers behind this one that speak TLS: connections, WebSocket, and who has what they are shown."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends import Backend, backend
from certificates import Authority
from harness import ALICE, BOB, Server, World
from ownhost.admin.cli import main
from waiting import eventually

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3
UPGRADE = (
    b"GET /websocket HTTP/1.1\r\nHost: alice.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def behind(world: World, authority: Authority) -> Iterator[Backend]:
    """A server of localhost, which asks for certificates of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost").files(world.folder, "localhost"))
    context.load_verify_locations(cadata=authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    with backend(context=context) as made:
        yield made


@pytest.fixture
def keys(world: World, authority: Authority) -> Path:
    """A folder that root alone sees, with what other servers are shown and checked against."""
    folder = world.folder / "keys"
    folder.mkdir(mode=0o700)
    client = authority.issue("client.test")
    (folder / "client.pem").write_text(client.chain + client.secret)
    (folder / "authority.pem").write_text(authority.pem)
    return folder


VERIFIED = "SSLProxyVerify require\nSSLProxyCACertificateFile @DIR@/keys/authority.pem\n"
SHOWN = "SSLProxyMachineCertificateFile @DIR@/keys/client.pem\n"


def front(world: World, lines: str) -> Server:
    return world.server(world.virtual_host("alice", ALICE, f"SSLProxyEngine on\n{lines}", {"index.html": "here\n"}))


def test_what_root_alone_can_read_is_used_by_the_owner(world: World, behind: Backend, keys: Path) -> None:
    server = front(world, f"{VERIFIED}{SHOWN}ProxyPass / https://localhost:{behind.port}/\n")
    assert server.get("alice.test", "/tls").content == b"localhost\nclient.test\nTLSv1.3"
    assert server.worker(ALICE).uid == ALICE


def test_folders_of_authorities_and_certificates(world: World, behind: Backend, keys: Path) -> None:
    for name in ("authority", "client"):
        (keys / f"{name}s").mkdir()
        (keys / f"{name}.pem").rename(keys / f"{name}s" / f"{name}.pem")
        (keys / f"{name}s" / "1234abcd.0").symlink_to(f"{name}.pem")
        (keys / f"{name}s" / "nowhere.0").symlink_to("missing.pem")
    folders = "SSLProxyCACertificatePath @DIR@/keys/authoritys\nSSLProxyMachineCertificatePath @DIR@/keys/clients\n"
    server = front(world, f"SSLProxyVerify require\n{folders}ProxyPass / https://localhost:{behind.port}/\n")
    assert server.get("alice.test", "/tls").content == b"localhost\nclient.test\nTLSv1.3"


def test_connections_are_kept_and_used_again(world: World, behind: Backend) -> None:
    server = front(world, f"ProxyPass / https://localhost:{behind.port}/\n")
    for _ in range(5):
        assert server.get("alice.test", "/x").status == 200
    assert behind.connections == 1
    assert server.get("alice.test", "/stale").content == b"stale"
    assert server.get("alice.test", "/x").status == 200
    assert len(behind.asked) == 7


def test_a_connection_is_for_the_name_that_was_asked_for(world: World, behind: Backend) -> None:
    passes = f"ServerAlias other.test\nSSLProxyCheckPeerName off\nProxyPass / https://localhost:{behind.port}/\n"
    server = front(world, f"ProxyPreserveHost on\n{passes}")
    for _ in range(2):
        for name in ("alice.test", "other.test"):
            shown = server.get(name, "/tls").content
            assert shown == f"{name}\nTLSv1.3".encode()
    assert behind.connections == 2


def test_large_bodies_both_ways(world: World, behind: Backend) -> None:
    server = front(world, f"ProxyPass / https://localhost:{behind.port}/\n")
    body = bytes(range(256)) * 20_000
    client = server.client()
    client.request("POST", "/echo", body, {"Host": "alice.test"})
    assert client.getresponse().read() == body
    client.close()


@pytest.mark.parametrize("passes", ["ProxyPass / wss://{0}/", "ProxyPass / https://{0}/ upgrade=websocket"])
def test_websockets(world: World, behind: Backend, passes: str) -> None:
    server = front(world, f"{passes.format(f'localhost:{behind.port}')}\n")
    with server.connect() as sock:
        sock.sendall(UPGRADE)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
        for size in (5, 100_000):
            sock.sendall(b"a" * size)
            received = 0
            while received < size:
                data = sock.recv(65_536)
                assert data
                assert set(data) == {ord("A")}
                received += len(data)
        sock.close()


def test_a_key_is_the_virtual_hosts_own_and_no_sections(world: World, behind: Backend, keys: Path) -> None:
    """Authorities are for every identity that serves the virtual host; what it proves itself with is not."""
    lines = f'{VERIFIED}{SHOWN}<Location /bob/>\nAssignUserID "#{BOB}" "#{BOB}"\n</Location>\n'
    server = front(world, f"{lines}ProxyPass / https://localhost:{behind.port}/\n")
    assert server.get("alice.test", "/tls").content == b"localhost\nclient.test\nTLSv1.3"
    assert server.get("alice.test", "/bob/tls").status == 500
    eventually(lambda: "client.pem was not given to this process" in server.log())
    held = {name for name in server.worker(BOB).descriptors().values() if "/keys/" in name}
    assert held == {str(keys / "authority.pem")}


def test_the_example_of_the_documents(world: World, behind: Backend, keys: Path) -> None:
    """As written, but for ports, paths, the owner and where the other servers are."""
    page = (Path(__file__).parents[2] / "docs" / "proxying.md").read_text()
    (text,) = (block for block in re.findall(r"```apache\n(.*?)```", page, re.DOTALL) if "SSLProxyEngine" in block)
    world.site("shop", ALICE)
    for old, new in (
        ("Listen 80\n", ""),
        ("*:80", "*:@PORT@"),
        ("/srv/shop/public", "@DIR@/shop"),
        ("/etc/ssl/certs/ca-certificates.crt", "@DIR@/keys/authority.pem"),
        ("/etc/ssl/private/house/authority.pem", "@DIR@/keys/authority.pem"),
        ("/etc/ssl/private/house/shop.pem", "@DIR@/keys/client.pem"),
        ("pay.example", f"localhost:{behind.port}"),
        ("live.example", f"localhost:{behind.port}"),
        ("stock.example", f"localhost:{behind.port}"),
        ("DocumentRoot", f'AssignUserID "#{ALICE}" "#{ALICE}"\nDocumentRoot'),
    ):
        assert old in text
        text = text.replace(old, new)
    server = world.server(text)
    assert server.get("shop.example", "/pay/x").content.startswith(b"GET /v1/x\n")
    assert b"client.test" in server.get("shop.example", "/stock/tls").content


BROKEN = {
    "SSLProxyCACertificateFile @DIR@/keys/none.pem": "SSLProxyCACertificateFile @DIR@/keys/none.pem cannot be read: No",
    "SSLProxyMachineCertificatePath @DIR@/keys/none": "@DIR@/keys/none cannot be read: No such file or directory",
    "SSLProxyCipherSuite NO-SUCH": "SSLProxyCipherSuite: OpenSSL knows no cipher in 'NO-SUCH",
    "SSLProxyVerify on\nSSLProxyCARevocationCheck leaf": "SSLProxyCARevocationCheck: CRL checking is enabled, and no",
}


@pytest.mark.parametrize("lines", BROKEN)
def test_what_cannot_be_used_is_said_at_the_start_and_by_check(
    world: World, behind: Backend, keys: Path, lines: str
) -> None:
    expected = BROKEN[lines].replace("@DIR@", str(world.folder))
    sections = f"<Proxy https://localhost:{behind.port}/bad/>\n{lines}\n</Proxy>\n"
    server = front(world, f"{sections}ProxyPass / https://localhost:{behind.port}/\n")
    eventually(lambda: expected in server.log())
    assert server.get("alice.test", "/tls").status == 200
    assert server.get("alice.test", "/bad/tls").status == 500
    checked = CliRunner().invoke(main, ["check", "-f", str(server.config)])
    assert checked.exit_code == 1
    assert len(checked.output.splitlines()) == 1
    assert expected in checked.output
