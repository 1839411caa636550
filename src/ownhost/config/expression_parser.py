"""Text to expressions. The grammar is loaded with the first one: most configurations have none, and servers need none.

Invariant: any text is an expression, or gives an `ArgumentError` that names the column.
"""

from __future__ import annotations

import re

from ownhost.config.directive import Source
from ownhost.config.expression import Condition, StringExpression

_COMPUTED = re.compile(r"%\{|\\|\$[0-9]")


def parse_condition(text: str, source: Source | None = None, *, restricted: bool = False) -> Condition:
    """Parse a boolean expression from the place `source`. Raises ArgumentError.

    `restricted`: it may not look at files.
    """
    from ownhost.config.expression_grammar import parse

    return Condition(text, parse(text, "condition", restricted, source))


def parse_ssl_requirement(text: str, source: Source | None = None) -> Condition:
    """Parse the argument of SSLRequire: a boolean expression whose comparisons are of strings. Raises ArgumentError."""
    from ownhost.config.expression_grammar import parse

    return Condition(text, parse(text, "condition", False, source, like_ssl=True))


def parse_string(text: str, *, restricted: bool = False) -> StringExpression:
    """Parse a string expression: a text with %{...} in it. Raises ArgumentError."""
    from ownhost.config.expression_grammar import parse

    return StringExpression(text, parse(text, "string", restricted))


def is_plain(text: str) -> bool:
    """Whether a text contains nothing that a string expression would compute, so that it stands for itself."""
    return _COMPUTED.search(text) is None
