r"""Texts with references in them: substitutions, the test strings of conditions, the values of flags.

    template  = { literal | escape | variable | lookup | group }
    escape    = "\" any character, which then stands for itself
    variable  = "%{" name "}"
    lookup    = "${" map ":" template [ "|" template ] "}"      key and default
    group     = "$" digit | "%" digit                           of the rule's pattern, of the last condition's

Braces nest. Any other text is literal. A template is expanded in a single pass: a request's values
are never searched for references.

Invariant: any text is a template.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Variable:
    """%{NAME}"""

    name: str


@dataclass(frozen=True, slots=True)
class Group:
    """$N, a group of the rule's pattern; %N, one of the last condition that matched."""

    of_rule: bool
    number: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """${map:key|default}"""

    map: str
    key: Template
    default: Template | None


@dataclass(frozen=True, slots=True)
class Template:
    """A text, split into literal parts and references."""

    text: str
    parts: tuple[str | Variable | Group | Lookup, ...]

    @property
    def literal(self) -> str:
        """The fixed beginning of the expanded text."""
        first = self.parts[0] if self.parts else ""
        return first if isinstance(first, str) else ""


class Values(Protocol):
    """The source of references' values."""

    def variable(self, name: str) -> str:
        """The value of a variable; "" if there is none."""

    def group(self, of_rule: bool, number: int) -> str:
        """The text of a group; "" if it took no part."""

    def look_up(self, name: str, key: str) -> str | None:
        """A map's value for a key."""


def parse(text: str) -> Template:
    """Split a text into its parts."""
    parts: list[str | Variable | Group | Lookup] = []
    literal: list[str] = []
    position = 0
    while position < len(text):
        part, end = _part(text, position)
        if isinstance(part, str):
            literal.append(part)
        else:
            if literal:
                parts.append("".join(literal))
                literal = []
            parts.append(part)
        position = end
    if literal:
        parts.append("".join(literal))
    return Template(text, tuple(parts))


def _part(text: str, position: int) -> tuple[str | Variable | Group | Lookup, int]:
    """The part at a position, and its end."""
    char, following = text[position], text[position + 1 : position + 2]
    if char == "\\":
        return following or char, position + 2
    if char not in "$%":
        return char, position + 1
    if following == "{":
        return _braced(text, position)
    if following.isascii() and following.isdigit():
        return Group(char == "$", int(following)), position + 2
    return char, position + 1


def _braced(text: str, position: int) -> tuple[str | Variable | Lookup, int]:
    """%{...} or ${...}; two literal characters if it is neither."""
    start = position + 2
    end = _find(text, start, "}")
    if end < 0:
        return text[position:start], start
    if text[position] == "%":
        return Variable(text[start:end]), end + 1
    inside = text[start:end]
    colon = _find(inside, 0, ":")
    if colon < 0:
        return text[position:start], start
    key = inside[colon + 1 :]
    bar = _find(key, 0, "|")
    default = parse(key[bar + 1 :]) if bar >= 0 else None
    return Lookup(inside[:colon], parse(key if bar < 0 else key[:bar]), default), end + 1


def _find(text: str, start: int, wanted: str) -> int:
    """The position of a character outside of inner braces; -1 if there is none."""
    depth = 0
    for position in range(start, len(text)):
        char = text[position]
        if char == wanted and depth == 0:
            return position
        depth += (char == "{") - (char == "}")
        if depth < 0:
            return -1
    return -1


def expand(template: Template, values: Values) -> str:
    """The result of a template."""
    return "".join(part if isinstance(part, str) else value_of(part, values) for part in template.parts)


def expand_url(template: Template, values: Values) -> tuple[str, bool]:
    """The result of a substitution, and whether the question mark that splits it came from a value."""
    result: list[str] = []
    split = smuggled = False
    for part in template.parts:
        if isinstance(part, str):
            split = split or "?" in part
            result.append(part)
        else:
            value = value_of(part, values)
            smuggled = smuggled or (not split and "?" in value)
            result.append(value)
    return "".join(result), smuggled


def value_of(part: Variable | Group | Lookup, values: Values) -> str:
    """The value of one reference."""
    if isinstance(part, Variable):
        return values.variable(part.name)
    if isinstance(part, Group):
        return values.group(part.of_rule, part.number)
    found = values.look_up(part.map, expand(part.key, values))
    if found is None:
        return "" if part.default is None else expand(part.default, values)
    return found
