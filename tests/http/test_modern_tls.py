"""Which TLS is good enough for HTTP/2: RFC 9113's appendix A prohibits all without forward secrecy or AEAD."""

from __future__ import annotations

import re
import subprocess

import pytest

from ownhost.http.tls import TLSFacts

# By the names of RFCs, as they say more than OpenSSL's. Whoever shares a secret beforehand (PSK) may have either.
GOOD = re.compile(r"TLS_(EC)?DHE_\w+_WITH_(\w+_(GCM|CCM)(_8)?(_SHA\d+)?|CHACHA20_POLY1305_SHA256)")


def is_modern(protocol: str, cipher: str) -> bool:
    return TLSFacts(protocol, cipher, 128, "", False).is_modern


def test_every_cipher_that_openssl_knows() -> None:
    command = ["openssl", "ciphers", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [
        (standard, name) for standard, _, name, version, *_ in map(str.split, said.splitlines()) if version != "TLSv1.3"
    ]
    assert len(lines) > 100
    answers = {name: is_modern("TLSv1.2", name) for _, name in lines}
    assert answers == {name: bool(GOOD.fullmatch(standard.replace("PSK_DHE", "DHE_PSK"))) for standard, name in lines}


@pytest.mark.parametrize(
    "cipher",
    [
        "ADH-AES128-GCM-SHA256",
        "AECDH-AES128-SHA",
        "AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-SHA256",
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-RSA-NULL-SHA",
        "PSK-CHACHA20-POLY1305",
        "RSA-PSK-AES256-GCM-SHA384",
    ],
)
def test_prohibited(cipher: str) -> None:
    assert not is_modern("TLSv1.2", cipher)


def test_versions() -> None:
    assert is_modern("TLSv1.3", "TLS_AES_128_GCM_SHA256")
    assert is_modern("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305")
    assert not is_modern("TLSv1.1", "ECDHE-RSA-AES128-GCM-SHA256")
    assert not is_modern("", "")
