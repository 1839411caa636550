"""Lines and words of Apache's configuration language. Pure functions over text.

    file     = *( physical LF )
    logical  = a physical line; one that ends in a backslash goes on in the next (also a comment)
    comment  = a logical line whose first character, after white space, is "#"
    word     = quoted | plain
    quoted   = '"' ... '"' or "'" ... "'"; inside, backslash takes the quote or a backslash literally
    plain    = everything up to white space; "\\\\" stands for one backslash
    variable = "${" name "}", expanded in the whole line before it is cut into words

Invariant: any text at all gives lines and words, never an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ownhost.config.directive import Source

SPACE = " \t\n\r\v\f"  # what C's isspace() says in the C locale


@dataclass(frozen=True, slots=True)
class Line:
    """A logical line without the white space around it; `source` is where it begins.

    `used` tells where a macro's line was used: "" or " (in macro NAME, used at FILE:LINE)".
    """

    text: str
    source: Source
    used: str = ""


def logical_lines(text: str, file: str) -> Iterator[Line]:
    """The logical lines of a file that are neither blank nor comments."""
    parts: list[str] = []
    start = 0
    physical = text.split("\n")
    final = len(physical)
    for number, line in enumerate(physical, 1):
        start = start or number
        ends = number < final
        body = line.removesuffix("\r") if ends else line
        if ends and body.endswith("\\"):
            parts.append(body[:-1])
            continue
        yield from _line("".join((*parts, body)), file, start)
        parts, start = [], 0


def _line(text: str, file: str, number: int) -> Iterator[Line]:
    stripped = text.strip(SPACE)
    if stripped and not stripped.startswith("#"):
        yield Line(stripped, Source(file, number))


def expand(text: str, value_of: Callable[[str], str | None]) -> tuple[str, list[str]]:
    """Replace each ${NAME} by its value, once: values are not searched again.

    A name without a value stays as written; such names are returned as well.
    """
    if "${" not in text:
        return text, []
    result: list[str] = []
    missing: list[str] = []
    position = 0
    while (start := text.find("${", position)) >= 0 and (end := text.find("}", start)) >= 0:
        name = text[start + 2 : end]
        value = value_of(name)
        if value is None:
            missing.append(name)
            value = text[start : end + 1]
        result += text[position:start], value
        position = end + 1
    result.append(text[position:])
    return "".join(result), missing


def next_word(text: str) -> tuple[str, str]:
    """The first word, unquoted, and the rest of the text after the white space that follows it."""
    text = text.lstrip(SPACE)
    if not text:
        return "", ""
    if text[0] in "\"'":
        return _quoted(text, text[0])
    end = next((i for i, char in enumerate(text) if char in SPACE), len(text))
    return _unescape(text[:end], ""), text[end:].lstrip(SPACE)


def words(text: str) -> tuple[str, ...]:
    """All words of a line, unquoted."""
    result = []
    text = text.lstrip(SPACE)
    while text:
        word, text = next_word(text)
        result.append(word)
    return tuple(result)


def quote(word: str) -> str:
    """A word in double quotes, so that `next_word` gives it back."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _quoted(text: str, mark: str) -> tuple[str, str]:
    end = 1
    while end < len(text) and text[end] != mark:
        escaped = text[end] == "\\" and text[end + 1 : end + 2] in (mark, "\\")
        end += 2 if escaped else 1
    return _unescape(text[1:end], mark), text[end + 1 :].lstrip(SPACE)


def _unescape(text: str, mark: str) -> str:
    if "\\" not in text:
        return text
    result = []
    position = 0
    while position < len(text):
        if text[position] == "\\" and text[position + 1 : position + 2] in ("\\", mark or "\\"):
            position += 1
        result.append(text[position : position + 1])
        position += 1
    return "".join(result)
