"""Shell patterns, as fnmatch(3) and Apache's copy of it read them, translated to regular expressions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ownhost.config.directive import Source
from ownhost.config.regex import Pattern


def is_glob(text: str) -> bool:
    """Whether Apache takes a text as a pattern: an unescaped * or ?, or a [ with a ] after it."""
    bracket = False
    position = 0
    while position < len(text):
        char = text[position]
        if char in "*?" or (char == "]" and bracket):
            return True
        bracket = bracket or char == "["
        position += 2 if char == "\\" else 1
    return False


def compile_glob(pattern: str, source: Source | None = None, *, within_path: bool) -> Pattern:
    """A pattern as a regular expression, anchored at both ends.

    With `within_path`, `*`, `?` and `[...]` never match a "/": each stands for a part of one
    component.
    """
    return Pattern(rf"\A{translate(pattern, within_path=within_path)}\z", source=source)


def translate(pattern: str, *, within_path: bool) -> str:
    """A pattern as regular expression text, not anchored."""
    anything = "[^/]" if within_path else "."
    result = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            result.append(f"{anything}*+" if position == len(pattern) else f"{anything}*")
        elif char == "?":
            result.append(anything)
        elif char == "[" and (bracket := _bracket(pattern, position)):
            text, position = bracket
            result.append(f"(?!/){text}" if within_path else text)
        else:
            if char == "\\" and position < len(pattern):
                char = pattern[position]
                position += 1
            result.append(re.escape(char))
    return "".join(result)


def _bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """The bracket expression whose text begins at `start`, and the position after it; None if it never closes."""
    position = start
    negated = pattern[position : position + 1] in ("!", "^") and position < len(pattern)
    position += negated
    items: list[str] = []
    while position < len(pattern) and (pattern[position] != "]" or not items):
        low, position = _member(pattern, position)
        if pattern[position : position + 1] == "-" and pattern[position + 1 : position + 2] not in ("", "]"):
            high, position = _member(pattern, position + 1)
            if low > high:
                continue  # an empty range matches nothing
            items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    if position >= len(pattern) or not items:
        return None
    return f"[{'^' if negated else ''}{''.join(items)}]", position + 1


def _member(pattern: str, position: int) -> tuple[str, int]:
    if pattern[position] == "\\" and position + 1 < len(pattern):
        position += 1
    return pattern[position], position + 1


def expand_path(pattern: str) -> Iterator[str]:
    """The files that an Include's argument names: a file, a folder's files (folders in it too), or a pattern's.

    Sorted by name at each level. A pattern may have wildcards in any component; "*" does not match
    names that begin with a dot. Raises `OSError` for a folder that cannot be read, ValueError past
    `MAX_FOLDER_DEPTH`.
    """
    for path in _matches(pattern) if is_glob(pattern) else [pattern]:
        yield from _files_under(path, 0)


MAX_FOLDER_DEPTH = 20


def _files_under(path: str, depth: int) -> Iterator[str]:
    if not Path(path).is_dir():
        yield path
        return
    if depth >= MAX_FOLDER_DEPTH:
        raise ValueError(f"folders nested deeper than {MAX_FOLDER_DEPTH} levels at {path}")
    for entry in sorted(map(str, Path(path).iterdir()), key=os.fsencode):
        yield from _files_under(entry, depth + 1)


def _matches(pattern: str) -> list[str]:
    """The paths that match a pattern component by component."""
    found = [""]
    components = pattern.split("/")[1:]
    for index, component in enumerate(components):
        if not component:
            continue
        if not is_glob(component):
            found = [f"{folder}/{component}" for folder in found]
            continue
        regex = compile_glob(component, within_path=True)
        names = (f"{folder}/{name}" for folder in found for name in _entries(folder or "/", regex, component))
        below = index + 1 < len(components)
        found = sorted((path for path in names if not below or Path(path).is_dir()), key=os.fsencode)
    return [path for path in found if os.path.lexists(path)]


def _entries(folder: str, regex: Pattern, component: str) -> list[str]:
    """The names in a folder that match; none if the folder does not exist."""
    try:
        names = [entry.name for entry in Path(folder).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name for name in names if regex.search(name) and (name[0] != "." or component[0] == ".")]
