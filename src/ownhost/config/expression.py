"""Apache's expressions (expr.html), parsed: plain data that pickles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression whose value is yes or no."""

    text: str  # as written


@dataclass(frozen=True, slots=True)
class StringExpression:
    """An expression whose value is a text."""

    text: str  # as written
