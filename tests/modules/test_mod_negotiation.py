"""Which variant of a page a client gets. The oracle's case has most of it; here is what it cannot show."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ownhost.config.directive import ArgumentError, Call, Source, Where
from ownhost.http.message import FileBody, Response
from ownhost.modules import mod_negotiation
from ownhost.modules.mod_negotiation import parse_forced
from ownhost.modules.negotiation import typemap
from ownhost.modules.negotiation.accept import Range, parse_range, parse_ranges
from serving import Served, values

ON = "Options +MultiViews\nAddLanguage en .en\nAddLanguage de .de\nAddType application/x-type-map .var\n"


class Varied(Served):
    """A site whose folder v has page.html.en and page.html.de, and a map of both."""

    def __init__(self, folder: Path, text: str = "") -> None:
        where = folder / "root" / "v"
        where.mkdir(parents=True)
        for name in ("page.html.en", "page.html.de", "one.html"):
            (where / name).write_text(f"{name}\n")
        (where / "map.var").write_text(
            "URI: page.html.en\nContent-Type: text/html\nContent-Language: en\n\n"
            "URI: page.html.de\nContent-Type: text/html\nContent-Language: de\n"
        )
        for path in (where, *where.iterdir()):
            os.utime(path, (1_600_000_000, 1_600_000_000))
        super().__init__(folder, ON + text)


def body_of(response: Response) -> bytes:
    assert not isinstance(response.body, FileBody)
    assert isinstance(response.body, bytes)
    return response.body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Text/HTML", Range("text/html", 1.0, 2.0)),
        (" text/plain ; q=0.5 ; charset=UTF-8", Range("text/plain", 0.5, 0.0, "utf-8")),
        ("text/html;level=3;q=.25", Range("text/html", 0.25, 3.0)),
        ("x;q=2", Range("x", 1.0)),
        ("x;q=0.1239", Range("x", 0.123)),
        ("x;q=0.", Range("x", 0.0)),
        ("x;q", Range("x", 1.0)),
        ("x;q=bad", Range("x", 1.0)),
        ("x;level=bad", Range("x", 1.0, 0.0)),
    ],
)
def test_ranges(text: str, expected: Range) -> None:
    assert parse_range(text) == expected


def test_many_ranges() -> None:
    assert parse_ranges(None) is None
    assert parse_ranges("") == []
    assert parse_ranges("a, ,b") == [Range("a"), Range("b")]
    assert len(parse_ranges("a," * 10_000) or []) == 200


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("target", ["/v/page", "/v/map", "/v/map.var"])
def test_the_language_decides(tmp_path: Path, target: str, language: str) -> None:
    response = Varied(tmp_path).ask(target, f"Accept-Language: {language}")
    assert body_of(response) == f"page.html.{language}\n".encode()
    assert values(response, "Content-Location") == [f"page.html.{language}"]
    assert values(response, "Vary") == ["negotiate,accept-language"]
    assert values(response, "TCN") == ["choice"]


def test_nothing_is_remembered(tmp_path: Path) -> None:
    site = Varied(tmp_path)
    assert [body_of(site.ask("/v/page", f"Accept-Language: {one}"))[10:12] for one in ("en", "de")] == [b"en", b"de"]
    (site.root / "v" / "page").write_text("the file itself")
    assert body_of(site.ask("/v/page")) == b"the file itself"


def test_a_tag_is_of_the_variant_and_of_all_variants(tmp_path: Path) -> None:
    site = Varied(tmp_path)
    (tag,) = values(site.ask("/v/one"), "ETag")
    assert tag == '"9-5af3107a40000;5af3107a40000"'
    assert site.ask("/v/one", f"If-None-Match: {tag}").status == 304
    os.utime(site.root / "v", (1_600_000_001, 1_600_000_001))
    assert site.ask("/v/one", f"If-None-Match: {tag}").status == 200
    assert values(site.ask("/v/map.var"), "ETag")[0].endswith('-5af3107a40000"')


@pytest.mark.parametrize(
    ("text", "target", "version", "expires"),
    [
        ("", "/v/page", "HTTP/1.0", True),
        ("", "/v/map.var", "HTTP/1.0", True),
        ("", "/v/one", "HTTP/1.0", False),
        ("", "/v/page", "HTTP/1.1", False),
        ("CacheNegotiatedDocs On", "/v/page", "HTTP/1.0", False),
    ],
)
def test_old_caches_keep_nothing(tmp_path: Path, text: str, target: str, version: str, expires: bool) -> None:
    response = Varied(tmp_path, text).ask(target, version=version)
    assert response.status == 200
    assert bool(values(response, "Expires")) is expires


def test_what_is_refused_is_no_variant(tmp_path: Path) -> None:
    site = Varied(tmp_path, "<Files page.html.de>\nRequire all denied\n</Files>")
    assert body_of(site.ask("/v/page", "Accept-Language: de, en;q=0.1")) == b"page.html.en\n"
    assert site.ask("/v/page", "Accept-Language: de").status == 406
    assert site.ask("/v/map.var", "Accept-Language: de").status == 403


def test_a_page_of_variants_is_escaped(tmp_path: Path) -> None:
    site = Varied(tmp_path)
    (site.root / "v" / "x.var").write_text('URI: <b>".html\nContent-Type: text/html\nDescription: <i>\n')
    response = site.ask("/v/x.var", "Accept: image/png")
    assert response.status == 406
    assert b"<b>" not in body_of(response)
    assert b"<i>" not in body_of(response)
    assert b"&lt;i&gt;" in body_of(response)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_maps_are_regular_files_of_a_bounded_size(tmp_path: Path, method: str) -> None:
    site = Varied(tmp_path)
    with open(site.root / "v" / "map.var", "r+b") as file:
        file.truncate((1 << 20) + 1)
    assert site.ask("/v/map.var", method=method).status == 403


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    site = Varied(tmp_path)
    monkeypatch.setattr(mod_negotiation.__dict__["os"], "scandir", closed)
    assert site.ask("/v/page").status == 403


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("URI: x\nno colon here", "no ':'"),
        ("URI:\n", "no header body"),
        ("Content-Length: x\n", "'x' is invalid"),
        ("Body:--end--\ncontent\n", "no end tag '--end--'"),
    ],
)
def test_maps_with_mistakes(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(typemap.MapError, match=why):
        typemap.parse(text, "x.var")
    site = Varied(tmp_path)
    (site.root / "v" / "bad.var").write_text(text)
    assert site.ask("/v/bad.var").status == 500


def test_lines_of_maps() -> None:
    text = "# remark\nURI: a(remark)\nContent-Type: text/html;\n qs=0.5\n#more\n\n\nURI: b\n\nContent-Type: x/y\n"
    (only,) = typemap.parse(text, "x.var")
    assert (only.file, only.type, only.source_quality) == ("a", "text/html", 0.5)


def test_bodies_of_maps() -> None:
    text = "Content-Type: a/b\nBody:END\n# kept\n\n kept\nEND rest\n\nContent-Type: c/d\nBody:X\nX\n"
    found = typemap.parse(text, "x.var")
    assert [(one.file, one.type, one.body, one.size) for one in found] == [
        ("x.var", "a/b", b"# kept\n\n kept\n", 14),
        ("x.var", "c/d", b"", 0),
    ]


def test_many_lines_are_read_at_once() -> None:
    """As long as the file, not as its square."""
    assert typemap.parse("# x\n" * 200_000, "x.var") == []


@pytest.mark.parametrize("line", ["", "Never", "None Prefer", "prefer always"])
def test_errors(line: str) -> None:
    with pytest.raises(ArgumentError):
        parse_forced(Call("ForceLanguagePriority", tuple(line.split()), line, Source("x", 1), Where.SERVER, "/"))


@pytest.mark.parametrize(("field", "said"), [("gzip", "gzip"), ("x-gzip", "x-gzip"), ("br", "x-gzip"), ("", "x-gzip")])
def test_an_encoding_is_named_as_the_client_does(tmp_path: Path, field: str, said: str) -> None:
    site = Varied(tmp_path, "AddEncoding x-gzip .gz")
    (site.root / "v" / "a.html.gz").write_text("packed")
    fields = [f"Accept-Encoding: {field}"] if field else []
    assert values(site.ask("/v/a.html.gz", *fields), "Content-Encoding") == [said]


def test_odd_bytes_in_maps(tmp_path: Path) -> None:
    site = Varied(tmp_path)
    where = site.root / "v"
    where.joinpath("x.var").write_bytes(b"URI: a\0b\nContent-Type: text/\xff\nContent-Language: \xc3\xbc\n")
    assert site.ask("/v/x.var").status == 404
    where.joinpath("y.var").write_bytes(b"Content-Type: text/\xff\xc3\xbc\nBody:E\n\xfe\nE\n")
    response = site.ask("/v/y.var", "Negotiate: vlist")
    assert (response.status, body_of(response)) == (200, b"\xfe\n")
