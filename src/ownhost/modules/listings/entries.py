"""The entries of a listing, and their order."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ownhost.modules.listings.options import Look
from ownhost.modules.listings.view import View

_RUN = re.compile(r"[0-9]+|[^0-9\s]|\Z", re.ASCII)
_ZERO = ord("0")


@dataclass(slots=True)
class Entry:
    """A file or folder. Texts are in the form of a head; a folder's name ends with a slash.

    Without columns, an entry is only its name. `size` is bytes, -1 for folders; `modified` is
    seconds since the epoch.
    """

    name: str
    is_folder: bool = False
    is_parent: bool = False  # the name is its path on this server
    size: int = -1
    modified: float | None = None
    icon: str | None = None
    alt: str | None = None
    description: str | None = None


Key = Callable[[Entry], Any]
_CHUNK = 1_000  # entries that are sorted at once


def ordered(entries: Iterable[Entry], view: View) -> list[Entry]:
    """The entries in the order of a view. The folder above is always first, and folders before files if so wanted."""
    return list(merged(sorted_chunks(list(entries), view), view))


def sorted_chunks(entries: list[Entry], view: View) -> Iterator[list[Entry]]:
    """The entries in parts, each in order: none of them takes long."""
    key = _key(view)
    for start in range(0, len(entries), _CHUNK):
        yield sorted(entries[start : start + _CHUNK], key=key, reverse=view.descending)


def merged(chunks: Iterable[list[Entry]], view: View) -> Iterator[Entry]:
    """All entries in order, one at a time."""
    return heapq.merge(*chunks, key=_key(view), reverse=view.descending)


def _key(view: View) -> Key:
    last, by_column = not view.descending, _by_column(view)
    apart = Look.FOLDERS_FIRST in view.look and (Look.FANCY | Look.TABLE) & view.look
    if not apart:
        return lambda entry: (entry.is_parent is not last, by_column(entry))
    return lambda entry: (entry.is_parent is not last, entry.is_folder is not last, by_column(entry))


def _by_column(view: View) -> Key:
    natural = Look.VERSION_SORT in view.look
    by_name = _by_name(natural=natural, any_case=Look.IGNORE_CASE in view.look)
    if view.key == "M":
        return lambda entry: (-1 if entry.modified is None else entry.modified, by_name(entry))
    if view.key == "S":
        return lambda entry: (entry.size, by_name(entry))
    if view.key == "D":
        text: Callable[[str], Any] = natural_key if natural else str
        return lambda entry: (text(entry.description or ""), by_name(entry))
    return by_name


def _by_name(*, natural: bool, any_case: bool) -> Key:
    text: Callable[[str], Any] = natural_key if natural else str
    if any_case:
        return lambda entry: (text(upper(entry.name)), text(entry.name))
    return lambda entry: text(entry.name)


def upper(text: str) -> str:
    """A text with the letters a to z as capitals: others depend on a character set."""
    return text if text.isupper() else re.sub("[a-z]+", lambda match: match[0].upper(), text)


def natural_key(text: str) -> list[tuple[int, ...] | tuple[int, int, int, str]]:
    """A key that sorts texts as apr_strnatcmp(3) compares them.

    Numbers go by their value, those with a zero in front like decimals, before all others. Space
    does not count. Bytes above 127 come first, as C's char has a sign.
    """
    found: list[tuple[int, ...] | tuple[int, int, int, str]] = []
    for run in _RUN.findall(text):
        if run[:1].isdigit():
            found.append((_ZERO, 0, 0, run) if run[0] == "0" else (_ZERO, 1, len(run), run))
        else:
            code = ord(run) if run else 0
            found.append((code - 256 if code > 127 else code,))
    return found
