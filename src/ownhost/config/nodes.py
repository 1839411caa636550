"""What a tree of directives is made of, and the lines that it is made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ownhost.config.directive import Source
from ownhost.config.lexer import Line


@dataclass(slots=True)
class Node:
    """A directive, or with `children` a section: its name as typed, and the rest of its line, expanded."""

    name: str
    raw: str
    source: Source
    place: int  # its number among all lines read, which orders problems
    used: str = ""
    children: list[Node] | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """Where a directive stands that is obeyed while files are read."""

    line: Line
    siblings: list[Node]  # what was read of the section around it, or of the file
    stream: Lines


class Lines:
    """The lines of one file, with those of macros put in where they are used."""

    def __init__(self, lines: Iterable[Line], parent: Lines | None = None, host: Node | None = None) -> None:
        self.layers: list[tuple[str, Iterator[Line]]] = [("", iter(lines))]
        self.parent = parent
        self.host = host  # the <VirtualHost> in which the file is included

    def __iter__(self) -> Iterator[Line]:
        while self.layers:
            line = next(self.layers[-1][1], None)
            if line is None:
                self.layers.pop()
            else:
                yield line

    def insert(self, macro: str, lines: Iterable[Line]) -> None:
        """Give these lines next."""
        self.layers.append((macro, iter(lines)))

    def uses(self, macro: str) -> bool:
        """Whether the line read last came out of a macro, directly or by way of others."""
        inside = any(name == macro for name, _ in self.layers)
        return inside or (self.parent is not None and self.parent.uses(macro))

    @property
    def depth(self) -> int:
        """How many files include this one."""
        return 0 if self.parent is None else self.parent.depth + 1
