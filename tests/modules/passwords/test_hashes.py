"""Hashes of passwords: what htpasswd and openssl write, and what is no hash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.modules.passwords.hashes import apr1, verify

# Written by htpasswd 2.4.71, openssl 3 and libcrypt 4.4; the password is "secret".
KNOWN = [
    b"$2y$04$PNoDYjy1/mXTnVqPUn02J.r/lcPaGmCl2meWbF1dXXXZ3FCV2gds.",
    b"$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
    b"$apr1$eDFjglFX$Q2DbKP0spmpXOl4XcmgcU/",
    b"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    b"0ec22MyE4awh.",
    b"$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
    b"$5$rounds=1000$KyHPrQkCGfnbJa5t$JtEZsXbCqNcStXzGiwWBpABpg2lRkzyiLhYWteRQylB",
    b"$6$rounds=1000$1Z77eTFDdDf66sUA$sYRtQXRGyoh/c46M5swgQxrfHntLGLsr8wHjIgP8GFIdQgkbqo2tpFMgdcWDTEWbyRgYkkZ7DdZ4qzADr"
    b"4Plt/",
    b"$y$j75$saltsalt$0gBD67sgmJgRX3RZ6wHHO7sHimQEWGCWN85o4Twogh2",
]


@pytest.mark.parametrize("known", KNOWN)
def test_each_form(known: bytes) -> None:
    assert verify(b"secret", known)
    for wrong in (b"", b"Secret", b"secret ", b"secre", b"secret\0", known):
        assert not verify(wrong, known)


@pytest.mark.parametrize(
    "known",
    [
        b"",
        b"secret",
        b"*",
        b"*0",
        b"*1",
        b"!",
        b"x",
        b"{SHA}",
        b"$apr1$",
        b"$apr1$$",
        b"$9$x$",
        b"$2y$99$x",
        b"{SSHA}x",
    ],
)
def test_what_is_no_hash_lets_nobody_in(known: bytes) -> None:
    for password in (b"", b"secret", known):
        assert not verify(password, known)


@pytest.mark.parametrize(
    ("password", "known"),
    [
        (b"", b"$apr1$xxxxxxxx$AL/DOdqyMUurcg0cPNW/P1"),
        (b"a rather long password, longer than sixteen bytes", b"$apr1$ab$oQt9xkDLnXjJITq9lLY801"),
    ],
)
def test_apr1_of_any_length(password: bytes, known: bytes) -> None:
    assert verify(password, known)


def test_a_salt_of_apr1_has_eight_characters() -> None:
    long = apr1(b"secret", b"saltsalt")
    assert not verify(b"secret", long.replace(b"saltsalt", b"saltsaltmore"))


def test_a_very_long_password_is_an_error_of_no_one() -> None:
    for known in KNOWN:
        assert not verify(b"x" * 100_000, known)


@given(st.binary(max_size=40), st.binary(max_size=80))
def test_no_bytes_are_a_bug(password: bytes, known: bytes) -> None:
    verify(password, known.replace(b"rounds", b""))
