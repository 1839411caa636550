"""Which methods a section accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost.config.directive import ArgumentError, Call, Source, Where
from ownhost.modules.mod_allowmethods import parse_methods
from serving import Served, values


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("GET", "GET HEAD"),
        ("HEAD", "GET HEAD"),
        ("POST\nAllowMethods OPTIONS", "POST OPTIONS"),
        ("POST\nAllowMethods reset", "GET HEAD POST OPTIONS"),
        ("RESET", "GET HEAD POST OPTIONS"),
    ],
)
def test_what_is_accepted(tmp_path: Path, text: str, accepted: str) -> None:
    site = Served(tmp_path, f"<Location />\nAllowMethods {text}\n</Location>")
    found = [name for name in ("GET", "HEAD", "POST", "OPTIONS") if site.ask("/a.txt", method=name).status == 200]
    assert found == accepted.split()


def test_what_is_refused_says_what_is_accepted(tmp_path: Path) -> None:
    site = Served(tmp_path, "<Location />\nAllowMethods GET PUT\n</Location>")
    response = site.ask("/a.txt", method="POST")
    assert (response.status, values(response, "Allow")) == (405, ["GET, HEAD, PUT"])
    assert site.last is not None
    assert site.last.log == [
        f"allowmethods:error AH01623: client method denied by server configuration: 'POST' to {site.root}/a.txt"
    ]


def test_an_inner_section_replaces(tmp_path: Path) -> None:
    outer = "<Directory @ROOT@>\nAllowMethods GET\n</Directory>\n"
    site = Served(tmp_path, f"{outer}<Directory @ROOT@/d>\nAllowMethods POST\n</Directory>")
    assert [site.ask("/d/x.txt", method=name).status for name in ("GET", "POST")] == [405, 200]


@pytest.mark.parametrize("line", ["", "get", "BOGUS", "GET reset", "reset GET"])
def test_errors(line: str) -> None:
    with pytest.raises(ArgumentError):
        parse_methods(Call("AllowMethods", tuple(line.split()), line, Source("x", 1), Where.DIRECTORY, "/"))
