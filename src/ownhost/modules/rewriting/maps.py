"""RewriteMap: from a key to a value, by a text file, a program or a function.

    file  = { line LF }
    line  = key space value [ space anything ] | "#" comment | space anything
    value = a word; of a rnd: map the alternatives, separated by "|"

The first line with a key counts.
"""

from __future__ import annotations

import os
import random
import shlex
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from ownhost.config.arguments import known_word, words
from ownhost.config.directive import ArgumentError, Call
from ownhost.config.lexer import SPACE
from ownhost.config.words import Word, Words
from ownhost.modules.rewriting.urls import escape_path
from ownhost.request.request import Level, Request

_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def upper(key: str) -> str:
    """int:toupper: ASCII letters in capitals."""
    return key.translate(_UPPER)


def lower(key: str) -> str:
    """int:tolower: ASCII letters in lower case."""
    return key.translate(_LOWER)


def unescape(key: str) -> str:
    """int:unescape: percent-decoded."""
    return unquote_to_bytes(key.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


FUNCTIONS: Words[Callable[[str], str]] = Words(
    "Functions of RewriteMap",
    "function",
    Word("toupper", "", "The key in capitals.", upper),
    Word("tolower", "", "The key in small letters.", lower),
    Word("escape", "", "The key with %xx for what cannot stand in a path.", escape_path),
    Word("unescape", "", "The key with %xx decoded.", unescape),
    form="int:{name}",
)


@dataclass(frozen=True, slots=True)
class Map:
    """One RewriteMap. `kind` is "txt", "rnd", "prg" or "int"."""

    name: str
    kind: str
    file: str = ""  # of txt: and rnd:
    command: tuple[str, ...] = ()  # of prg:
    function: str = ""  # of int:


def parse_map(call: Call) -> Map:
    """Parse RewriteMap. Raises ArgumentError."""
    name, written, *user = words(2, 3)(call)
    kind, colon, rest = written.partition(":")
    kind = kind.lower()
    if kind.split("=")[0] in ("dbm", "dbd", "fastdbd") and colon:
        raise ArgumentError(f"maps of the kind {kind}: are known but not supported; expected txt:, rnd:, int: or prg:")
    if kind == "int" and colon:
        return Map(name, "int", function=known_word(FUNCTIONS, rest).name)
    if kind == "prg" and colon:
        if user:
            call.notes.append(f"the program runs as the identity that is served, not as {user[0]}")
        return Map(name, "prg", command=_command(call, rest))
    if kind not in ("txt", "rnd") or not colon:
        kind, rest = "txt", written
    file = call.path(rest)
    _check(name, file)
    return Map(name, kind, file=file)


def _command(call: Call, text: str) -> tuple[str, ...]:
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise ArgumentError(f"expected a program and its arguments, not {text!r}: {error}") from None
    if not command:
        raise ArgumentError("expected a program after prg:")
    command[0] = call.path(command[0])
    _check(call.args[0], command[0])
    return tuple(command)


def _check(name: str, file: str) -> None:
    if not Path(file).exists():
        raise ArgumentError(f"expected a file that is there for the map {name}, not {file!r}")


def look_up(one: Map, key: str, request: Request) -> str | None:
    """A map's value for a key; None if it has none."""
    if one.kind == "int":
        return FUNCTIONS.known[one.function].means(key)
    request.pure = False
    if one.kind == "prg":
        program = request.site.programs.get(one.command)
        return None if program is None or "\n" in key else program(key)
    value = _read(one.file, request).get(key)
    if value is not None and one.kind == "rnd":
        value = random.choice(value.split("|"))  # noqa: S311 - it spreads load, it hides nothing
    return value or None


Stamp = tuple[int, int, int, int]
_read_already: dict[str, tuple[Stamp, dict[str, str]]] = {}  # by file name: one worker, one identity, one memory


def _read(file: str, request: Request) -> dict[str, str]:
    """The keys and values of a text file: read again when the file has changed."""
    try:
        found = os.stat(file)
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)
        known = _read_already.get(file)
        if known is None or known[0] != stamp:
            with open(file, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
                known = _read_already[file] = stamp, parse_text(lines.read())
    except OSError as error:
        request.log(Level.ERROR, "rewrite", f"the map {file} cannot be read: {error.strerror}")
        return {}
    return known[1]


def parse_text(text: str) -> dict[str, str]:
    """The keys and values of a text map."""
    values: dict[str, str] = {}
    for line in text.split("\n"):
        if line and line[0] not in f"#{SPACE}":
            key, *rest = _split(line)
            if rest:
                values.setdefault(key, rest[0])
    return values


def _split(line: str) -> list[str]:
    """The words of a line, cut where C's isspace() says so and nowhere else."""
    return [word for word in line.translate(_BLANKS).split(" ") if word]


_BLANKS = {ord(char): " " for char in SPACE}
