"""Templates: what is a reference and what stands for itself; any text is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.modules.rewriting.template import Group, Lookup, Variable, expand, expand_url, parse

SPECIAL = st.text(st.sampled_from("ab\\$%{}:|1?/ ü"), max_size=30)


class Values:
    """References that show themselves."""

    def variable(self, name: str) -> str:
        return f"<{name}>"

    def group(self, of_rule: bool, number: int) -> str:
        return f"({'$' if of_rule else '%'}{number})"

    def look_up(self, name: str, key: str) -> str | None:
        return None if name == "none" else f"[{name}={key}]"


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""),
        ("/plain", "/plain"),
        ("$1-%2", "($1)-(%2)"),
        ("$10", "($1)0"),
        (r"\$1\%1\\", r"$1%1" + "\\"),
        ("\\", "\\"),
        ("$", "$"),
        ("%", "%"),
        ("$x%y", "$x%y"),
        ("%{A}%{B:c}", "<A><B:c>"),
        ("%{A$1}", "<A$1>"),  # names are not expanded
        ("%{", "%{"),
        ("%{A", "%{A"),
        ("${m:k}", "[m=k]"),
        ("${m:$1}", "[m=($1)]"),
        ("${m:%{A}}", "[m=<A>]"),
        ("${m:${n:k}}", "[m=[n=k]]"),
        ("${none:k|d$1}", "d($1)"),
        ("${none:k|${m:k}}", "[m=k]"),
        ("${none:k|}", ""),
        ("${none:k}", ""),
        ("${m:k|d}", "[m=k]"),
        ("${m}", "${m}"),
        ("${m:", "${m:"),
        ("${m:a:b|c|d}", "[m=a:b]"),
        ("${none:a|c|d}", "c|d"),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(parse(text), Values()) == expanded


@pytest.mark.parametrize(
    ("text", "smuggled"),
    [
        ("/x", False),
        ("/x?a", False),
        ("/x%{Q?}", True),
        ("/x?a=%{Q?}", False),
        ("/x%{Q?}?a", True),
        (r"/x\?%{Q?}", False),
        ("${none:k|?}", True),
    ],
)
def test_a_question_mark_that_a_value_brings_in_is_noticed(text: str, smuggled: bool) -> None:
    assert expand_url(parse(text), Values())[1] is smuggled


@given(SPECIAL)
def test_any_text_is_a_template(text: str) -> None:
    template = parse(text)
    assert template.text == text
    assert "".join(part if isinstance(part, str) else "" for part in template.parts) in expand(template, Hidden())


class Hidden(Values):
    """References without values."""

    def variable(self, name: str) -> str:
        return ""

    def group(self, of_rule: bool, number: int) -> str:
        return ""

    def look_up(self, name: str, key: str) -> str | None:
        return ""


@given(st.text(st.characters(blacklist_characters="\\$%"), max_size=30))
def test_text_without_marks_stands_for_itself(text: str) -> None:
    assert expand(parse(text), Values()) == text


@given(st.text(max_size=20))
def test_what_a_value_brings_is_not_expanded_again(value: str) -> None:
    class Client(Values):
        def variable(self, name: str) -> str:
            return value

    assert expand(parse("<%{X}>"), Client()) == f"<{value}>"


def test_parts_are_cut_once() -> None:
    assert parse("a$1%{B}${c:d}").parts == ("a", Group(True, 1), Variable("B"), Lookup("c", parse("d"), None))
