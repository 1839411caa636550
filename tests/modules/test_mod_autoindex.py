"""Listings of folders: who gets one, what is in it, what is above and below it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest

from ownhost.http.message import RequestBody, Response
from ownhost.modules import mod_autoindex
from ownhost.request import serve
from serving import Served, ask, values

FILES = ("a.txt", "b.html", "sub/x.txt")
ON = "DirectoryIndex disabled\nOptions +Indexes\nServerSignature Off\n"
BODY = cast(RequestBody, None)  # nobody reads it


class Listed(Served):
    """A site with a folder to be listed: `list`."""

    def __init__(self, folder: Path, text: str = "", *, files: Iterable[str] = FILES) -> None:
        for name in files:
            path = folder / "root" / "list" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.fsencode(f"{name}\n"))
        super().__init__(folder, ON + text)

    def whole(self, target: str = "/list/", *fields: str, method: str = "GET") -> Response:
        """The complete response to a request."""
        self.last = ask(self.site, f"{method} {target}", *fields)
        return asyncio.run(serve.complete(self.last.request, self.last.response, BODY))

    def page(self, target: str = "/list/", *fields: str) -> str:
        """The page."""
        response = self.whole(target, *fields)
        assert response.status == 200
        assert isinstance(response.body, bytes)
        return response.body.decode("latin-1")

    def names(self, target: str = "/list/", *fields: str) -> list[str]:
        """Where the page's links of entries lead."""
        return re.findall(r'<li><a href="([^"]*)">', self.page(target, *fields))


def test_a_folder_without_an_index_is_listed(tmp_path: Path) -> None:
    site = Listed(tmp_path)
    response = site.whole()
    assert values(response, "Content-Type") == ["text/html;charset=ISO-8859-1"]
    assert site.names() == ["/", "a.txt", "b.html", "sub/"]
    assert site.names("/list/sub/") == ["/list/", "x.txt"]
    assert "/" not in site.names("/")


def test_only_with_options_indexes(tmp_path: Path) -> None:
    site = Listed(tmp_path, "Options -Indexes")
    assert site.whole().status == 403
    assert site.last is not None
    assert "AH01276: Cannot serve directory" in site.last.log[0]
    assert "No matching DirectoryIndex (none) found" in site.last.log[0]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 404), ("PUT", 405), ("OPTIONS", 200)])
def test_other_methods(tmp_path: Path, method: str, status: int) -> None:
    assert Listed(tmp_path).whole(method=method).status == status


def test_an_index_comes_first(tmp_path: Path) -> None:
    site = Listed(tmp_path, "DirectoryIndex b.html")
    assert site.whole().body == b"b.html\n"
    (site.root / "list" / "b.html").unlink()
    assert site.names() == ["/", "a.txt", "sub/"]
    (site.root / "list" / "b.html").write_text("again")
    assert site.whole().body == b"again"


def test_a_listing_is_never_remembered(tmp_path: Path) -> None:
    site = Listed(tmp_path)
    os.utime(site.root / "list", (1, 1))
    before = site.page("/list/?F=1")
    (site.root / "list" / "a.txt").write_text("longer than before")  # the folder's own time stays
    assert site.page("/list/?F=1") != before


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<Files a.txt>\nRequire all denied\n</Files>", "/ b.html sub/"),
        ("<Files a.txt>\nRequire all denied\n</Files>\nIndexOptions ShowForbidden", "/ a.txt b.html sub/"),
        ("<Directory @ROOT@/list/sub>\nRequire all denied\n</Directory>", "/ a.txt b.html"),
        ("<Location /list/sub/>\nRequire all denied\n</Location>", "/ a.txt b.html"),
        ("DirectoryIndex x.txt\n<Location /list/sub/x.txt>\nRequire all denied\n</Location>", "/ a.txt b.html"),
        ("DirectoryIndex x.txt", "/ a.txt b.html sub/"),
        ("<Directory @ROOT@/list>\nOptions -FollowSymLinks\n</Directory>", "/ a.txt b.html sub/"),
        ('<If "%{REQUEST_URI} =~ /a.txt/">\nRequire all denied\n</If>', "/ b.html sub/"),
        ("Redirect /list/a.txt /x", "/ a.txt b.html sub/"),
        ("IndexIgnore *.html ..", "a.txt sub/"),
        (
            "IndexIgnore *.html\n<Directory @ROOT@/list>\nIndexIgnoreReset On\nIndexIgnore a*\n</Directory>",
            "/ b.html sub/",
        ),
    ],
)
def test_what_is_listed(tmp_path: Path, text: str, shown: str) -> None:
    assert Listed(tmp_path, text).names() == shown.split()


def test_what_is_neither_file_nor_folder_is_left_out(tmp_path: Path) -> None:
    site = Listed(tmp_path, "IndexOptions ShowForbidden")
    folder = site.root / "list"
    os.mkfifo(folder / "fifo")
    (folder / "broken").symlink_to("nowhere")
    (folder / "link").symlink_to("sub")
    assert site.names() == ["/", "a.txt", "b.html", "link/", "sub/"]


def test_a_link_that_may_not_be_followed_is_left_out(tmp_path: Path) -> None:
    site = Listed(tmp_path, "Options -FollowSymLinks")
    (site.root / "list" / "link").symlink_to("a.txt")
    assert site.names() == ["/", "a.txt", "b.html", "sub/"]


def test_names_are_escaped(tmp_path: Path) -> None:
    bad = os.fsdecode(b'<i>"&\xff:.txt')
    site = Listed(tmp_path, files=(bad,))
    assert '<li><a href="./%3ci%3e%22&amp;%ff:.txt"> &lt;i&gt;&quot;&amp;\xff:.txt</a></li>\n' in site.page()


def test_a_query_cannot_write_into_the_page(tmp_path: Path) -> None:
    page = Listed(tmp_path, "IndexOptions FancyIndexing").page("/list/?P=%22%3E%3Cscript%3E")
    assert "script>" not in page


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    site = Listed(tmp_path)
    monkeypatch.setattr(os, "scandir", closed)
    assert site.whole().status == 403
    assert site.last is not None
    assert "AH01275: Can't open directory for index: " in site.last.log[0]


def test_entries_beyond_the_most_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Listed(tmp_path)
    monkeypatch.setattr(mod_autoindex, "MOST_ENTRIES", 2)
    assert len(site.names()) == 3
    assert site.last is not None
    assert site.last.log == [f"autoindex:error {site.root}/list/ has more than 2 entries: the rest is not listed"]


def test_others_are_served_meanwhile(tmp_path: Path) -> None:
    """Each turn of the event loop looks at a few entries."""
    count = mod_autoindex.PIECE * 3
    site = Listed(tmp_path, files=map(str, range(count)))
    asked = ask(site.site, "GET /list/")
    turns = 0

    async def others() -> None:
        nonlocal turns
        listing = asyncio.create_task(serve.complete(asked.request, asked.response, BODY))
        while not listing.done():
            turns += 1
            await asyncio.sleep(0)
        assert listing.result().status == 200

    asyncio.run(others())
    assert turns > 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HeaderName a.txt", "<body>\n<pre>\na.txt\n</pre>\n<ul>"),
        ("HeaderName b.html", "<body>\nb.html\n<ul>"),
        ("HeaderName /list/b.html", "<body>\nb.html\n<ul>"),
        ("HeaderName missing.html", "<body>\n<h1>Index of /list</h1>\n<ul>"),
        ("HeaderName sub", "<body>\n<h1>Index of /list</h1>\n<ul>"),
        ("HeaderName b.html\n<Files b.html>\nRequire all denied\n</Files>", "<body>\n<h1>Index of /list</h1>\n<ul>"),
        ("ReadmeName a.txt", "</ul>\n<pre>\na.txt\n</pre>\n</body></html>\n"),
        ("ReadmeName b.html", "</ul>\nb.html\n</body></html>\n"),
        ("ReadmeName b.html\nIndexOptions SuppressHTMLPreamble", "</ul>\nb.html\n"),
        ("ServerSignature On\nReadmeName none", "</ul>\n<address>Ownhost/"),
        ("AddType application/json .txt\nReadmeName a.txt", "</ul>\n</body>"),
    ],
)
def test_files_above_and_below(tmp_path: Path, text: str, expected: str) -> None:
    page = Listed(tmp_path, text).page("/list/", "Range: bytes=0-1", "If-Modified-Since: Sun, 13 Sep 2037 12:26:40 GMT")
    assert expected in page
    if "Suppress" in text:
        assert page.endswith(expected)


def test_an_html_header_brings_the_head(tmp_path: Path) -> None:
    page = Listed(tmp_path, "HeaderName b.html\nIndexOptions SuppressHTMLPreamble").page()
    assert page.startswith("b.html\n<ul>")


def test_a_large_file_is_not_shown(tmp_path: Path) -> None:
    site = Listed(tmp_path, "HeaderName b.html\nReadmeName a.txt")
    for name in ("a.txt", "b.html"):
        with open(site.root / "list" / name, "r+b") as file:
            file.truncate((1 << 20) + 1)
    assert "<h1>Index of /list</h1>\n<ul>" in site.page()
    assert site.last is not None
    assert [line.partition("list/")[2] for line in site.last.log] == [
        "b.html is not shown in the listing: it has more than 1048576 bytes",
        "a.txt is not shown in the listing: it has more than 1048576 bytes",
    ]


def test_titles_describe_files(tmp_path: Path) -> None:
    site = Listed(tmp_path, "IndexOptions FancyIndexing ScanHTMLTitles")
    (site.root / "list" / "b.html").write_text("<html><Title>\nOne\nTwo</title>")
    assert "   One Two\n" in site.page()


def test_the_folder_is_tracked(tmp_path: Path) -> None:
    site = Listed(tmp_path, "IndexOptions TrackModified Type=text/x Charset=\nFileETag MTime")
    os.utime(site.root / "list", (1_600_000_000, 1_600_000_000))
    response = site.whole()
    assert values(response, "Last-Modified") == ["Sun, 13 Sep 2020 12:26:40 GMT"]
    assert values(response, "ETag") == ['"5af3107a40000"']
    assert values(response, "Content-Type") == ["text/x"]
