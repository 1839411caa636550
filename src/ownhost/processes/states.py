"""States that are written down: one field says where somebody stands, and a literal table what follows. Pure.

    TABLE: dict[tuple[State, Event], ...]  # state, event -> next state, or next state and what is done

The table stands above the class whose states they are. State and Event are IntEnum: those are cheap to look up.
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
    """Somebody with a state; `repr` shows it."""

    @property
    def state(self) -> S_co:
        """Where it stands."""


class Unexpected(Exception):
    """An event that a state does not expect: a bug."""


def follow(table: Mapping[tuple[S, E], T], whose: Standing[S], event: E) -> T:
    """What the table says of an event in somebody's state. Raises Unexpected where that is nothing."""
    try:
        return table[whose.state, event]
    except KeyError:
        raise Unexpected(f"{event.name} for {whose!r}") from None
