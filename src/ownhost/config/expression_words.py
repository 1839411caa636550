"""The words of expressions (expr.html): their names, and what each does.

The parser looks them up here. Words that look at a request are in `request`, which adds them: tests
and functions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ownhost.config.words import Word, Words


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two words compare: `holds` is given their order, as texts or as numbers."""

    name: str  # in a node
    holds: Callable[[int, int], bool]
    numbers: bool = False


@dataclass(frozen=True, slots=True)
class Test:
    """The test of an operator. `compile` makes it from the functions for its words; see `request.expressions`."""

    compile: Callable[..., Callable[[Any], bool]]
    of_files: bool = False  # it looks at files: not for expressions that an owner writes
    of_network: bool = False  # its argument is a network, which the parser reads


@dataclass(frozen=True, slots=True)
class Function:
    """What a function gives: it is called with the evaluation and its argument."""

    gives: Callable[..., str]
    of_files: bool = False
    of_server: bool = False  # it is called with what the server's environment has under that name, too


def _texts(holds: Callable[[int, int], bool]) -> Comparison:
    return Comparison(holds.__name__, holds)


def _numbers(holds: Callable[[int, int], bool]) -> Comparison:
    return Comparison(holds.__name__, holds, numbers=True)


# The grammar knows how these are written.
COMPARISONS: Words[Comparison] = Words(
    "Comparisons of expressions",
    "comparison",
    Word("==", "text", "Is the same text.", _texts(operator.eq), ("=",)),
    Word("!=", "text", "Is not the same text.", _texts(operator.ne)),
    Word("<", "text", "Comes before a text.", _texts(operator.lt)),
    Word("<=", "text", "Comes before a text, or is the same.", _texts(operator.le)),
    Word(">", "text", "Comes after a text.", _texts(operator.gt)),
    Word(">=", "text", "Comes after a text, or is the same.", _texts(operator.ge)),
    Word("-eq", "number", "Begins with the same number.", _numbers(operator.eq), ("eq",)),
    Word("-ne", "number", "Begins with another number.", _numbers(operator.ne), ("ne",)),
    Word("-lt", "number", "Begins with a number that is less.", _numbers(operator.lt), ("lt",)),
    Word("-le", "number", "Begins with a number that is less, or the same.", _numbers(operator.le), ("le",)),
    Word("-gt", "number", "Begins with a number that is greater.", _numbers(operator.gt), ("gt",)),
    Word("-ge", "number", "Begins with a number that is greater, or the same.", _numbers(operator.ge), ("ge",)),
)
PATTERNS: Words[Test] = Words("Patterns of expressions", "operator", form="-{name} {arguments}")  # behind a word
TESTS: Words[Test] = Words("Tests of expressions", "operator", form="-{name} {arguments}")  # in front of a word
FUNCTIONS: Words[Function] = Words("Functions of expressions", "function", form="{name}({arguments})", any_case=True)
# These the grammar reads by itself; they are here to be listed.
OTHERS: Words[None] = Words(
    "Other operators of expressions",
    "operator",
    Word(
        "=~", "regex", "Matches a regular expression: /.../ or m#...#, with i after it if case does not matter.", None
    ),
    Word("!~", "regex", "Does not match a regular expression.", None),
    Word("in", "{text, ...}", "Is one of some texts.", None, ("-in",)),
    Word("&&", "condition", "Both are true.", None, ("and",)),
    Word("||", "condition", "One of them is true.", None, ("or",)),
    Word("!", "condition", "It is false.", None, ("not",)),
)
WORDS: tuple[Words[Any], ...] = (COMPARISONS, PATTERNS, TESTS, OTHERS, FUNCTIONS)
