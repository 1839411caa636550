"""Remarks on a configuration that is fine, as people read them: one line for what is said of many places in a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ownhost.config.directive import Problem, Source


@dataclass(frozen=True, slots=True)
class Note:
    """A remark, the first place in a file that it is about, and how many more places there are in that file."""

    source: Source
    message: str
    more: int = 0

    def __str__(self) -> str:
        more = f" ({self.more} more in this file)" if self.more else ""
        return f"{self.source}: note: {self.message}{more}"


def folded(notes: Iterable[Problem]) -> list[Note]:
    """The remarks, those that say the same of one file as one."""
    places: dict[tuple[str, str], dict[Source, None]] = {}
    for note in notes:
        places.setdefault((note.source.file, note.message), {})[note.source] = None
    return [Note(min(sources), message, len(sources) - 1) for (_, message), sources in places.items()]
