"""Remarks on a valid configuration, for people: one line for the same remark at many places in a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ownhost.config.directive import Problem, Source


@dataclass(frozen=True, slots=True)
class Note:
    """A remark, its first place in a file, and how many more places that file has."""

    source: Source
    message: str
    more: int = 0

    def __str__(self) -> str:
        more = f" ({self.more} more in this file)" if self.more else ""
        return f"{self.source}: note: {self.message}{more}"


def folded(notes: Iterable[Problem]) -> list[Note]:
    """The remarks, with equal ones about one file joined."""
    places: dict[tuple[str, str], dict[Source, None]] = {}
    for note in notes:
        places.setdefault((note.source.file, note.message), {})[note.source] = None
    return [Note(min(sources), message, len(sources) - 1) for (_, message), sources in places.items()]
