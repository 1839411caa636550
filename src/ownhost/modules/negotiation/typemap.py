"""Type maps: files that list the variants of a page (mod_negotiation's documentation, "Type maps")."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ownhost.http.wire import to_bytes
from ownhost.modules.negotiation.choice import Variant

_COMMENT = re.compile(r"\([^)]*\)?")
_TOKEN = re.compile(r'\s*((?:"[^"]*"|[^\s",;])*)')
_LANGUAGE = re.compile(r"[^\s,;]+")


class MapError(Exception):
    """A map cannot be understood: why, in Apache's words."""


def parse(text: str, map_name: str) -> list[Variant]:
    """The variants in a map; those whose content is in it go by the map's name. Raises MapError."""
    found: list[Variant] = []
    variant, has_content = Variant(""), False
    lines = _Lines(text)
    for line in lines:
        if not line.strip():
            if variant.file and has_content:
                found.append(variant)
            variant, has_content = Variant(""), False
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise MapError(f"AH00681: Syntax error in type map, no ':' for header {line.strip()}")
        name, value = name.lower(), _COMMENT.sub(" ", value).strip()
        if not value:
            raise MapError(f"AH00682: Syntax error in type map --- no header body: {name}")
        has_content = _read(variant, name, value, lines) or has_content
        variant.file = variant.file if variant.body is None else map_name
    return found


def _read(variant: Variant, name: str, value: str, lines: _Lines) -> bool:
    """Take over what a line says. Returns whether it is about the content."""
    token = _TOKEN.match(value)
    word = token[1] if token is not None else ""
    if name == "uri":
        variant.file = word.partition("\0")[0]
    elif name == "content-type":
        variant.describe(value)
    elif name == "content-length":
        if not re.fullmatch("[0-9]{1,18}", word):
            raise MapError(f"AH00684: Parse error in type map, Content-Length: '{word}' is invalid")
        variant.size = int(word)
    elif name == "content-language":
        variant.languages = _LANGUAGE.findall(value.lower())
    elif name == "content-encoding":
        variant.encoding = word.lower()
    elif name == "description":
        variant.description = " ".join(value.split("\n"))
    elif name == "body":
        variant.body = to_bytes(lines.body(value))
        variant.size = len(variant.body)
    return name in ("content-type", "content-length", "content-language", "content-encoding")


class _Lines:
    """The lines of a map, joined with their continuations; an empty one ends it. Comments are left out."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def __iter__(self) -> Iterator[str]:
        while self.position < len(self.text):
            line = self._next()
            if line.startswith("#"):
                continue
            if line.strip() and line[:5].lower() != "body:":
                while (more := self._peek()) and (more[0] == "#" or (more[0].isspace() and more.strip())):
                    self._next()
                    line += "" if more[0] == "#" else f"\n{more}"
            yield line
        yield ""

    def _peek(self) -> str:
        end = self.text.find("\n", self.position)
        return self.text[self.position : end] if end >= 0 else self.text[self.position :]

    def _next(self) -> str:
        line = self._peek()
        self.position += len(line) + 1
        return line

    def body(self, tag: str) -> str:
        """What follows, up to a tag; the line of the tag is over then. Raises MapError."""
        end = self.text.find(tag, self.position)
        if end < 0:
            raise MapError(f"AH00685: Syntax error in type map, no end tag '{tag}' found for Body: content")
        content = self.text[self.position : end]
        line = self.text.find("\n", end)
        self.position = len(self.text) if line < 0 else line + 1
        return content
