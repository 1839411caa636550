"""Paths as a servlet container sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.modules.proxying.servlet import servlet_path


@pytest.mark.parametrize(
    ("path", "prefix", "seen", "behind"),
    [
        ("/a/b", "/a", "/a/b", "/b"),
        ("/a/b", "/a/", "/a/b", "b"),
        ("/a", "/a", "/a", ""),
        ("/a;x", "/a", "/a", ""),
        ("/a/", "/a/", "/a/", ""),
        ("/a/", "/a", "/a/", "/"),
        ("/a;x=1/b;y", "/a/", "/a/b", "b;y"),
        ("/a;x=1/b;y", "/a", "/a/b", ";x=1/b;y"),
        ("/a/;x/b", "/a/", "/a/b", "b"),
        ("/a/b/..;/c", "/a/", "/a/c", "c"),
        ("/b/..;x/a/c", "/a/", "/a/c", "c"),
        ("/a/.;x/c", "/a/", "/a/c", "c"),
        ("/a/b/..;", "/a/", "/a/", ""),
        ("/x/y", "/", "/x/y", "x/y"),
    ],
)
def test_what_is_behind_a_prefix(path: str, prefix: str, seen: str, behind: str) -> None:
    found = servlet_path(path, prefix)
    assert found is not None
    assert (found[0], path[found[1] :]) == (seen, behind)


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("/ab", "/a"), ("/a", "/a/"), ("/a/..;/b", "/a"), ("/..;/a", "/a"), ("/", "/a"), ("/;a/b", "/a")],
)
def test_what_is_not_below_it(path: str, prefix: str) -> None:
    assert servlet_path(path, prefix) is None


@given(st.text(alphabet="ab/;.=", max_size=20))
def test_what_is_seen_has_no_parameters_and_no_dots(text: str) -> None:
    found = servlet_path(f"/{text}", "/")
    if found is not None:
        assert ";" not in found[0]
        assert not {".", ".."} & set(found[0].split("/"))
        assert "//" not in found[0]
