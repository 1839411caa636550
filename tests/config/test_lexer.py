"""Lines and words, against rules that Apache's own lexer follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.lexer import SPACE, expand, logical_lines, next_word, quote, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("one two\tthree", ("one", "two", "three")),
        ('"a b" c', ("a b", "c")),
        ("'a b' c", ("a b", "c")),
        ('"a\'b"', ("a'b",)),
        (r'"a\"b"', ('a"b',)),
        (r"'a\'b'", ("a'b",)),
        (r'"a\'"', (r"a\'",)),
        (r'"a\\"', ("a\\",)),
        (r'"\d"', (r"\d",)),
        (r"a\\b", (r"a\b",)),
        (r"a\ b", ("a\\", "b")),
        (r"a\"b", (r"a\"b",)),
        ('"a"b', ("a", "b")),
        ('a"b c"', ('a"b', 'c"')),
        ('"open end', ("open end",)),
        ('"" x', ("", "x")),
        ("a #b", ("a", "#b")),
        ("\\", ("\\",)),
        ('"\\', ("\\",)),
    ],
)
def test_words(text: str, expected: tuple[str, ...]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n\n  \n#c\n b \n", [(1, "a"), (5, "b")]),
        ("a\\\nb", [(1, "ab")]),
        ("a\\\r\nb\r\n", [(1, "ab")]),
        ("a\\ \nb", [(1, "a\\"), (2, "b")]),
        ("a\\\\\nb", [(1, "a\\b")]),
        ("# no\\\nyet\nc", [(3, "c")]),
        ("a\\", [(1, "a\\")]),
        ("a\\\n", [(1, "a")]),
        ("\\\n\\\n\nb", [(4, "b")]),
        ("\x0b a \x0c", [(1, "a")]),
    ],
)
def test_logical_lines(text: str, expected: list[tuple[int, str]]) -> None:
    assert [(line.source.line, line.text) for line in logical_lines(text, "f")] == expected


@pytest.mark.parametrize(
    ("text", "expected", "missing"),
    [
        ("${a}", "A", []),
        ("x${a}${b}y", "xA${a}y", []),
        ("$a $ { ${", "$a $ { ${", []),
        ("${no}${a}", "${no}A", ["no"]),
        ("${a${a}", "${a${a}", ["a${a"]),
        ("${}", "${}", [""]),
    ],
)
def test_expand(text: str, expected: str, missing: list[str]) -> None:
    assert expand(text, {"a": "A", "b": "${a}"}.get) == (expected, missing)


@given(st.text())
def test_any_text_is_lines_of_words(text: str) -> None:
    for line in logical_lines(text, "f"):
        assert line.text
        assert line.text.strip(SPACE) == line.text
        assert 1 <= line.source.line <= text.count("\n") + 1
        word, rest = next_word(line.text)
        assert words(line.text) == (word, *words(rest))


@given(st.text())
def test_a_quoted_word_is_one_word(text: str) -> None:
    assert words(quote(text)) == (text,)


@given(st.text(alphabet="${}ab\\\" '"))
def test_nothing_to_expand_changes_nothing(text: str) -> None:
    assert expand(text, lambda _: None)[0] == text


@given(st.lists(st.text(alphabet="ab\\ #\r"), max_size=8))
def test_cutting_a_file_between_lines_changes_nothing(physical: list[str]) -> None:
    """A file is read the same whether its logical lines come in one piece or one by one."""
    text = "\n".join(physical) + "\n"
    pieces, current = [], ""
    for line in text.split("\n")[:-1]:
        current += line + "\n"
        if not line.removesuffix("\r").endswith("\\"):
            pieces.append(current)
            current = ""
    pieces.append(current)
    whole = [line.text for line in logical_lines(text, "f")]
    assert [line.text for piece in pieces for line in logical_lines(piece, "f")] == whole
