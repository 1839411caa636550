"""Variables that steer the protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import Served

RULES = "BrowserMatch no nokeepalive\nBrowserMatch down downgrade-1.0\nBrowserMatch force force-response-1.0\n"


@pytest.mark.parametrize(
    ("agent", "version", "fields", "minor", "close"),
    [
        ("other", "1.1", (), 1, False),
        ("no", "1.1", (), 1, True),
        ("down", "1.1", (), 1, True),
        ("down", "1.1", ("Connection: keep-alive",), 1, False),
        ("force", "1.1", (), 1, False),
        ("force", "1.0", ("Connection: keep-alive",), 0, True),
        ("down force", "1.1", (), 0, True),
    ],
)
def test_variables_steer_the_protocol(
    tmp_path: Path, agent: str, version: str, fields: tuple[str, ...], minor: int, close: bool
) -> None:
    response = Served(tmp_path, RULES).ask("/a.txt", f"User-Agent: {agent}", *fields, version=f"HTTP/{version}")
    assert (response.minor, response.close) == (minor, close)


def test_an_error_page_closes_too(tmp_path: Path) -> None:
    assert Served(tmp_path, RULES).ask("/missing", "User-Agent: no").close
