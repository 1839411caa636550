"""Paths: decoded, cleaned, refused."""

from __future__ import annotations

import posixpath
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.http.message import HTTPError
from ownhost.request.target import clean_path, normalized_path


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/", "/"),
        ("*", "*"),
        ("/a/b.txt", "/a/b.txt"),
        ("/a//b", "/a/b"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/a/", "/a/"),
        ("/.a", "/.a"),
        ("/a..b", "/a..b"),
        ("/...", "/..."),
        ("/%61", "/a"),
        ("/%2561", "/%61"),
        ("/%C3%A4", "/ä"),
        ("/%ff", "/\udcff"),
        ("/a%2e%2e/b", "/a../b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a;b=c", "/a;b=c"),
    ],
)
def test_cleaned(raw: str, path: str) -> None:
    assert clean_path(raw) == path


@pytest.mark.parametrize(
    ("raw", "status"),
    [("/..", 400), ("/a/../..", 400), ("/%2e%2e/a", 400), ("/%", 400), ("/%4", 400), ("/%zz", 400), ("/%00", 404)],
)
def test_refused(raw: str, status: int) -> None:
    with pytest.raises(HTTPError) as refusal:
        clean_path(raw)
    assert refusal.value.status == status


def test_encoded_slashes() -> None:
    with pytest.raises(HTTPError) as refusal:
        clean_path("/a%2Fb")
    assert refusal.value.status == 404
    assert clean_path("/a%2fb", encoded_slashes="On") == "/a/b"
    assert clean_path("/a%2fb", encoded_slashes="NoDecode") == "/a%2Fb"
    with pytest.raises(HTTPError):
        clean_path("/a%2f..%2f..%2fb", encoded_slashes="On")


def test_slashes_that_are_not_merged() -> None:
    assert clean_path("/a//b", merge_slashes=False) == "/a//b"


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "%2e%2e", "%2e", "%2f", "c d", "ä", "%"]), max_size=8))
def test_nothing_climbs(parts: list[str]) -> None:
    """Whatever comes out begins at the root and has no dot segments left."""
    raw = "/" + "/".join(part if part.startswith("%") else quote(part) for part in parts)
    for slashes in ("Off", "On", "NoDecode"):
        try:
            path = clean_path(raw, encoded_slashes=slashes)
        except HTTPError:
            continue
        assert path.startswith("/")
        assert not {"..", "."} & set(path.split("/"))
        assert posixpath.normpath(path) == (path.rstrip("/") or "/")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/%41%2D%5f%7E%2e", "/A-_~."),
        ("/a%2fb%20%3b%25", "/a%2fb%20%3b%25"),
        ("/a//b", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/a/%2e%2e/c", "/c"),
        ("*", "*"),
        ("/\xe4", "/\xe4"),
    ],
)
def test_a_path_may_be_cleaned_and_stay_encoded(raw: str, expected: str) -> None:
    assert normalized_path(raw) == expected


def test_slashes_of_an_encoded_path_may_stay() -> None:
    assert normalized_path("/a//b", merge_slashes=False) == "/a//b"


@pytest.mark.parametrize("raw", ["/%", "/%4", "/%zz", "/..", "/a/../../b", "/%2e%2e/"])
def test_encoded_paths_that_mean_nothing(raw: str) -> None:
    with pytest.raises(HTTPError) as caught:
        normalized_path(raw)
    assert caught.value.status == 400
