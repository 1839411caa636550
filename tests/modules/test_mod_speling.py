"""Which file is meant by a name with a mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ownhost.modules import mod_speling
from ownhost.modules.mod_speling import Mistake, Spelling, mistake
from serving import Served, values

ANY = Spelling(checks=True)


@pytest.mark.parametrize(
    ("wrong", "right", "expected"),
    [
        ("NAME.txt", "name.txt", Mistake.CASE),
        ("nmae.txt", "name.txt", Mistake.TRANSPOSED),
        ("name.tx", "name.txt", Mistake.MISSING),
        ("ame.txt", "name.txt", Mistake.MISSING),
        ("name.txxt", "name.txt", Mistake.EXTRA),
        ("nane.txt", "NAME.txt", Mistake.MISTYPED),
        ("nanne.txt", "name.txt", None),
        ("name", "name.txt", None),
        ("", "a", Mistake.MISSING),
    ],
)
def test_mistakes(wrong: str, right: str, expected: Mistake | None) -> None:
    assert mistake(wrong, right, ANY) is expected


def test_what_is_looked_for() -> None:
    assert mistake("nmae.txt", "name.txt", Spelling(checks=True, case_only=True)) is None
    assert mistake("Name.htm", "name.txt", Spelling(checks=True, basename=True)) is Mistake.EXTENSION
    assert mistake("name.htm", "name2.txt", Spelling(checks=True, basename=True)) is None


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/A.TXT?x=y", "/a.txt?x=y"),
        ("/a.tx", "/a.txt"),
        ("/D/x.txt", "/d/x.txt"),
        ("/d/c.html", None),
        ("/d/X.txt", "/d/x.txt"),
        ("/f", None),  # d or e
        ("/dd", "/d"),
        ("/e/second.htm", "/e/second.html"),
    ],
)
def test_where_it_leads(tmp_path: Path, target: str, location: str | None) -> None:
    response = Served(tmp_path, "CheckSpelling On").ask(target)
    if location is None:
        assert response.status in (300, 404)
    else:
        assert (response.status, values(response, "Location")) == (301, [f"http://site.test{location}"])


def test_several_are_listed_and_escaped(tmp_path: Path) -> None:
    site = Served(tmp_path, "CheckSpelling On")
    for name in ("<b1", "<b2"):
        (site.root / name).write_text("x")
    response = site.ask("/%3Cb3?q=%22%3E")
    assert response.status == 300
    assert isinstance(response.body, bytes)
    links = b'<li><a href="/%3cb1?q=%22%3E">/%3cb1?q=%22%3E</a> (mistyped character)</li>\n'
    assert links in response.body
    assert site.last is not None
    assert site.last.log == ["speling:info AH03227: Spelling fix: /<b3: 2 candidates"]


@pytest.mark.parametrize(("method", "target"), [("POST", "/A.TXT"), ("GET", "/a.txt"), ("GET", "/missing.html")])
def test_what_is_left_alone(tmp_path: Path, method: str, target: str) -> None:
    assert Served(tmp_path, "CheckSpelling On").ask(target, method=method).status in (200, 404)


def test_nothing_without_it(tmp_path: Path) -> None:
    site = Served(tmp_path, "<Directory @ROOT@/d>\nCheckSpelling On\n</Directory>")
    assert site.ask("/A.TXT").status == 404
    assert site.ask("/d/X.TXT").status == 301


def test_a_link_that_leads_nowhere_is_no_mistake(tmp_path: Path) -> None:
    site = Served(tmp_path, "CheckSpelling On")
    (site.root / "b.txt").symlink_to("nowhere")
    assert site.ask("/b.txt").status in (403, 404)


def test_a_large_folder_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Served(tmp_path, "CheckSpelling On")
    monkeypatch.setattr(mod_speling, "MOST_NAMES", 0)
    assert site.ask("/A.TXT").status == 404


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    site = Served(tmp_path, "CheckSpelling On")
    monkeypatch.setattr(os, "scandir", closed)
    assert site.ask("/A.TXT").status == 404
