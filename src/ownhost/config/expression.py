"""Apache's expressions (expr.html), parsed: plain data that pickles.

A `Condition` is true or false, a `StringExpression` is a text. `expression_parser` makes them,
`request.expressions` evaluates them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ownhost.config.regex import Pattern

# Words: nodes whose value is a text.


@dataclass(frozen=True, slots=True)
class Text:
    """A literal."""

    value: str


@dataclass(frozen=True, slots=True)
class Variable:
    """%{NAME}."""

    name: str  # in capitals


@dataclass(frozen=True, slots=True)
class Call:
    """function(word) or %{function:text}.

    `server_value` is the value of env or osenv in the server's own environment, from the time when
    the configuration was read: the processes that evaluate have no environment.
    """

    function: str  # in small letters
    argument: Word
    server_value: str = ""


@dataclass(frozen=True, slots=True)
class BackReference:
    """$0 to $9: the match and the groups of the last regular expression that matched."""

    group: int


@dataclass(frozen=True, slots=True)
class Concatenation:
    """Words, one after another."""

    parts: tuple[Word, ...]


Word = Text | Variable | Call | BackReference | Concatenation

# Conditions: nodes that are true or false.


@dataclass(frozen=True, slots=True)
class Constant:
    """true or false."""

    value: bool


@dataclass(frozen=True, slots=True)
class Not:
    """! or not."""

    operand: Node


@dataclass(frozen=True, slots=True)
class All:
    """&& or and."""

    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """|| or or."""

    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """Two words compared as strings (==, <...) or, with `numbers`, as integers (-eq, -lt...): eq, ne, lt, le, gt or ge.

    `by_length`: a shorter string is less than a longer one, whatever they contain (SSLRequire).
    """

    operator: str
    left: Word
    right: Word
    numbers: bool = False
    by_length: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """word =~ regex, or !~."""

    word: Word
    regex: Pattern
    negated: bool


@dataclass(frozen=True, slots=True)
class Member:
    """word in {list}."""

    word: Word
    members: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class HasExtension:
    """word in PeerExtList(oid): whether an extension of the client's certificate is a text."""

    word: Word
    oid: str


@dataclass(frozen=True, slots=True)
class Unary:
    """-f word and the like; the letter names the test."""

    operator: str
    word: Word


@dataclass(frozen=True, slots=True)
class Wildcard:
    """word -strmatch pattern, -strcmatch (any case), -fnmatch (wildcards match no slash)."""

    operator: str
    word: Word
    pattern: Word


@dataclass(frozen=True, slots=True)
class InNetwork:
    """word -ipmatch network, or -R network: whether an address is in a network."""

    word: Word
    network: str


Node = Constant | Not | All | AnyOf | Compare | Matches | Member | HasExtension | Unary | Wildcard | InNetwork


def children(node: Node | Word) -> Iterator[Node | Word]:
    """The nodes and words that a node consists of."""
    for name in node.__slots__:
        value = getattr(node, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Node | Word):
                yield one


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """An expression whose value is yes or no."""

    text: str  # as written
    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class StringExpression:
    """An expression whose value is a text."""

    text: str  # as written
    word: Word

    @property
    def parts(self) -> Sequence[Word]:
        """The words that it consists of."""
        return self.word.parts if isinstance(self.word, Concatenation) else (self.word,)


def variables_of(node: Node | Word) -> Iterator[str]:
    """The names of all variables in an expression."""
    if isinstance(node, Variable):
        yield node.name
    for child in children(node):
        yield from variables_of(child)
