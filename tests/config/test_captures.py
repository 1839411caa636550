"""Texts that what a regular expression found is put into."""

from __future__ import annotations

import pytest

from ownhost.config.captures import substitute


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$1-$2$0", "one-$1one$1"),
        ("$3|$9|$", "||$"),
        ("$12", "one2"),
        (r"\$1 \& \\1 \x $x", r"$1 & \\1 \x $x"),
        (r"\\$1", r"\$1"),
        ("$a&", "$a&"),
    ],
)
def test_references(template: str, expected: str) -> None:
    """As ap_pregsub: a dollar or an ampersand behind a backslash is itself, and what is put in is not looked at."""
    assert substitute(template, ("one$1", "one", "$1")) == expected
