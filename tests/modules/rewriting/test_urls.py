"""URLs and paths as rules make them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.modules.rewriting.urls import (
    escape_url,
    is_fit_for_head,
    is_fit_for_query,
    replace_prefix,
    resolve_dots,
    scheme_of,
    takes_query,
)

PATHS = st.text(st.sampled_from("/.a"), max_size=20)


@pytest.mark.parametrize(
    ("url", "scheme", "query"),
    [
        ("http://x", "http://", True),
        ("HTTPS://x", "HTTPS://", True),
        ("wss://x/", "wss://", True),
        ("mailto:a", "mailto:", True),
        ("ftp://x", "ftp://", False),
        ("ldap://x", "ldap://", False),
        ("/http://x", "", True),
        ("http:/x", "", True),
        ("foo://x", "", True),
        ("h2://", "", True),  # too short for Apache
        ("", "", True),
    ],
)
def test_schemes(url: str, scheme: str, query: bool) -> None:
    assert scheme_of(url) == scheme
    assert takes_query(url) is query


@pytest.mark.parametrize(
    ("url", "escaped"),
    [
        ("http://h/a b?c%d", "http://h/a%20b%3Fc%25d"),
        ("http://h", "http://h"),
        ("http://h h/x", "http://h h/x"),
        ("mailto:a b", "mailto:a%20b"),
        ("ldap://h/o=a b?c d?sub?(x=y)", "ldap://h/o=a%20b?c%20d?sub?(x=y)"),
        ("http://h/ü\udcff", "http://h/%C3%BC%FF"),
    ],
)
def test_escaping(url: str, escaped: str) -> None:
    assert escape_url(url) == escaped


@pytest.mark.parametrize(
    ("path", "strict", "clamped"),
    [
        ("/a/b", "/a/b", "/a/b"),
        ("/a/./b/../c/", "/a/c/", "/a/c/"),
        ("//a//b", "/a/b", "/a/b"),
        ("/..", None, "/"),
        ("/a/../../etc", None, "/etc"),
        ("/a/..", "/", "/"),
        ("/", "/", "/"),
        ("/a/.", "/a/", "/a/"),
    ],
)
def test_dots(path: str, strict: str | None, clamped: str) -> None:
    assert resolve_dots(path) == strict
    assert resolve_dots(path, clamp=True) == clamped


@given(PATHS)
def test_a_resolved_path_has_no_dots_left(path: str) -> None:
    resolved = resolve_dots(f"/{path}", clamp=True)
    assert resolved is not None
    assert resolved.startswith("/")
    assert not {"..", "."} & set(resolved.split("/"))
    assert "//" not in resolved
    assert resolve_dots(resolved) == resolved


@pytest.mark.parametrize(
    ("path", "prefix", "substitute", "expected"),
    [
        ("/srv/a/x", "/srv/a/", "/base", "/base/x"),
        ("/srv/a/x", "/srv/a", "/base/", "/base/x"),
        ("/srv/a/", "/srv/a/", "/base/", "/base/"),
        ("/srv/ab/x", "/srv/a/", "/base", "/srv/ab/x"),
        ("/srv/a", "/srv/a/", "/base", "/srv/a"),
        ("/srv/a/x", "/srv/a/", "/", "/x"),
    ],
)
def test_prefixes(path: str, prefix: str, substitute: str, expected: str) -> None:
    assert replace_prefix(path, prefix, substitute) == expected


def test_what_may_stand_in_a_query_and_in_a_head() -> None:
    assert is_fit_for_query("a=b&%20[ü]")
    assert not any(map(is_fit_for_query, ("a b", "a\n", "\x7f")))
    assert is_fit_for_head("http://x/ ü\t")
    assert not any(map(is_fit_for_head, ("a\r\nb", "\x00", "\x7f")))
