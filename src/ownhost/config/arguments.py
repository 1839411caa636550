"""Parsers for the arguments of directives, for use in declarations: `parse=integer(1, 65535)`.

Each function here returns a parser: called with a `Call`, it gives the value, or raises `ArgumentError` with a
sentence that says what was expected. The reader adds the place and the directive's syntax.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from ownhost.config.directive import ArgumentError, Call
from ownhost.config.known import nearest
from ownhost.config.words import Word, Words

T = TypeVar("T")
_MOST_NAMED = 15  # words of a table that an error message lists

_DURATION = re.compile(r"([0-9]+)(ms|min|mi|sec|s|h|)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "mi": 60.0, "min": 60.0, "h": 3600.0}


def flag() -> Callable[[Call], bool]:
    """On or Off, in any case."""
    return choice({"On": True, "Off": False})


def keyword(*expected: str) -> Callable[[Call], str]:
    """One of the given words, in any case; the value is the word as given here."""
    return choice({word: word for word in expected})


def choice(values: Mapping[str, T]) -> Callable[[Call], T]:
    """One word, in any case, that stands for a value."""
    of_word = choice_of(values)
    return lambda call: of_word(single(call))


def choice_of(values: Mapping[str, T]) -> Callable[[str], T]:
    """The same, for a word that is part of an argument."""
    by_name = {word.lower(): value for word, value in values.items()}

    def parse(word: str) -> T:
        if word.lower() not in by_name:
            raise ArgumentError(f"expected {either(list(values))}, not {word!r}")
        return by_name[word.lower()]

    return parse


def known_word(words: Words[T], name: str) -> Word[T]:
    """The word of a name in a table. ArgumentError says the nearest one, or all if they are few."""
    word = words.get(name)
    if word is not None:
        return word
    names = [word.name for word in words]
    near, hint = nearest(name, names), ""
    if near:
        hint = f"; did you mean {words.written(near)}?"
    elif len(names) <= _MOST_NAMED:
        hint = f"; expected {either(list(map(words.written, names)))}"
    shown = words.written(name if name.isprintable() and name and " " not in name else repr(name))
    raise ArgumentError(f"there is no {words.kind} {shown}{hint}")


def integer(minimum: int | None = None, maximum: int | None = None) -> Callable[[Call], int]:
    """A decimal number within bounds, both inclusive."""
    return lambda call: number(single(call), minimum, maximum)


def octal(maximum: int = 0o7777) -> Callable[[Call], int]:
    """A file mode: octal digits."""

    def parse(call: Call) -> int:
        word = single(call)
        if not re.fullmatch("[0-7]+", word) or int(word, 8) > maximum:
            raise ArgumentError(f"expected an octal number up to {maximum:o}, not {word!r}")
        return int(word, 8)

    return parse


def duration(unit: str = "s") -> Callable[[Call], float]:
    """A time: a number and ms, s, mi or h. Without a unit, `unit` is meant. The value is seconds."""
    return lambda call: seconds(single(call), unit)


def one_word() -> Callable[[Call], str]:
    """Exactly one argument, any text."""
    return single


def words(minimum: int = 0, maximum: int | None = None) -> Callable[[Call], tuple[str, ...]]:
    """Any words; both bounds on their number are inclusive."""

    def parse(call: Call) -> tuple[str, ...]:
        count = len(call.args)
        if count < minimum or (maximum is not None and count > maximum):
            raise ArgumentError(f"expected {_amount(minimum, maximum)}, got {count or 'none'}")
        return call.args

    return parse


def path() -> Callable[[Call], str]:
    """A file name; a relative one starts at ServerRoot."""
    return lambda call: call.path(single(call))


def rest() -> Callable[[Call], str]:
    """The rest of the line as written, which must not be empty."""

    def parse(call: Call) -> str:
        if not call.raw:
            raise ArgumentError("expected an argument, got none")
        return call.raw

    return parse


def ignored() -> Callable[[Call], None]:
    """Any arguments: for directives without effect."""
    return lambda _call: None


def single(call: Call) -> str:
    """The one argument of a call."""
    if len(call.args) != 1:
        raise ArgumentError(f"expected one argument, got {len(call.args) or 'none'}")
    return call.args[0]


def number(word: str, minimum: int | None = None, maximum: int | None = None) -> int:
    """A word as a decimal number within bounds, both inclusive."""
    if re.fullmatch(r"[+-]?[0-9]{1,18}", word):
        value = int(word)
        if (minimum is None or value >= minimum) and (maximum is None or value <= maximum):
            return value
    raise ArgumentError(f"expected {_number_wanted(minimum, maximum)}, not {word!r}")


def seconds(word: str, unit: str = "s") -> float:
    """A word as a time in seconds: a number, and ms, s, mi or h; without any, `unit` is meant."""
    match = _DURATION.fullmatch(word)
    if not match:
        raise ArgumentError(f"expected a time such as 30, 30s, 500ms, 5mi or 1h, not {word!r}")
    return int(match[1]) * _SECONDS[match[2].lower() or unit]


def either(names: list[str]) -> str:
    """Names as a person would list them: "A, B or C"."""
    *most, final = names
    return f"{', '.join(most)} or {final}" if most else final


def _number_wanted(minimum: int | None, maximum: int | None) -> str:
    if minimum is not None and maximum is not None:
        return f"a number from {minimum} to {maximum}"
    if minimum is not None:
        return f"a number of at least {minimum}"
    return "a number" if maximum is None else f"a number of at most {maximum}"


def _amount(minimum: int, maximum: int | None) -> str:
    if minimum == maximum:
        return "no arguments" if minimum == 0 else f"{minimum} argument{'s' if minimum > 1 else ''}"
    if maximum is None:
        return f"at least {minimum} argument{'s' if minimum > 1 else ''}"
    if minimum == 0:
        return f"at most {maximum} argument{'s' if maximum > 1 else ''}"
    return f"{minimum} to {maximum} arguments"
