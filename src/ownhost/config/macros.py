"""mod_macro: <Macro name parameter...>, Use and UndefMacro.

A macro's lines replace the Use line. Each parameter's name is replaced by its argument wherever it
occurs, in the order of the text; of two names that begin at the same place the longer counts. A
parameter that begins with "@" is replaced by its argument in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ownhost.config.arguments import ignored
from ownhost.config.directive import ANYWHERE, ArgumentError, Block, Directive, Override, Source, declare
from ownhost.config.lexer import Line, quote, words


@dataclass(frozen=True, slots=True)
class Macro:
    """A macro as defined. `name` is in lower case, as case does not distinguish macros' names."""

    name: str
    parameters: tuple[str, ...]
    lines: tuple[Line, ...]
    source: Source

    def used(self, arguments: Sequence[str], at: Line) -> Iterator[Line]:
        """The lines that replace a Use line. Raises `ArgumentError` for a wrong number of arguments."""
        if len(arguments) != len(self.parameters):
            wanted = " ".join(self.parameters) or "no arguments"
            raise ArgumentError(f"macro {self.name} takes {wanted}, got {len(arguments)} arguments")
        values = dict(zip(self.parameters, map(_inserted, self.parameters, arguments), strict=True))
        used = f" (in macro {self.name}, used at {at.source})"
        return (Line(_substituted(line.text, values), line.source, used) for line in self.lines)

    def length(self, arguments: Sequence[str]) -> int:
        """At most so many characters replace a Use line."""
        values = [(name, len(_inserted(name, text))) for name, text in zip(self.parameters, arguments, strict=True)]
        texts = [line.text for line in self.lines]
        return sum(len(text) + sum(text.count(name) * length for name, length in values) for text in texts)


def define(raw: str, lines: Sequence[Line], source: Source) -> Macro:
    """A macro from the arguments of its <Macro> and the lines in it."""
    name, *parameters = words(raw) or ("",)
    if not name:
        raise ArgumentError("expected a name")
    if len(set(parameters)) != len(parameters) or "" in parameters:
        raise ArgumentError(f"macro {name}: each parameter needs a name of its own")
    return Macro(name.lower(), tuple(parameters), tuple(lines), source)


def _inserted(parameter: str, argument: str) -> str:
    return quote(argument) if parameter.startswith("@") else argument


def _substituted(text: str, values: dict[str, str]) -> str:
    if not values:
        return text
    names = sorted(values, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, names)), lambda match: values[match[0]], text)


declare(
    Directive(
        "Macro",
        "mod_macro",
        "name [parameter]...",
        ANYWHERE,
        "Names the lines that it contains, so that Use can repeat them with other arguments.",
        ignored(),
        override=Override.ALL,
        block=Block.MACRO,
    )
)
