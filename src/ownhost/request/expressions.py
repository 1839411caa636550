"""What expressions come to for a request."""

from __future__ import annotations

from ownhost.config.expression import Condition, StringExpression
from ownhost.request.request import Request


def holds(condition: Condition, request: Request) -> bool:
    """Whether a condition holds for a request."""
    return condition.text == "true"


def value(expression: StringExpression, request: Request) -> str:
    """The text that an expression comes to for a request."""
    return expression.text
