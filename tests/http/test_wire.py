"""Text and what a head has are the same bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ownhost.http.wire import from_bytes, to_bytes, unwire, wire


@given(st.binary(max_size=40))
def test_what_a_head_says_comes_back_as_it_was(data: bytes) -> None:
    assert wire(unwire(data.decode("latin-1"))).encode("latin-1") == data


@given(st.binary(max_size=40))
def test_bytes_come_back_as_they_were(data: bytes) -> None:
    assert to_bytes(from_bytes(data)) == data


def test_a_letter_is_one_character_of_text_and_two_of_a_head() -> None:
    assert wire("é") == "\xc3\xa9"
    assert unwire("\xc3\xa9") == "é"
