"""A virtual host with a mistake in it, over TLS: the handshake is its owner's, if owner and keys can be told."""

from __future__ import annotations

import ssl

import pytest

from encrypted import Sites
from harness import ALICE, BOB, WWW
from waiting import eventually


def test_browsers_see_the_500(sites: Sites) -> None:
    alice = sites.virtual_host("alice", ALICE, "Oops\n")
    server = sites.world.server(alice + sites.virtual_host("bob", BOB))
    assert sites.get(server, "alice.test").status == 500
    assert sites.get(server, "bob.test").content == b"bob\n"
    assert {worker.uid for worker in server.processes("worker")} == {ALICE, BOB}
    eventually(lambda: "unknown directive Oops" in server.log())


# What is wrong (a line of alice's, and what stands there instead), and whether the address speaks TLS all the same.
WRONG = {
    "a line of TLS": ("SSLEngine on", "SSLEngine on\nSSLProtocol all +SSLv9"),
    "SSLEngine itself": ("SSLEngine on", "SSLEngine maybe"),
    "the file that may say SSLEngine": ("SSLEngine on", "Include @DIR@/none.conf\nSSLVerifyClient x"),
    "the owner": (f'AssignUserID "#{ALICE}" "#{ALICE}"', "AssignUserID alice"),
    "a line that may be the owner's": (f'AssignUserID "#{ALICE}" "#{ALICE}"', "AsignUserID alice alice"),
}


@pytest.mark.parametrize("case", WRONG)
def test_where_tls_or_the_owner_cannot_be_told_the_connection_ends(sites: Sites, case: str) -> None:
    """Hers alone: she is the first at the address, and the others' handshakes go on."""
    line, wrong = WRONG[case]
    alice = sites.virtual_host("alice", ALICE)
    assert alice.count(line) == 1
    server = sites.world.server(alice.replace(line, wrong) + sites.virtual_host("bob", BOB))
    with pytest.raises(ssl.SSLError):
        sites.get(server, "alice.test")
    assert sites.get(server, "bob.test").content == b"bob\n"
    key = (sites.keys / "alice.key").read_bytes().splitlines()[1]
    assert not any(process.holds(key) for process in server.processes())
    eventually(lambda: "there is no TLS for alice.test" in server.log())


def test_the_file_that_says_sslengine_is_missing(sites: Sites) -> None:
    """As certbot's options-ssl-apache.conf: what names a certificate is to speak TLS."""
    alice = sites.virtual_host("alice", ALICE).replace("SSLEngine on", "Include @DIR@/options-ssl-apache.conf")
    server = sites.world.server(alice + sites.virtual_host("bob", BOB))
    assert sites.get(server, "alice.test").status == 500
    assert sites.get(server, "bob.test").content == b"bob\n"


def test_http2_too(sites: Sites) -> None:
    server = sites.world.server("Protocols h2 http/1.1\n" + sites.virtual_host("alice", ALICE, "Oops\n"))
    from encrypted import curl

    done = curl(sites, server, "alice.test", "/", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}")
    assert done.stdout == b"2 500"


def test_user_is_told_of_no_key(sites: Sites) -> None:
    """The default identity's workers answer for whom no owner can be told, and hold nothing of theirs."""
    alice = sites.virtual_host("alice", ALICE).replace("AssignUserID", "AsignUserID")
    plain = sites.world.site("plain", WWW)
    server = sites.world.server(
        f"{sites.virtual_host('bob', BOB)}{alice}"
        f"<VirtualHost 127.0.0.1:@PORT@>\nServerName plain.test\nDocumentRoot {plain}\nSSLEngine on\n"
        f"{sites.certificate('plain')}<Directory {plain}>\nRequire all granted\n</Directory>\n</VirtualHost>\n"
    )
    assert sites.get(server, "plain.test").content == b"plain\n"
    with pytest.raises(ssl.SSLError):
        sites.get(server, "alice.test")
    assert server.worker(WWW).alive
    names = [name for name in server.worker(WWW).descriptors().values() if "alice.key" in name]
    assert names == []
