"""State machines as data: one field has the state, and a literal table says what follows. Pure.

    TABLE: dict[tuple[State, Event], ...]  # state, event -> next state, or next state and what is done

The table is above the class with these states. State and Event are IntEnum: those are cheap to look
up.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Protocol, TypeVar

S_co = TypeVar("S_co", bound=Enum, covariant=True)
S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)
T = TypeVar("T")


class Standing(Protocol[S_co]):
    """An object with a state; `repr` shows it."""

    @property
    def state(self) -> S_co:
        """Its state."""


class Unexpected(Exception):
    """An event that a state does not expect: a bug."""


def follow(table: Mapping[tuple[S, E], T], whose: Standing[S], event: E) -> T:
    """The table's entry for an event in an object's state. Raises Unexpected if there is none."""
    try:
        return table[whose.state, event]
    except KeyError:
        raise Unexpected(f"{event.name} for {whose!r}") from None
