"""Text maps, and the functions of int: maps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.modules.rewriting.maps import FUNCTIONS, parse_text


def test_lines_of_a_text_map() -> None:
    text = "# comment x\none eins\n two zwei\n\tthree drei\nfour\tvier # rest\nfive\nsix \none again\nübel ü\nlast x"
    assert parse_text(text) == {"one": "eins", "four": "vier", "übel": "ü", "last": "x"}


@given(st.text(max_size=200))
def test_any_text_is_a_map(text: str) -> None:
    assert all(key and value for key, value in parse_text(text).items())


@pytest.mark.parametrize(
    ("function", "key", "value"),
    [
        ("toupper", "aÄä\udcff", "AÄä\udcff"),
        ("tolower", "AÄä", "aÄä"),
        ("escape", "a b/ü?%", "a%20b/%C3%BC%3F%25"),
        ("unescape", "a%20b%c3%bc%ff%zz", "a bü\udcff%zz"),
    ],
)
def test_functions(function: str, key: str, value: str) -> None:
    assert FUNCTIONS.known[function].means(key) == value
