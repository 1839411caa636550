"""Tables of words: what is found in them, and what is said of what is not."""

from __future__ import annotations

import pytest

from ownhost import modules
from ownhost.config.arguments import known_word
from ownhost.config.directive import REGISTRY, ArgumentError
from ownhost.config.words import Word, Words


def table(*, any_case: bool = False, count: int = 2) -> Words[int]:
    more = (Word(f"number{number}", "", "Says a number.", number) for number in range(2, count))
    return Words(
        "Colours of TestWord",
        "colour",
        Word("red", "=shade", "Is like blood.", 0, ("crimson",)),
        Word("Blue", "", "Is like the sky.", 1),
        *more,
        form="{name}{arguments}",
        any_case=any_case,
    )


@pytest.mark.parametrize(("name", "means"), [("red", 0), ("crimson", 0), ("Blue", 1)])
def test_a_word_is_found_by_its_name_and_aliases(name: str, means: int) -> None:
    assert known_word(table(), name).means == means


def test_case_matters_unless_the_table_says_otherwise() -> None:
    assert table().get("RED") is None
    found = table(any_case=True).get("BLUE")
    assert found is not None
    assert found.means == 1


def test_each_word_is_listed_once_in_order() -> None:
    assert [word.name for word in table()] == ["red", "Blue"]


def test_a_word_is_written_in_the_form_of_its_table() -> None:
    assert [table().written(word.name, word.arguments) for word in table()] == ["red=shade", "Blue"]


@pytest.mark.parametrize("name", ["red", "crimson", "RED"])
def test_a_name_is_declared_once(name: str) -> None:
    with pytest.raises(ValueError, match="is declared twice"):
        table(any_case=True).add(Word(name, "", "Is another.", 2))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bleu", "there is no colour bleu; did you mean Blue?"),
        ("x", "there is no colour x; expected red or Blue"),
        ("", "there is no colour ''; expected red or Blue"),
        ("a b", "there is no colour 'a b'; expected red or Blue"),
    ],
)
def test_an_unknown_word_gets_the_nearest_or_all(name: str, says: str) -> None:
    with pytest.raises(ArgumentError) as error:
        known_word(table(any_case=True), name)
    assert str(error.value) == says


def test_many_words_are_not_listed_in_an_error() -> None:
    with pytest.raises(ArgumentError) as error:
        known_word(table(count=30), "x")
    assert str(error.value) == "there is no colour x"


def test_every_word_that_a_directive_declares_has_help() -> None:
    modules.load()
    tables = {id(words): words for directive in REGISTRY.values() for words in directive.words}.values()
    assert {words.title for words in tables} >= {
        "Actions of Header",
        "Flags of RewriteRule",
        "Flags of RewriteCond",
        "Tests of RewriteCond",
        "Providers of Require",
        "Tests of expressions",
        "Functions of expressions",
        "Format codes of access logs",
        "Format codes of error logs",
    }
    for words in tables:
        for word in words:
            assert word.help.endswith("."), (words.title, word.name)
