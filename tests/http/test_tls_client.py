"""TLS as a client: what a server's certificate must be, and which one it is shown."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certificates import NOW, Authority, Identity, key_pem
from ownhost.http import openssl
from ownhost.http.openssl import OpenSSLError
from ownhost.http.tls_client import (
    ClientCredentials,
    ClientPolicy,
    is_named,
    judged,
    make_client_context,
    objection,
    pairs_in,
)

POLICY = ClientPolicy(frozenset(("TLSv1.2", "TLSv1.3")))
AUTHORITY = Authority()


@pytest.mark.parametrize(
    ("found", "name", "expected"),
    [
        ("a.test", "a.test", True),
        ("A.Test", "a.tesT", True),
        ("a.test", "b.test", False),
        ("*.test", "a.test", True),
        ("*.test", "a.b.test", False),
        ("*.test", "test", False),
        ("*", "test", False),
        ("*.", "a.", True),
        ("a*.test", "ab.test", False),
        ("a.*", "a.test", False),
        ("", "", True),
    ],
)
def test_names(found: str, name: str, expected: bool) -> None:
    assert is_named(found, name) is expected


def der(identity: Identity) -> bytes:
    return ssl.PEM_cert_to_DER_cert(identity.chain)


def test_objections() -> None:
    good = der(AUTHORITY.issue("a.test", "b.test"))
    assert objection(POLICY, good, "b.test") == ""
    assert "does not match for hostname c.test" in objection(POLICY, good, "c.test")
    common = replace(POLICY, names="common")
    assert objection(common, good, "a.test") == ""
    assert "CN mismatch: Certificate CN: a.test Requested hostname: b.test" in objection(common, good, "b.test")
    assert objection(replace(POLICY, names="none"), good, "c.test") == ""
    for since, until in ((NOW - timedelta(2), NOW - timedelta(1)), (NOW + timedelta(1), NOW + timedelta(2))):
        bad = der(AUTHORITY.issue("a.test", since=since, until=until))
        assert objection(POLICY, bad, "a.test") == "SSL Proxy: Peer certificate is expired"
        assert objection(replace(POLICY, dated=False), bad, "a.test") == ""


@pytest.mark.parametrize("shown", [None, b"", b"no certificate"])
def test_what_cannot_be_read_is_refused_unless_nothing_is_asked(shown: bytes | None) -> None:
    assert objection(POLICY, shown, "a.test")
    assert objection(replace(POLICY, names="none"), shown, "a.test")
    assert objection(replace(POLICY, dated=False), shown, "a.test")
    assert objection(replace(POLICY, names="none", dated=False), shown, "a.test") == ""


@pytest.mark.parametrize(
    ("changes", "error", "depth", "expected"),
    [
        ({}, 0, 0, 0),
        ({}, 0, 1, 0),
        ({}, 0, 2, 22),
        ({"depth": 2}, 0, 2, 0),
        ({}, 19, 1, 19),
        ({"verify": "optional_no_ca"}, 19, 1, 0),
        ({"verify": "optional_no_ca"}, 10, 0, 10),
        ({"verify": "optional_no_ca"}, 19, 2, 22),
        ({}, 3, 0, 3),
        ({"needs_lists": False}, 3, 0, 0),
        ({"needs_lists": False}, 23, 0, 23),
    ],
)
def test_certificates_of_a_chain_are_judged(changes: dict[str, Any], error: int, depth: int, expected: int) -> None:
    assert judged(replace(POLICY, **{"verify": "require", **changes}), error, depth) == expected


def test_pairs_in_a_file() -> None:
    one, two = AUTHORITY.issue("one.test"), AUTHORITY.issue("two.test")

    def found(*parts: str) -> list[tuple[str, str]]:
        pem = "some text\n".join(parts).encode()
        return [(pair.certificate.decode() + "\n", pair.key.decode() + "\n") for pair in pairs_in(pem)]

    first, second = (one.chain, one.secret), (two.chain, two.secret)
    assert found(*first, *second) == [first, second]
    assert found(*first[::-1], *second[::-1]) == [first, second]
    assert found(one.chain, AUTHORITY.pem, *second) == [second]
    assert found(*first, AUTHORITY.pem) == [first]
    assert found(one.chain) == found(one.secret) == found("") == []


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> bytes | None:
    """A whole handshake in memory: the client's certificate, as the server sees it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="a.test")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (ours, theirs):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    assert len(done) == 2
    return theirs.getpeercert(binary_form=True)


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    """A server of a.test that asks for a certificate of AUTHORITY's, and names it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*AUTHORITY.issue("a.test").files(tmp_path, "a"))
    context.load_verify_locations(cadata=AUTHORITY.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def naming(context: ssl.SSLContext, authority: Authority, folder: Path) -> None:
    """Have clients told whose certificates are taken."""
    (folder / "named.pem").write_text(authority.pem)
    openssl.configure(context, "ClientCAFile", str(folder / "named.pem"))


def offering(*identities: Identity, chain: str = "") -> ssl.SSLContext:
    pem = "".join(one.chain + one.secret for one in identities)
    return make_client_context(POLICY, ClientCredentials(certificates=pem.encode(), chain=chain.encode()))


def test_the_certificate_that_a_server_wants_is_shown(server: ssl.SSLContext, tmp_path: Path) -> None:
    first, second = AUTHORITY.issue("first.test"), AUTHORITY.issue("second.test")
    stranger = Authority("Stranger").issue("stranger.test")
    assert shake_hands(offering(first, second), server) == der(first)  # where it names nobody: the first one
    naming(server, AUTHORITY, tmp_path)
    assert shake_hands(offering(stranger, second, first), server) == der(second)
    assert shake_hands(offering(stranger), server) is None
    assert shake_hands(make_client_context(POLICY, ClientCredentials()), server) is None


def test_the_chain_above_a_certificate_is_shown_with_it(server: ssl.SSLContext, tmp_path: Path) -> None:
    between = Authority("Between", AUTHORITY)
    deep = between.issue("deep.test")
    naming(server, AUTHORITY, tmp_path)
    assert shake_hands(offering(deep), server) is None
    assert shake_hands(offering(deep, chain=Authority("Other").pem + between.pem), server) == der(deep)


def refused(certificates: str = "", policy: ClientPolicy = POLICY, authorities: str = "") -> tuple[str, str]:
    with pytest.raises(OpenSSLError) as caught:
        make_client_context(policy, ClientCredentials(authorities.encode(), certificates.encode()))
    return caught.value.about, str(caught.value)


def test_what_cannot_be_used_is_said() -> None:
    one, other = AUTHORITY.issue("one.test"), AUTHORITY.issue("other.test")
    assert refused(one.chain + other.secret) == (
        "SSLProxyMachineCertificateFile",
        "the key does not belong to the certificate",
    )
    assert "passphrase" in refused(one.chain + key_pem(one.key, b"secret"))[1]
    assert refused(policy=replace(POLICY, ciphers="NO-SUCH"))[0] == "SSLProxyCipherSuite"
    assert refused(policy=replace(POLICY, suites="NO-SUCH"))[0] == "SSLProxyCipherSuite"
    checked = replace(POLICY, verify="require", revocation="chain")
    assert refused(policy=checked, authorities=AUTHORITY.pem)[0] == "SSLProxyCARevocationCheck"
    assert refused(policy=replace(POLICY, verify="require"), authorities="nothing")[0] == "SSLProxyCACertificateFile"
