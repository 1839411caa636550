"""RewriteRule and RewriteCond, parsed: any line is a rule or an ArgumentError."""

from __future__ import annotations

import contextlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.config.directive import ArgumentError, Call, Source, Where
from ownhost.config.lexer import words
from ownhost.modules.rewriting.arguments import split_flags, split_line
from ownhost.modules.rewriting.conditions import RuleCondition
from ownhost.modules.rewriting.conditions import parse_rule_condition as parse_condition
from ownhost.modules.rewriting.flags import Escapes, RuleFlag
from ownhost.modules.rewriting.rules import Rule, parse_rule

LINE = st.text(st.sampled_from("^$()[]!=<>-,\\\"' \tabBEFLNRS1/%{}|:ü"), max_size=60)
FLAGS = st.lists(
    st.sampled_from(
        [
            "B",
            "B=/",
            "BNP",
            "BNE=x",
            "BCTLS",
            "C",
            "CO=a:b:c",
            "DPI",
            "E=A:$1",
            "E=!A",
            "END",
            "F",
            "G",
            "H=x",
            "L",
            "N",
            "N=5",
            "NC",
            "NE",
            "NS",
            "P",
            "PT",
            "QSA",
            "QSD",
            "QSL",
            "R",
            "R=301",
            "R=404",
            "R=temp",
            "S=2",
            "T=a/b",
            "UNC",
        ]
    ),
    max_size=6,
)


def call(raw: str, name: str = "RewriteRule") -> Call:
    return Call(name, words(raw), raw, Source("x", 1), Where.SERVER, "/")


def rule(raw: str) -> Rule:
    return parse_rule(call(raw))


def condition(raw: str) -> RuleCondition:
    return parse_condition(call(raw, "RewriteCond"))


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ("a b", ("a", "b", "")),
        ("a b [L]", ("a", "b", "[L]")),
        ('"a b" \'c d\' "[L, R]"', ("a b", "c d", "[L, R]")),
        (r"a\ b c\ d", (r"a\ b", r"c\ d", "")),
        (r'"a\"b', ("a\\", "b", "")),  # nothing escapes a quote
        (r"^a\\.b \$1", (r"^a\\.b", r"\$1", "")),
        ('a ""', ("a", "", "")),
        ('a "b', ("a", "b", "")),
        ('"a"b [L]', ("a", "b", "[L]")),
        ("a", None),
        ("", None),
        ("a b c", None),
        ("a b [L", None),
    ],
)
def test_lines(raw: str, parts: tuple[str, str, str] | None) -> None:
    if parts is None:
        with pytest.raises(ArgumentError):
            split_line(raw, "one", "two")
    else:
        assert split_line(raw, "one", "two") == parts


def test_flags_have_names_and_values() -> None:
    assert split_flags("[ R=301 , E=a:b=c,L,,NC ]") == [("R", "301"), ("E", "a:b=c"), ("L", ""), ("NC", "")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C", "chain"),
        ("CO=a:b:c", "cookie=a:b:c"),
        ("DPI", "discardpath"),
        ("E=a:b", "env=a:b"),
        ("F", "Forbidden"),
        ("G", "gone"),
        ("H=x", "handler=x"),
        ("L", "last"),
        ("N=3", "next=3"),
        ("NC", "nocase"),
        ("NE", "noescape"),
        ("NS", "nosubreq"),
        ("P", "proxy"),
        ("PT", "passthrough"),
        ("QSA", "qsappend"),
        ("QSD", "qsdiscard"),
        ("QSL", "qslast"),
        ("R=301", "redirect=permanent"),
        ("R", "R=temp"),
        ("S=2", "skip=2"),
        ("T=a/b", "type=a/b"),
        ("B", "backrefescaping"),
        ("B,BNP", "B,backrefnoplus"),
    ],
)
def test_flags_have_long_names(one: str, other: str) -> None:
    assert rule(f"^/x$ /y [{one}]") == rule(f"^/x$ /y [{other}]")
    assert rule(f"^/x$ /y [{one}]") != rule("^/x$ /y")


def test_what_a_rule_says() -> None:
    found = rule("!^/X$ /y [NC,R=307,L,E=A:1,E=B,S=3]")
    assert found.negated
    assert found.regex.search("/x")
    assert found.status == 307
    assert not found.answers
    assert RuleFlag.REDIRECT in found
    assert RuleFlag.LAST in found
    assert RuleFlag.END not in found
    assert [template.text for template in found.env] == ["A:1", "B"]
    assert found.skip == 3


@pytest.mark.parametrize(
    ("flags", "status"), [("F", 403), ("G", 410), ("R=404", 404), ("R=200", 200), ("F,R=500", 500)]
)
def test_answers_have_no_substitution(flags: str, status: int) -> None:
    found = rule(f"^ /y [{flags}]")
    assert (found.answers, found.status, found.substitution) == (True, status, None)


@pytest.mark.parametrize(
    ("substitution", "expected"),
    [
        ("/etc/x", True),
        ("/etc", True),
        ("/etc?x", True),
        ("/no-such-folder/x", False),
        ("/etc$1", None),
        ("/$1/x", None),
        ("etc/x", None),
        ("http://x/etc", None),
        ("-", None),
        ("/", True),
    ],
)
def test_whether_the_root_directory_has_the_first_component(substitution: str, expected: bool | None) -> None:
    assert rule(f"^ {substitution}").in_root is expected


@pytest.mark.parametrize(
    ("pattern", "test", "operand", "negated"),
    [
        ("-f", "-f", "", False),
        ("!-d", "-d", "", True),
        ("-h", "-l", "", False),
        ("-L", "-l", "", False),
        ("-l", "-l", "", False),
        ("-s", "-s", "", False),
        ("-x", "-x", "", False),
        ("-F", "-F", "", False),
        ("-U", "-U", "", False),
        ("<b", "<", "b", False),
        ("<=b", "<=", "b", False),
        ("=b", "=", "b", False),
        ('=""', "=", "", False),
        ("!>b", ">", "b", True),
        (">=b", ">=", "b", False),
        ("-lt5", "-lt", "5", False),
        ("-eq5", "-eq", "5", False),
        ("-ne5", "-ne", "5", False),
        ("!-ne5", "-ne", "5", True),
        ("<=", "<=", "", False),
    ],
)
def test_tests_of_conditions(pattern: str, test: str, operand: str, negated: bool) -> None:
    found = condition(f"x {pattern}")
    assert (found.test, found.operand, found.negated) == (test, operand, negated)


@pytest.mark.parametrize("pattern", ["-", "<", "=", ">", "-lt", "-z", "-ff", "^a", "a=b"])
def test_what_looks_like_a_test_and_is_none_is_a_pattern(pattern: str) -> None:
    assert condition(f"x {pattern}").regex is not None


@pytest.mark.parametrize(
    ("escapes", "text", "expected"),
    [
        (Escapes(), "a b/c?_-ü", "a+b%2fc%3f_%2d%c3%bc"),
        (Escapes(space_as_plus=False), "a b", "a%20b"),
        (Escapes(listed="/?"), "a b/c?d&", "a b%2fc%3fd&"),
        (Escapes(kept="/-"), "a/b-c&", "a/b-c%26"),
        (Escapes(controls=True), "a b/\x01\x7f", "a+b/%01%7f"),
        (Escapes(controls=True, listed="/"), "a b/", "a+b%2f"),
        (Escapes(listed="/"), "ü/", "ü%2f"),
        (Escapes(), "\udcff", "%ff"),
    ],
)
def test_escapes(escapes: Escapes, text: str, expected: str) -> None:
    assert escapes.apply(text) == expected


@given(LINE)
def test_any_line_is_a_rule_or_an_error(raw: str) -> None:
    with contextlib.suppress(ArgumentError):
        assert isinstance(rule(raw), Rule)
    with contextlib.suppress(ArgumentError):
        assert isinstance(condition(raw), RuleCondition)


@given(FLAGS)
def test_every_rule_can_be_sent_to_another_process(flags: list[str]) -> None:
    found = rule(f"^/(.*)$ /x?%{{HTTP_HOST}}${{m:$1|d}} [{','.join(flags)}]")
    assert pickle.loads(pickle.dumps(found)) == found
