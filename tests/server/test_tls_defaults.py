"""What a virtual host that says nothing but SSLEngine on speaks, as openssl s_client finds it (RFC 9325)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from encrypted import Sites, s_client
from harness import ALICE, Server, World

WEAK = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"  # all that a client may ask for
FORWARD_SECRET = re.compile(r"TLS_(EC)?DHE_(RSA|ECDSA)_WITH_(\w+_GCM_SHA\d+|CHACHA20_POLY1305_SHA256)")


class Served(NamedTuple):
    """A server with a certificate for either kind of key."""

    server: Server

    def ask(self, *arguments: str) -> str:
        """What s_client says of a handshake."""
        return s_client(self.server, "-servername", "alice.test", *arguments)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    world = World()
    try:
        sites = Sites(world)
        both = sites.certificate("alice") + sites.certificate("alice", kind="rsa")
        yield Served(world.server(sites.virtual_host("alice", ALICE, certificate=both)))
    finally:
        world.close()


def known_ciphers() -> dict[str, str]:
    """All that OpenSSL has for TLS 1.2: the RFCs' names by its own."""
    command = ["openssl", "ciphers", "-stdname", "-s", "-tls1_2", "-psk", "-srp", WEAK]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {fields[2]: fields[0] for fields in (line.split() for line in said.splitlines())}


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(served: Served, version: str) -> None:
    said = served.ask(version, "-cipher", WEAK)
    assert "alert protocol version" in said
    assert "Cipher is (NONE)" in said


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_new_ones_are_spoken(served: Served, version: str) -> None:
    said = served.ask(f"-tls{version.replace('.', '_')}")
    assert f"Protocol  : TLSv{version}" in said or f"New, TLSv{version}" in said
    assert "Secure Renegotiation IS supported" in said or version == "1.3", "which has none"
    assert "Extended master secret: yes" in said or version == "1.3", "where it always is"
    assert "Compression: NONE" in said
    assert "TLSv1.3" in served.ask(), "the newest that both know"


def test_a_downgrade_is_noticed(served: Served) -> None:
    """RFC 7507."""
    assert "inappropriate fallback" in served.ask("-tls1_2", "-fallback_scsv")


def test_only_ciphers_with_forward_secrecy_and_authenticated_encryption(served: Served) -> None:
    taken = {}
    for name, standard in known_ciphers().items():
        if "PSK" not in name and "SRP" not in name:
            said = served.ask("-tls1_2", "-cipher", f"{name}:@SECLEVEL=0")
            if "Cipher is (NONE)" not in said:
                taken[name] = standard
    wrong = {name for name, standard in taken.items() if not FORWARD_SECRET.fullmatch(standard)}
    assert not wrong
    for name in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"):
        assert name in taken


def test_groups(served: Served) -> None:
    """X25519 where the client leaves it to the server; other clients get theirs, weak ones none."""
    for version in ("-tls1_2", "-tls1_3"):
        assert "Server Temp Key: X25519, 253 bits" in served.ask(version)
        assert "Server Temp Key: ECDH, prime256v1, 256 bits" in served.ask(version, "-groups", "P-256")
    assert "Cipher is (NONE)" in served.ask("-groups", "secp192k1", "-cipher", "ECDHE:@SECLEVEL=0", "-tls1_2")


def test_no_signatures_with_sha1(served: Served) -> None:
    for algorithm in ("ECDSA+SHA1", "RSA+SHA1"):
        assert "Cipher is (NONE)" in served.ask("-tls1_2", "-sigalgs", algorithm, "-cipher", WEAK)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed_for_five_minutes_at_most(served: Served, version: str) -> None:
    ask = "GET / HTTP/1.1\r\nHost: alice.test\r\nConnection: close\r\n\r\n"  # tickets of TLS 1.3 follow the handshake
    said = s_client(served.server, "-servername", "alice.test", version, "-ign_eof", say=ask)
    hints = [int(seconds) for seconds in re.findall(r"ticket lifetime hint: (\d+)", said)]
    assert hints
    assert max(hints) <= 300
    assert not re.search(r"Max Early Data: [1-9]", said), "what is sent early could be sent again by others"
