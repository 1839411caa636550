"""Types where no TypesConfig says any."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost.modules.media_types import default_types
from serving import ask, make_site

TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "woff2": "font/woff2",
    "mp4": "video/mp4",
    "wasm": "application/wasm",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "xml": "application/xml",
    "ico": "image/vnd.microsoft.icon",
}


def test_the_systems_types_are_taken_where_they_are_there(tmp_path: Path) -> None:
    (tmp_path / "mime.types").write_text("# remark\ntext/own\tOWN html\n")
    assert default_types(str(tmp_path / "mime.types")) == {"own": "text/own", "html": "text/own"}


def test_the_types_of_the_web_where_the_system_has_none(tmp_path: Path) -> None:
    found = default_types(str(tmp_path / "none"))
    assert {extension: found[extension] for extension in TYPES} == TYPES


def test_our_types_are_the_systems(tmp_path: Path) -> None:
    system = Path("/etc/mime.types")
    if not system.exists():
        pytest.skip("no package media-types here")
    theirs, ours = default_types(str(system)), default_types(str(tmp_path / "none"))
    both = theirs.keys() & ours.keys()
    assert len(both) > 70
    assert {extension: ours[extension] for extension in both} == {extension: theirs[extension] for extension in both}


@pytest.mark.parametrize("said", ["", "AddType text/x-own .own\n"])
def test_a_page_is_a_page_without_a_word_on_types(tmp_path: Path, said: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/b.html").write_text("x")
    (tmp_path / "root/a.unheard").write_text("x")
    site = make_site(tmp_path, said)
    assert ask(site, "GET /b.html").response.header("content-type") == "text/html"
    assert ask(site, "GET /a.unheard").response.header("content-type") is None
