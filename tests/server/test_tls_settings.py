"""mod_ssl's directives about connections, as clients see them: versions, ciphers, tickets, certificates."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from certificates import Authority, Identity, certificate_pem
from encrypted import Sites, ask, s_client
from harness import ALICE, BOB, Server, World
from waiting import Still, eventually, unread

Serve = Callable[[str], Server]
AUTHORITIES = "SSLCACertificateFile @DIR@/clients.pem\n"


@pytest.fixture
def serve(world: World, sites: Sites) -> Serve:
    """alice.test with more directives."""
    return lambda extra: world.server(sites.virtual_host("alice", ALICE, extra))


def spoken(server: Server, *arguments: str) -> str:
    """Version and cipher that s_client and the server agree on; "" for none."""
    said = s_client(server, "-servername", "alice.test", *arguments)
    found = re.search(r"^New, (?P<version>\S+), Cipher is (?P<cipher>\S+)", said, re.MULTILINE)
    return "" if found is None or found["cipher"] == "(NONE)" else f"{found['version']} {found['cipher']}"


OLD = ["-cipher", "ALL:@SECLEVEL=0"]


# Versions


@pytest.mark.parametrize(
    ("says", "versions"),
    [
        ("", {"1.2", "1.3"}),
        ("SSLProtocol all\n", {"1.2", "1.3"}),
        ("SSLProtocol -all +TLSv1.2\n", {"1.2"}),
        ("SSLProtocol TLSv1.3\n", {"1.3"}),
        ("SSLProtocol all -TLSv1.2\n", {"1.3"}),
        ("SSLProtocol all +TLSv1.1\nSSLCipherSuite ALL:@SECLEVEL=0\n", {"1.1", "1.2", "1.3"}),
        ("SSLProtocol all +TLSv1\nSSLCipherSuite ALL:@SECLEVEL=0\n", {"1", "1.2", "1.3"}),
    ],
)
def test_versions(serve: Serve, says: str, versions: set[str]) -> None:
    server = serve(says)
    options = {"1": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2", "1.3": "-tls1_3"}
    found = {version for version, option in options.items() if spoken(server, option, *OLD)}
    assert found == versions


# Ciphers


def test_ciphers_without_forward_secrecy_are_not_spoken_unless_named(world: World, sites: Sites) -> None:
    rsa = sites.certificate("alice", kind="rsa")
    server = world.server(sites.virtual_host("alice", ALICE, certificate=rsa))
    assert not spoken(server, "-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-SHA:ECDHE-RSA-AES128-SHA")
    assert spoken(server, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256").endswith("ECDHE-RSA-AES128-GCM-SHA256")
    server = world.server(sites.virtual_host("alice", ALICE, "SSLCipherSuite AES128-GCM-SHA256\n", certificate=rsa))
    assert spoken(server, "-tls1_2").endswith(" AES128-GCM-SHA256")
    assert spoken(server).startswith("TLSv1.3 "), "whose ciphers are named apart"


def test_nothing_without_certificates_or_encryption(serve: Serve) -> None:
    server = serve("SSLCipherSuite ALL:aNULL:eNULL:@SECLEVEL=0\n")
    assert not spoken(server, "-tls1_2", "-cipher", "aNULL:eNULL:@SECLEVEL=0")


def test_suites_of_tls_13(serve: Serve) -> None:
    server = serve("SSLCipherSuite TLSv1.3 TLS_CHACHA20_POLY1305_SHA256\n")
    assert spoken(server) == "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256"
    assert not spoken(server, "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-tls1_3")


@pytest.mark.parametrize(("order", "first"), [("on", "AES256"), ("off", "AES128")])
def test_whose_order_counts(serve: Serve, order: str, first: str) -> None:
    ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
    server = serve(f"SSLCipherSuite {ciphers}\nSSLHonorCipherOrder {order}\n")
    theirs = ":".join(reversed(ciphers.split(":")))
    assert first in spoken(server, "-tls1_2", "-cipher", theirs)


# OpenSSL's own commands


@pytest.mark.parametrize("command", ["Groups", "Curves"])
def test_groups(serve: Serve, command: str) -> None:
    server = serve(f"SSLOpenSSLConfCmd {command} P-384\n")
    assert "Server Temp Key: ECDH, secp384r1, 384 bits" in s_client(server, "-servername", "alice.test")
    assert not spoken(server, "-groups", "P-256")


def test_options(serve: Serve) -> None:
    for command, there in (("Options SessionTicket", True), ("Options -SessionTicket", False)):
        said = s_client(serve(f"SSLOpenSSLConfCmd {command}\n"), "-servername", "alice.test", "-tls1_2")
        assert ("TLS session ticket:" in said) == there
    server = serve("SSLOpenSSLConfCmd Protocol -TLSv1.3\n")
    assert spoken(server, "-tls1_2")
    assert not spoken(server, "-tls1_3")


def test_signature_algorithms(serve: Serve) -> None:
    server = serve("SSLOpenSSLConfCmd SignatureAlgorithms ECDSA+SHA256\n")
    assert "Peer signing digest: SHA256" in s_client(server, "-servername", "alice.test", "-tls1_2")
    assert not spoken(server, "-sigalgs", "ECDSA+SHA384")


# Certificates


def test_two_kinds_side_by_side(world: World, sites: Sites) -> None:
    both = sites.certificate("alice") + sites.certificate("alice", kind="rsa")
    server = world.server(sites.virtual_host("alice", ALICE, certificate=both))
    for algorithm, kind in (("ECDSA+SHA256", "ECDSA"), ("RSA-PSS+SHA256", "RSA-PSS")):
        said = s_client(server, "-servername", "alice.test", "-sigalgs", algorithm)
        assert f"Peer signature type: {kind}\n" in said
        assert "Verify return code: 19" in said or "Verification error" in said or "verify" in said
        assert spoken(server, "-sigalgs", algorithm)


@pytest.mark.parametrize("how", ["in one file", "SSLCertificateChainFile", "behind the certificate"])
def test_a_chain(world: World, sites: Sites, how: str) -> None:
    """The key in the certificate's file, too."""
    between = Authority("Between", issuer=sites.authority)
    made = between.issue("alice.test")
    file, chain = sites.keys / "all.pem", sites.keys / "chain.pem"
    lines = f"SSLCertificateFile {file}\n"
    above = certificate_pem(between.certificate)
    match how:
        case "in one file":
            file.write_text(made.secret + made.chain + above)
        case "behind the certificate":
            file.write_text(made.chain + above + made.secret)
        case _:
            file.write_text(made.chain + made.secret)
            chain.write_text(above)
            lines += f"SSLCertificateChainFile {chain}\n"
    server = world.server(sites.virtual_host("alice", ALICE, certificate=lines))
    assert sites.get(server).content == b"alice\n"


# Sessions


def resumes(sites: Sites, server: Server, session: ssl.SSLSession, context: ssl.SSLContext, name: str) -> bool:
    with sites.connect(server, name, context, session=session) as sock:
        assert ask(sock, name).status == 200
        return bool(sock.session_reused)


def is_answered(sites: Sites, server: Server) -> bool:
    """Whether there is a worker again."""
    with contextlib.suppress(OSError):
        return sites.get(server).status == 200
    return False


def begin(sites: Sites, server: Server, version: str, name: str) -> tuple[ssl.SSLSession, ssl.SSLContext]:
    context = sites.context(maximum_version=ssl.TLSVersion[version])
    with sites.connect(server, name, context) as sock:
        assert ask(sock, name).status == 200
        assert sock.session is not None
        return sock.session, context


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_sessions_are_resumed_by_all_workers_of_a_virtual_host_and_no_other(
    world: World, sites: Sites, version: str
) -> None:
    both = sites.certificate("alice", "second.test", "bob.test")
    server = world.server(
        sites.virtual_host("alice", ALICE, certificate=both)
        + sites.virtual_host("second", ALICE, certificate=both)
        + sites.virtual_host("bob", BOB, certificate=both)
    )
    session, context = begin(sites, server, version, "alice.test")
    assert resumes(sites, server, session, context, "alice.test")
    session, context = begin(sites, server, version, "alice.test")
    for other in ("bob.test", "second.test"):
        assert not resumes(sites, server, session, context, other)
    session, context = begin(sites, server, version, "alice.test")
    worker = server.worker(ALICE)
    os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: not worker.alive)
    eventually(lambda: is_answered(sites, server))
    assert resumes(sites, server, session, context, "alice.test")


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_without_tickets_nothing_is_resumed(sites: Sites, serve: Serve, version: str) -> None:
    server = serve("SSLSessionTickets off\n")
    said = s_client(server, "-servername", "alice.test", f"-{version.lower().replace('v', '')}", say="Q\n")
    assert "TLS session ticket:" not in said
    context = sites.context(maximum_version=ssl.TLSVersion[version])
    with sites.connect(server, "alice.test", context) as sock:
        assert ask(sock, "alice.test").status == 200
        session = sock.session
    if session is not None and session.id:
        assert not resumes(sites, server, session, context, "alice.test")


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_with_a_cache_in_their_stead_a_worker_remembers_its_clients(world: World, sites: Sites, version: str) -> None:
    both = sites.certificate("alice", "second.test")
    server = world.server(
        "SSLSessionTickets off\nSSLSessionCache shmcb:@DIR@/cache(512000)\n"
        + sites.virtual_host("alice", ALICE, certificate=both)
        + sites.virtual_host("second", ALICE, certificate=both)
    )
    session, context = begin(sites, server, version, "alice.test")
    assert resumes(sites, server, session, context, "alice.test")
    session, context = begin(sites, server, version, "alice.test")
    assert not resumes(sites, server, session, context, "second.test")
    worker = server.worker(ALICE)
    session, context = begin(sites, server, version, "alice.test")
    os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: not worker.alive)
    assert not resumes(sites, server, session, context, "alice.test")


# Clients' certificates


@pytest.fixture
def clients(world: World) -> dict[str, Identity]:
    """known's is by an authority, deep's by one below that, deeper's by one below that one, itself's by itself.

    revoked's is revoked, stranger's by nobody who counts.
    """
    authority, stranger = Authority("Clients"), Authority("Strangers")
    below = Authority("Below", issuer=authority)
    lower, itself = Authority("Lower", issuer=below), Authority("Itself")
    made = {name: authority.issue(f"{name}.client") for name in ("known", "revoked")}
    made["deep"] = below.issue("deep.client")
    made["deeper"] = lower.issue("deeper.client")
    made["itself"] = Identity(itself.certificate, itself.key)
    made["stranger"] = stranger.issue("stranger.client")
    for name, identity in made.items():
        certificate, _ = identity.files(world.folder, name)
        between = {"deep": below.pem, "deeper": lower.pem + below.pem}.get(name, "")
        certificate.write_text(identity.chain + between)
    (world.folder / "clients.pem").write_text(authority.pem + itself.pem)
    (world.folder / "revoked.pem").write_text(authority.revoke(made["revoked"]))
    folder = world.folder / "folder"
    folder.mkdir()
    (folder / "one.pem").write_text(authority.pem)
    (folder / "abcd1234.0").symlink_to("one.pem")
    return made


def status(
    sites: Sites, server: Server, client: str = "", version: str = "TLSv1_3", path: str = "/", ciphers: str = ""
) -> int:
    """What a request with a client's certificate ends with; 0 for a connection that is refused."""
    context = sites.context(maximum_version=ssl.TLSVersion[version])
    if ciphers:
        context.set_ciphers(ciphers)
    if client:
        folder: Path = server.folder
        context.load_cert_chain(folder / f"{client}.crt", folder / f"{client}.key")
    try:
        return sites.get(server, path=path, context=context).status
    except ssl.SSLError as error:
        return 0 if "ALERT" in str(error.reason) else -1  # the client is told why


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize(
    ("says", "known", "none", "stranger", "deep", "revoked"),
    [
        (AUTHORITIES, 200, 200, 200, 200, 200),
        ("SSLVerifyClient none\n" + AUTHORITIES, 200, 200, 200, 200, 200),
        ("SSLVerifyClient off\n" + AUTHORITIES, 200, 200, 200, 200, 200),
        ("SSLVerifyClient optional\n" + AUTHORITIES, 200, 200, 0, 0, 200),
        ("SSLVerifyClient require\n" + AUTHORITIES, 200, 0, 0, 0, 200),
        ("SSLVerifyClient on\n" + AUTHORITIES, 200, 0, 0, 0, 200),
        ("SSLVerifyClient require\nSSLVerifyDepth 2\n" + AUTHORITIES, 200, 0, 0, 200, 200),
        ("SSLVerifyClient require\nSSLCACertificatePath @DIR@/folder\n", 200, 0, 0, 0, 200),
        (
            "SSLVerifyClient require\nSSLCARevocationCheck leaf\nSSLCARevocationFile @DIR@/revoked.pem\n" + AUTHORITIES,
            *(200, 0, 0, 0, 0),  # of who is below nobody has a list
        ),
    ],
    ids=["unsaid", "none", "off", "optional", "require", "on", "depth", "path", "revocation"],
)
def test_clients_certificates(
    sites: Sites,
    serve: Serve,
    clients: dict[str, Identity],
    version: str,
    says: str,
    known: int,
    none: int,
    stranger: int,
    deep: int,
    revoked: int,
) -> None:
    server = serve(says)
    expected = {"known": known, "": none, "stranger": stranger, "deep": deep, "revoked": revoked}
    assert {client: status(sites, server, client, version) for client in expected} == expected


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_how_deep_a_certificate_may_be(sites: Sites, serve: Serve, clients: dict[str, Identity], version: str) -> None:
    """As Apache counts: all behind the client's. A depth of 0 Apache refuses within the handshake, we behind it."""
    for depth, expected in (
        ("", (200, 200, 0, 0)),
        ("SSLVerifyDepth 0\n", (200, 403, 0, 0)),
        ("SSLVerifyDepth 1\n", (200, 200, 0, 0)),
        ("SSLVerifyDepth 2\n", (200, 200, 200, 0)),
        ("SSLVerifyDepth 3\n", (200, 200, 200, 200)),
    ):
        server = serve(f"SSLVerifyClient require\n{depth}{AUTHORITIES}")
        found = tuple(status(sites, server, client, version) for client in ("itself", "known", "deep", "deeper"))
        assert found == expected, depth


SECTIONS = """
<Location /one>
SSLVerifyClient require
</Location>
<Location /two>
SSLVerifyClient require
SSLVerifyDepth 2
</Location>
<Location /itself>
SSLVerifyClient require
SSLVerifyDepth 0
</Location>
"""


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_how_deep_a_certificate_may_be_for_a_section(
    sites: Sites, serve: Serve, clients: dict[str, Identity], version: str
) -> None:
    server = serve(SECTIONS + AUTHORITIES)
    paths = ("/", "/one", "/two", "/itself")
    for client, expected in {
        "": (200, 403, 403, 403),
        "itself": (200, 404, 404, 404),  # let in; there is nothing
        "known": (200, 404, 404, 403),
        "deep": (200, 403, 404, 403),
        "deeper": (0, 0, 0, 0),
    }.items():
        assert tuple(status(sites, server, client, version, path) for path in paths) == expected, client


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_resumed_session_is_no_way_around_the_depth(
    sites: Sites, serve: Serve, clients: dict[str, Identity], version: str
) -> None:
    """It would not tell how deep the certificate was: there are none where that is asked."""
    server = serve(
        "SSLVerifyClient require\nSSLVerifyDepth 2\n<Location /one>\nSSLVerifyDepth 1\n</Location>\n" + AUTHORITIES
    )
    context = sites.context(maximum_version=ssl.TLSVersion[version])
    context.load_cert_chain(server.folder / "deep.crt", server.folder / "deep.key")
    session = None
    for _ in range(2):
        with sites.connect(server, context=context, session=session) as sock:
            assert not sock.session_reused
            assert ask(sock, "alice.test", "/").status == 200
            assert ask(sock, "alice.test", "/one").status == 403
            session = sock.session


@pytest.mark.parametrize(
    ("section", "version", "ciphers", "expected"),
    [
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1_2", "ECDHE-ECDSA-AES256-GCM-SHA384", 200),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1_2", "ECDHE-ECDSA-AES128-GCM-SHA256", 403),
        ("SSL ECDHE+AES256", "TLSv1_2", "ECDHE-ECDSA-AES256-GCM-SHA384", 200),
        ("SSL ECDHE+AES256", "TLSv1_2", "ECDHE-ECDSA-AES128-GCM-SHA256", 403),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1_3", "", 200),  # as Apache: those of TLS 1.3 are the server's to choose
        ("NO-SUCH", "TLSv1_2", "", 403),
        ("NO-SUCH", "TLSv1_3", "", 200),
    ],
)
def test_a_section_may_want_other_ciphers(
    sites: Sites, serve: Serve, section: str, version: str, ciphers: str, expected: int
) -> None:
    server = serve(f"<Location /index.html>\nSSLCipherSuite {section}\n</Location>\n")
    assert status(sites, server, version=version, path="/index.html", ciphers=ciphers) == expected
    with sites.connect(server, context=sites.context(maximum_version=ssl.TLSVersion[version])) as sock:
        assert ask(sock, "alice.test", "/nothing").status == 404


def test_which_authorities_clients_are_told_of(sites: Sites, serve: Serve, clients: dict[str, Identity]) -> None:
    said = s_client(serve("SSLVerifyClient optional\n" + AUTHORITIES), "-servername", "alice.test")
    assert "Acceptable client certificate CA names\nCN = Clients\n" in said
    named = "SSLVerifyClient optional\nSSLCADNRequestFile @DIR@/authority.pem\n" + AUTHORITIES
    said = s_client(serve(named), "-servername", "alice.test")
    assert "Acceptable client certificate CA names\nCN = Test Authority\n" in said


def test_a_section_that_wants_a_certificate_has_the_virtual_host_ask(
    sites: Sites, serve: Serve, clients: dict[str, Identity]
) -> None:
    section = "<Location /private>\nSSLVerifyClient require\n</Location>\n"
    said = s_client(serve(section + AUTHORITIES), "-servername", "alice.test")
    assert "Acceptable client certificate CA names\nCN = Clients\n" in said


def test_many_authorities_fit_into_no_buffer(sites: Sites, serve: Serve, world: World) -> None:
    """The server's part of the handshake waits for room, where the client is slow."""
    name = "x" * 60
    many = "".join(Authority(f"{name}{number:04}", key=sites.authority.key).pem for number in range(600))
    (world.folder / "clients.pem").write_text(many)
    server = serve("SSLVerifyClient optional\n" + AUTHORITIES)
    context = sites.context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="alice.test")
    with server.connect() as sock:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        sock.sendall(outgoing.read())
        eventually(Still(lambda: unread(sock)))
        while True:
            incoming.write(sock.recv(4096))
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
        client.write(b"GET / HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n")
        sock.sendall(outgoing.read())
        data = b""
        while part := sock.recv(65536):
            data += part
        assert data
    eventually(lambda: "bug" not in server.log())
