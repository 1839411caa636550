"""Shell patterns as apr_fnmatch reads them, and the files that an Include names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.globs import compile_glob, expand_path, is_glob


@pytest.mark.parametrize(
    ("pattern", "text", "in_path", "anywhere"),
    [
        ("a", "a", True, True),
        ("a", "b", False, False),
        ("*", "ab", True, True),
        ("*", "a/b", False, True),
        ("*/b", "a/b", True, True),
        ("?", "/", False, True),
        ("?", "", False, False),
        ("[a-c]x", "bx", True, True),
        ("[!a-c]x", "bx", False, False),
        ("[^a-c]x", "dx", True, True),
        ("[!a]", "/", False, True),
        ("[]x]", "]", True, True),
        ("[x", "[x", True, True),
        ("[", "[", True, True),
        (r"\*", "*", True, True),
        (r"\*", "a", False, False),
        (r"[\]]", "]", True, True),
        ("[a-]", "-", True, True),
        ("*.php", ".php", True, True),
        ("*a*b", "xxaxxb", True, True),
        ("*a*b", "xxaxxbc", False, False),
        ("a.c", "abc", False, False),
        ("*", "a\nb", True, True),
    ],
)
def test_matching(pattern: str, text: str, in_path: bool, anywhere: bool) -> None:
    assert bool(compile_glob(pattern, within_path=True).search(text)) is in_path
    assert bool(compile_glob(pattern, within_path=False).search(text)) is anywhere


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", False),
        ("*", True),
        ("a?", True),
        ("[a", False),
        ("a]", False),
        ("[a]", True),
        (r"\*", False),
        ("\\", False),
    ],
)
def test_is_glob(text: str, expected: bool) -> None:
    assert is_glob(text) is expected


@given(st.text(alphabet="ab[]!^-\\*?/]"))
def test_any_pattern_compiles(pattern: str) -> None:
    compile_glob(pattern, within_path=True)


@given(st.text(alphabet="ab/."))
def test_a_pattern_without_wildcards_matches_itself_only(text: str) -> None:
    assert compile_glob(text, within_path=True).search(text)
    assert not compile_glob(text, within_path=True).search(text + "x")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b/one.conf", "a/two.conf", "a/.hidden.conf", "a/three.txt", "a/sub/four.conf", "B.conf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/two.conf", ["a/two.conf"]),
        ("a", ["a/.hidden.conf", "a/sub/four.conf", "a/three.txt", "a/two.conf"]),
        ("a/*.conf", ["a/two.conf"]),
        ("a/.*.conf", ["a/.hidden.conf"]),
        ("*/*.conf", ["a/two.conf", "b/one.conf"]),
        ("?/sub", ["a/sub/four.conf"]),
        ("[ab]/s*", ["a/sub/four.conf"]),
        ("*.conf", ["B.conf"]),
        ("none/*.conf", []),
        ("*/none", []),
        ("none", ["none"]),
    ],
)
def test_files_of_an_include(tree: Path, pattern: str, expected: list[str]) -> None:
    assert [path.removeprefix(f"{tree}/") for path in expand_path(f"{tree}/{pattern}")] == expected
