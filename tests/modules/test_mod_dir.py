"""Indexes, the slash at a folder's end, fallbacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import Served

NO = "<Files no.html>\nRequire all denied\n</Files>\n"


@pytest.mark.parametrize(
    ("text", "path", "status", "body"),
    [
        ("", "/d/", 200, b"d/index.html\n"),
        ("DirectoryIndex missing.html x.txt", "/d/", 200, b"d/x.txt\n"),
        (f"{NO}DirectoryIndex no.html x.txt", "/d/", 200, b"d/x.txt\n"),  # a file that may not be seen is passed over
        (f"{NO}DirectoryIndex no.html missing.html", "/d/", 403, None),  # unless there is no other
        ("DirectoryIndex /b.html", "/d/", 200, b"b.html\n"),
        ("DirectoryIndex %78.txt", "/d/", 200, b"d/x.txt\n"),
        ("DirectoryIndex ../a.txt", "/d/", 200, b"a.txt\n"),
        ("DirectoryIndex disabled", "/d/", 403, None),
        ("", "/e/", 403, None),
        ("FallbackResource /a.txt", "/missing", 200, b"a.txt\n"),
        ("FallbackResource /a.txt", "/e/", 200, b"a.txt\n"),
        ("FallbackResource /missing", "/other", 500, None),  # round and round
        ("RewriteEngine on\nRewriteRule ^/d/index.html$ /a.txt", "/d/", 200, b"a.txt\n"),
        ("<Location /d>\nSetHandler default-handler\nDirectoryCheckHandler On\n</Location>", "/d/", 404, None),
    ],
)
def test_what_is_sent_for_a_folder(tmp_path: Path, text: str, path: str, status: int, body: bytes | None) -> None:
    site = Served(tmp_path, text)
    (site.root / "d" / "no.html").write_text("no\n")
    response = site.ask(path)
    assert response.status == status
    if body is not None:
        assert response.body == body


def test_a_folder_without_its_slash_is_redirected(tmp_path: Path) -> None:
    site = Served(tmp_path, "BrowserMatch careful redirect-carefully\n<Location /e>\nDirectorySlash Off\n</Location>")
    assert site.ask("/d?a=b").header("location") == "http://site.test/d/?a=b"
    assert site.ask("/d", "User-Agent: careful").status == 301
    assert site.ask("/d", "User-Agent: careful", method="PROPFIND").status == 405
    assert site.ask("/e").status == 403


def test_a_query_goes_to_the_index(tmp_path: Path) -> None:
    site = Served(tmp_path, "DirectoryIndex /b.html?x=1\nHeader set X expr=%{QUERY_STRING}")
    assert site.ask("/d/").header("x") == "x=1"
    assert site.ask("/d/?y").header("x") == "x=1?y"


def test_one_that_is_passed_over_logs_nothing(tmp_path: Path) -> None:
    site = Served(tmp_path, f"{NO}DirectoryIndex no.html x.txt")
    (site.root / "d" / "no.html").write_text("no\n")
    site.ask("/d/")
    assert site.last is not None
    assert site.last.log == []
