"""The values of Header and RequestHeader: texts with format codes in them, or expressions.

    format = *( "%%" / "%{" name "}" code / "%" code / escape / any other character )

A "%" at the end is one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from ownhost.config.arguments import either
from ownhost.config.directive import ArgumentError
from ownhost.config.expression import StringExpression
from ownhost.config.expression_parser import parse_string
from ownhost.config.words import Word, Words
from ownhost.request import variables
from ownhost.request.request import Request

_FORMAT = re.compile(r"%(?:\{([^}]*)\})?([A-Za-z%])|%\Z|\\([\\rnt])|[^%]", re.DOTALL)
_ESCAPES = {"\\": "\\", "r": "\r", "n": "\n", "t": "\t"}

Code = Callable[[Request, str], str]  # with the argument in its braces


def _taken(request: Request, _: str) -> str:
    return f"D={max(0, int((time.time() - request.time) * 1_000_000))}"


def _load(_request: Request, _: str) -> str:
    return "l={:.2f} {:.2f} {:.2f}".format(*os.getloadavg()).replace(" ", "/")


_WORKERS = "Always the same: workers come and go as needed."
CODES: Words[Code] = Words(
    "Format codes of header fields",
    "format code",
    Word("t", "", "When the request arrived: t= and microseconds since 1970.", lambda r, _: f"t={int(r.time * 1e6)}"),
    Word("D", "", "How long it has taken so far: D= and microseconds.", _taken),
    Word("l", "", "The load averages of the machine: l= and three numbers with slashes between.", _load),
    Word("i", "", "How idle the server is: i=100.", lambda _request, _: "i=100", differs=_WORKERS),
    Word("b", "", "How busy the server is: b=0.", lambda _request, _: "b=0", differs=_WORKERS),
    Word("e", "{NAME}", "An environment variable of the request.", lambda r, name: r.env.get(name, "(null)")),
    Word("s", "{NAME}", "A variable of mod_ssl.", lambda r, name: variables.of_mod_ssl(r, name) or "(null)"),
    form="%{arguments}{name}",
)


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a field: literal texts and format codes, each a pair of (code, argument); "" is a literal."""

    parts: tuple[tuple[str, str], ...]

    def text(self, request: Request) -> str:
        """The value for a request."""
        return "".join([_code(request, code, argument) if code else argument for code, argument in self.parts])


def _code(request: Request, code: str, argument: str) -> str:
    """The value of a format code."""
    request.pure = False
    return CODES.known[code].means(request, argument)


def parse_value(text: str) -> Value | StringExpression:
    """A value: expr= and an expression, or a text with format codes. Raises ArgumentError."""
    if text.startswith("expr="):
        return parse_string(text[5:])
    parts: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _FORMAT.match(text, position)
        if match is None or not _is_known(match[2], match[1]):
            wanted = either([*(CODES.written(code.name, code.arguments) for code in CODES), "%% for a percent sign"])
            raise ArgumentError(f"expected {wanted}, not {text[position:]!r}")
        if match[2] in (None, "%"):
            parts.append(("", _ESCAPES[match[3]] if match[3] else match[0][0]))
        else:
            parts.append((match[2], match[1] or ""))
        position = match.end()
    return Value(_joined(parts))


def _is_known(code: str | None, argument: str | None) -> bool:
    """Whether a % is followed by a format code with its argument, or by no code at all."""
    if code in (None, "%"):
        return True
    word = CODES.get(code)
    return word is not None and (argument is not None or not word.arguments)


def _joined(parts: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Format codes, and the literal text between them in one piece."""
    joined: list[tuple[str, str]] = []
    for code, text in parts:
        if code == "" and joined and joined[-1][0] == "":
            joined[-1] = ("", joined[-1][1] + text)
        else:
            joined.append((code, text))
    return tuple(joined)
