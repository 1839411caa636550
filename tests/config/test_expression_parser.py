"""Expressions are read, or refused with the column. What Apache refuses is refused."""

from __future__ import annotations

import contextlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost import modules
from ownhost.config import expression as e
from ownhost.config.directive import ArgumentError
from ownhost.config.expression_grammar import DEEPEST, LONGEST, MOST_LEVELS
from ownhost.config.expression_parser import is_plain, parse_condition, parse_string

modules.load()  # it has the words of expressions declared


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "expected a condition; it ends there"),
        ("a == 'a'", 3, "\"== 'a'\" stands there"),
        ("%{HTTP_HOST}", 13, "== or another comparison"),
        ("('a') == 'a'", 5, "== or another comparison"),
        ("'a' == ('a')", 8, "a word in quotes"),
        ("'a' in {}", 9, "a word in quotes"),
        ("'a' =~ m{a}", 8, "a regular expression such as /.../"),
        ("'a' =~ m/a/gx", 12, "'gx' stands there"),
        ("'a' =~ 'a'", 8, "a regular expression"),
        ("'a' =~ /(/", 8, "cannot be used"),
        ("'a' =~ /a\\/b/", 12, "'b/' stands there"),
        ("tolower('A','b') == 'a'", 12, "expected )"),
        ("%{NOSUCH} == 'a'", 3, "there is no variable NOSUCH"),
        ("%{HTTP_HOTS} == 'a'", 3, "did you mean HTTP_HOST?"),
        ("nosuch('a') == 'a'", 1, "there is no function nosuch"),
        ("tolow('a') == 'a'", 1, "did you mean tolower()?"),
        ("-Q 'a'", 1, "there is no operator -Q"),
        ("'a' -nosuch 'b'", 5, "there is no operator -nosuch"),
        ("'a' -EQ 'b'", 5, "there is no operator -EQ"),
        ("'a' -ipmatch '10.0.0.0/99'", 5, "expected a network"),
        ("'a' -ipmatch %{HTTP_HOST}", 5, "not something that is computed"),
        ("'unterminated", 14, "it ends there"),
        ("'a' ==", 7, "a word in quotes"),
        ("true true", 6, "'true' stands there"),
        ("TRUE", 5, "it ends there"),
        ("12a == 'a'", 3, "\"a == 'a'\" stands there"),
        ("'%{' == 'x'", 4, "expected a name"),
        ("%{reqenv:a", 11, "it ends there"),
        ("'a' == 'a' == 'b'", 12, "expected its end"),
        ("'a\\81b' == 'x'", 2, "is no character"),
        ("'a' in split('x')", 8, "no function split that gives a list"),
    ],
)
def test_what_is_wrong_is_said_with_its_column(text: str, column: int, says: str) -> None:
    with pytest.raises(ArgumentError) as error:
        parse_condition(text)
    assert f"column {column}:" in str(error.value)
    assert says in str(error.value)


def test_precedence() -> None:
    node = parse_condition("true || true && ! false && true").node
    assert node == e.AnyOf((e.Constant(True), e.All((e.Constant(True), e.Not(e.Constant(False)), e.Constant(True)))))


@pytest.mark.parametrize("text", ["'a' =~ m#b/c#i", "'a' =~ m'b/c'i", "'a'=~m|b/c|i", "'a' =~ m,b/c,i"])
def test_any_delimiter(text: str) -> None:
    node = parse_condition(text).node
    assert isinstance(node, e.Matches)
    assert node.regex.search("B/C")


@pytest.mark.parametrize("text", ["file('/x') == ''", "filesize('/x') -eq 1", "-f '/x'", "-U '/x'", "%{file:/x} == ''"])
def test_who_may_not_look_at_files_is_told(text: str) -> None:
    parse_condition(text)
    with pytest.raises(ArgumentError, match="looks at files"):
        parse_condition(text, restricted=True)


def test_limits() -> None:
    for text in ("'" + "a" * LONGEST + "' == ''", "!" * (DEEPEST + 1) + "true", "(" * (DEEPEST + 1)):
        with pytest.raises(ArgumentError):
            parse_condition(text)
    parse_condition("!" * 100 + "true")
    parse_condition("(" * 90 + "true" + ")" * 90)


def test_levels_are_limited() -> None:
    def nested(levels: int) -> str:
        return "%{tolower:" * levels + "x" + "}" * levels

    parsed = parse_string(nested(MOST_LEVELS - 1))
    assert pickle.loads(pickle.dumps(parsed)).word == parsed.word
    for levels in (MOST_LEVELS, 300, 740):
        with pytest.raises(ArgumentError):
            parse_string(nested(levels))


@pytest.mark.parametrize(
    ("text", "plain"), [("", True), ("100% $ %x", True), ("$1", False), ("%{x", False), ("\\", False)]
)
def test_what_stands_for_itself(text: str, plain: bool) -> None:
    assert is_plain(text) == plain


WORDS = st.sampled_from(
    ["'a'", '"b%{HTTP_HOST}"', "%{REQUEST_URI}", "tolower('X')", "%{req:X-A}", "12", "$1", "'a' . 'b'", "'\\''", "''"]
)
COMPARISONS = st.sampled_from(["==", "!=", "<", ">=", "-eq", "lt", "-strmatch"])
CONDITIONS = st.recursive(
    st.one_of(
        st.sampled_from(["true", "false"]),
        st.builds("{} {} {}".format, WORDS, COMPARISONS, WORDS),
        st.builds("-{} {}".format, st.sampled_from("nzT"), WORDS),
        st.builds("{} =~ /a(.)/i".format, WORDS),
        st.builds("{} in {{ {}, {} }}".format, WORDS, WORDS, WORDS),
    ),
    lambda inner: st.one_of(
        st.builds("!({})".format, inner),
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
    ),
    max_leaves=8,
)


@given(CONDITIONS)
def test_whatever_the_grammar_allows_is_read_and_pickles(text: str) -> None:
    parsed = parse_condition(text)
    again = pickle.loads(pickle.dumps(parsed))
    assert (again.text, again.node) == (text, parsed.node)


@given(st.text(alphabet="'\"%{}()$\\/m#.,:=<>!&|-abinreqT1 \t\n\u00e9", max_size=40))
def test_any_text_is_an_expression_or_an_argument_error(text: str) -> None:
    for parse in (parse_condition, parse_string):
        with contextlib.suppress(ArgumentError):
            parse(text)
