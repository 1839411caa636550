"""Text to expressions."""

from __future__ import annotations

from ownhost.config.directive import ArgumentError
from ownhost.config.expression import Condition, StringExpression


def parse_condition(text: str) -> Condition:
    """Parse a boolean expression. Raises ArgumentError that points at the column."""
    if text not in ("true", "false"):
        raise ArgumentError(f"expressions are not supported yet: expected true or false, not {text}")
    return Condition(text)


def parse_string(text: str) -> StringExpression:
    """Parse a string expression. Raises ArgumentError that points at the column."""
    return StringExpression(text)
