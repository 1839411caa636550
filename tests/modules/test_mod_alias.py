"""Alias and Redirect. The oracle tries agreement with Apache; here are errors, and what no field may hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.directive import ConfigError
from ownhost.modules.mod_alias import below, escape
from serving import Served, values


@pytest.mark.parametrize(
    ("text", "path", "body"),
    [
        ("Alias /x @ROOT@/d", "/x/x.txt", b"d/x.txt\n"),
        ("AliasMatch ^/x/(.*) @ROOT@/$1.txt", "/x/a", b"a.txt\n"),
        ("<Location /x>\nAlias @ROOT@/a.txt\n</Location>", "/x/any/thing", b"a.txt\n"),
        ("<Location /x>\nAlias @ROOT@/d\nAliasPreservePath On\n</Location>", "/x/x.txt", b"d/x.txt\n"),
        ('<LocationMatch ^/x/(?<N>.)>\nAlias "@ROOT@/%{env:MATCH_N}.txt"\n</LocationMatch>', "/x/a", b"a.txt\n"),
        ("Alias /x @ROOT@/b.html\n<Location /x>\nAlias @ROOT@/a.txt\n</Location>", "/x", b"a.txt\n"),
    ],
)
def test_aliases_lead_to_files(tmp_path: Path, text: str, path: str, body: bytes) -> None:
    assert Served(tmp_path, text).ask(path).body == body


@pytest.mark.parametrize(
    ("text", "path", "status", "location"),
    [
        ("Redirect /x http://y.test/z", "/x/a%20b?q", 302, "http://y.test/z/a%20b?q"),
        ("Redirect 301 /x /z", "/x", 301, "http://site.test/z"),
        ("Redirect gone /x", "/x", 410, None),
        ("Redirect gone", "/any", 410, None),
        ("RedirectPermanent /x http://y.test/", "/x", 301, "http://y.test/"),
        ("RedirectTemp /x http://y.test/", "/x", 302, "http://y.test/"),
        ("RedirectMatch ^/x(.*) http://y.test$1?a=b", "/x/z?q", 302, "http://y.test/z?a=b"),
        ("RedirectMatch 410 ^/x", "/x", 410, None),
        ("RedirectMatch ^/x(.*) $1", "/xy", 500, None),
        ("<Location /x>\nRedirect http://y.test/\n</Location>", "/x/z", 302, "http://y.test/"),
        (
            '<Location /x>\nRedirect 301 "http://y.test%{REQUEST_URI}"\n</Location>',
            "/x/a%20b",
            301,
            "http://y.test/x/a%20b",
        ),
        ("<Location /x>\nRedirect 403\n</Location>", "/x", 403, None),
        ("RedirectRelative On\nRedirect /x /z", "/x", 302, "/z"),
        ("<Directory @ROOT@/d>\nRedirect /d/old http://y.test/\n</Directory>", "/d/old", 302, "http://y.test/"),
        ("<If \"%{QUERY_STRING} == 'go'\">\nRedirect http://y.test/?\n</If>", "/a.txt?go", 302, "http://y.test/?"),
    ],
)
def test_redirects(tmp_path: Path, text: str, path: str, status: int, location: str | None) -> None:
    response = Served(tmp_path, text).ask(path)
    assert (response.status, response.header("location")) == (status, location)


def test_nothing_of_a_path_can_end_the_field(tmp_path: Path) -> None:
    site = Served(tmp_path, "RedirectMatch ^/x(.*)$ http://y.test/$1?$1#$1\nRedirectMatch ^/h(.*)$ http://$1/")
    for path in ("/x%0d%0aSet-Cookie:a=b", "/h%0d%0aSet-Cookie:a=b", "/x%c3%bc%ff"):
        (location,) = values(site.ask(path), "Location")
        assert re.fullmatch("[!-~]+", location)


def test_where_an_alias_led_is_known(tmp_path: Path) -> None:
    site = Served(tmp_path, "Alias /x @ROOT@/d")
    site.ask("/x/x.txt")
    assert (site.request.context_prefix, site.request.context_document_root) == ("/x", str(site.root / "d"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Alias /x", "expected 2 arguments"),
        ("Alias x /y", "begins with /"),
        ("<Location /x>\nAlias /x /y\n</Location>", "expected a folder or file alone"),
        ("<Location /x>\nAliasMatch ^/x /y\n</Location>", "cannot stand in <Location>"),
        ("<Directory /x>\nAlias /y\n</Directory>", "cannot stand in <Directory>"),
        ("<If true>\nAlias /y\n</If>", "cannot stand in <If>"),
        ("Redirect /x", "a path and a URL"),
        ("Redirect http://x.test/", "a path and a URL"),
        ("Redirect 301", "expected"),
        ("Redirect 404 /x http://y.test/", "a path and no URL"),
        ("Redirect foo /x http://y.test/", "expected a status"),
        ("Redirect 399 /x http://y.test/", "a known status"),
        ("Redirect /x y", "expected a URL"),
        ("<Location /x>\nRedirect 301\n</Location>", "expected"),
        ("<Location /x>\nRedirect y\n</Location>", "expected a URL"),
        ("RedirectMatch ( http://y.test/", "cannot be used"),
    ],
)
def test_errors_say_what_was_expected(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Served(tmp_path, line)


def test_what_is_behind_a_prefix_keeps_its_slashes() -> None:
    assert below("//a///b//c/", "/a/b") == "//c/"
    assert below("/a//c", "//a//") == "c"
    assert below("/a//bc", "/a/b") is None
    assert below("/ab//c", "/a") is None


@given(st.text(), st.text())
def test_what_is_below_a_prefix_begins_with_a_slash_or_is_nothing(uri: str, prefix: str) -> None:
    rest = below(f"/{uri}", f"/{prefix}")
    if rest is not None and not prefix.endswith("/") and prefix:
        assert rest == "" or rest.startswith("/")


@given(st.text())
def test_an_escaped_url_fits_into_a_field(url: str) -> None:
    assert re.fullmatch("[!-~]*", escape(url.encode("utf-8", "replace").decode()))
