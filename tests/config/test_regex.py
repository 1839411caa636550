"""PCRE in Python: the expectations were put to grep -P, which uses the same library as Apache."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.directive import ArgumentError
from ownhost.config.regex import compile_pcre

MATCHES = [
    # pattern, subject, what is found
    (r"^a$", "a", "a"),
    (r"^a$", "a\n", None),
    (r"(?m)a$", "a\nb", "a"),
    (r"^a\Z", "a\n", "a"),
    (r"^a\z", "a\n", None),
    (r"\.(?<ext>php|inc)$", "/x.php", ".php"),
    (r"(?'n'a)\k<n>\k'n'\k{n}\g{n}(?P=n)", "aaaaaa", "aaaaaa"),
    (r"(?P<n>a)\1\g1\g{1}\g{-1}", "aaaaa", "aaaaa"),
    (r"[[:alpha:]_]+", "1aB_2", "aB_"),
    (r"[[:^alpha:]]+", "ab12c", "12"),
    (r"[^[:space:]]+", " x\t", "x"),
    (r"[[:punct:]]+", "a[]^_`{|}~-!b", "[]^_`{|}~-!"),
    (r"[]a]+", "x]a", "]a"),
    (r"[^]a]+", "]xa", "x"),
    (r"[a\]b]+", "a]b", "a]b"),
    (r"[\w-]+", "a-b.c", "a-b"),
    (r"[.-]+", "a.-", ".-"),
    (r"[a-c-e]+", "a-e", "a-e"),
    (r"[[a]+", "[a", "[a"),
    (r"[a&&b]+", "a&&b", "a&&b"),
    (r"[a||b~~c]+", "a||b~~c", "a||b~~c"),
    (r"[+--]+", "+,-.", "+,-"),
    (r"\h+", "a \tb", " \t"),
    (r"\H+", " ab ", "ab"),
    (r"[\h.]+", "a .b", " ."),
    (r"\v", "a\x0bb", "\x0b"),
    (r"\R", "a\r\nb", "\r\n"),
    (r"\N+", "ab\nc", "ab"),
    (r".+", "ab\nc", "ab\nc"),  # DOTALL is the default
    (r"(?s).+", "ab\nc", "ab\nc"),
    (r"\Qa.b\E+", "xa.bb", "a.bb"),
    (r"\Qa.b", "xa.b", "a.b"),
    (r"a(?#comment)b", "ab", "ab"),
    (r"(?i)ABC|d", "xD", "D"),
    (r"a(?i)b", "aB", "aB"),
    (r"a(?i)b", "AB", None),
    (r"(a(?i)b)c", "aBC", None),
    (r"((?i)a|b)c", "Bc", "Bc"),
    (r"(?i:a)b", "Ab", "Ab"),
    (r"(?i:a)b", "AB", None),
    (r"(?i)a(?-i)b", "Ab", "Ab"),
    (r"(?i)a(?-i)b", "AB", None),
    (r"a{,2}", "a{,2}", "a{,2}"),
    (r"a{2}", "aaa", "aa"),
    (r"a{2,}", "aaa", "aaa"),
    (r"a{x}", "a{x}", "a{x}"),
    (r"a++a", "aaa", None),
    (r"(?>a+)a", "aaa", None),
    (r"(a)?b(?(1)c|d)", "bd", "bd"),
    (r"(?<!x)a", "xaa", "a"),
    (r"(?<=x)a", "axa", "a"),
    (r"\x41\x{42}\0103", "AB\x083", "AB\x083"),
    (r"\e", "\x1b", "\x1b"),
    (r"[\b]", "\x08", "\x08"),
    (r"\bb\b", "a b c", "b"),
    (r"\_\-\/\<", "_-/<", "_-/<"),
    (r"\w+", "äb", "b"),
    (r"\d+", "\u0663", None),
    (r"ä", "xä", "ä"),
    (r"", "x", ""),
    (r"^/(.*)\.(?:jpe?g|png)$", "/a/b.jpeg", "/a/b.jpeg"),
    (r"a b#c", "a b#c", "a b#c"),
]


@pytest.mark.parametrize(("pattern", "subject", "expected"), MATCHES)
def test_match(pattern: str, subject: str, expected: str | None) -> None:
    found = compile_pcre(pattern).search(subject)
    assert (found[0] if found else None) == expected


REFUSED = [
    # wrong in PCRE as well
    "(", ")", "[", "a**", "*a", "(?<n>a)(?<n>b)", r"\1", "[b-a]", "a\\", r"[\w-.]", r"[a-\d]", "[[:digit:]-z]",
    "[[:nothing:]]", "[[.a.]]", "[[=a=]]", r"\i", r"[\i]", r"\g{0}", r"(?<n>a)\k<m>", "[]", "[^]",
    # right in PCRE, but nothing that Python could say, or not the same
    r"(?R)", r"(a)(?1)", r"(?<n>a)(?&n)", r"(?|(a)|(b))", r"a\Kb", r"\Ga", r"\p{Lu}", r"\X", r"\C", "(*UTF8)a",
    "(?x)a b", "a(?i)b|c", r"(?<=a|bc)d", r"\xe9", "[ä]", "ä+", r"[\xe9]", r"\cA", r"(?C)a", r"(?J)a", r"\o{101}",
    r"\u0041", r"\123", r"\103",
]  # fmt: skip


@pytest.mark.parametrize("pattern", REFUSED)
def test_refused(pattern: str) -> None:
    with pytest.raises(ArgumentError, match="cannot be used"):
        compile_pcre(pattern)


def test_groups_are_numbered_as_written() -> None:
    found = compile_pcre(r"(?i)(a)(?:b)(?<c>c)(?=(d))").search("ABCD")
    assert found is not None
    assert found.groups() == ("A", "C", "D")
    assert found.groupdict() == {"c": "C"}


def test_ignore_case() -> None:
    assert compile_pcre("^a[b-c]$", ignore_case=True).search("AB")
    assert not compile_pcre("^a$").search("A")


@given(st.text(alphabet=r"ab0(?<>:=!)[]^-\\{,}*+.|$PikQEgxwhRz#&~'ä" + "\n"))
def test_any_text_compiles_or_is_refused(pattern: str) -> None:
    try:
        compile_pcre(pattern).search("ab")
    except ArgumentError as error:
        assert "cannot be used" in str(error)  # noqa: PT017 - one of two good ends
