"""What a client asks of a listing: its order, its form, and which names. Source: the query's words of mod_autoindex."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ownhost.http.wire import from_bytes, wire
from ownhost.modules.listings.options import Look
from ownhost.request.expression_functions import escape

KEYS = {"Name": "N", "Date": "M", "Size": "S", "Description": "D"}
_WORD = re.compile(r"(?:C=([NMSD])|O=([AD])|F=([012])|V=([01])|P=([^&;]*))(?:[&;]|\Z)")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00|%2[Ff]")
_FORMS = {"0": Look.PLAIN, "1": Look.FANCY, "2": Look.FANCY | Look.TABLE}
_LONGEST_PATTERN = 1_024  # bytes: no name has more than 255


@dataclass(frozen=True, slots=True)
class View:
    """How a folder is shown. `key` is one of `KEYS`; `arguments` is what links to other orders add to their query."""

    look: Look
    key: str = "N"
    descending: bool = False
    arguments: str = ""
    shows: Callable[[str], object] | None = None  # whether a name (in the form of a head) is asked for


def asked(query: str | None, look: Look, order: tuple[str, bool]) -> View:
    """The view of a query, given the options and the order (key, descending) that hold without one.

    From the first unknown word on, the query is ignored.
    """
    key, descending = order
    if Look.IGNORE_CLIENT in look:
        return View(look | Look.NO_SORTING, key, descending)
    form = version = pattern = ""
    shows = None
    position, query = 0, query or ""
    while match := _WORD.match(query, position):
        position = match.end()
        key = match[1] or key
        descending = match[2] == "D" if match[2] else descending
        if match[3]:
            look = look & ~_FORMS["2"] | _FORMS[match[3]]
            form = f";F={match[3]}"
        if match[4]:
            look = look | Look.VERSION_SORT if match[4] == "1" else look & ~Look.VERSION_SORT
            version = f";V={match[4]}"
        if match[5] is not None:
            said = _pattern(match[5])
            pattern, shows = (f";P={escape(said)}", matcher(wire(said))) if said else ("", None)
    return View(look, key, descending, form + version + pattern, shows)


def _pattern(raw: str) -> str:
    """A pattern as it was meant; "" if it cannot be one."""
    if _BAD_ESCAPE.search(raw) or len(raw) > _LONGEST_PATTERN:
        return ""
    return from_bytes(unquote_to_bytes(raw.encode("latin-1", "replace")))


def matcher(pattern: str) -> Callable[[str], object]:
    """Whether a name matches a pattern: fnmatch(3) with FNM_NOESCAPE and FNM_PERIOD. Never slow: it is a client's."""
    matches = re.compile(fnmatch.translate(pattern.replace("[^", "[!"))).match
    if pattern.startswith("."):
        return matches
    return lambda name: not name.startswith(".") and matches(name)
