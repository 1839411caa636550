"""mod_speling: addresses with a mistake lead to the file that was meant. The name is spelt as Apache spells it.

As in Apache, names are found that access rules may refuse afterwards: the address tells that such
a file exists.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from enum import IntEnum
from html import escape
from itertools import islice
from typing import Any

from ownhost.config.arguments import flag
from ownhost.config.directive import ANYWHERE, Call, Directive, Override, Setting, declare
from ownhost.http.level import Level
from ownhost.http.message import HTTPError, Response
from ownhost.http.wire import to_bytes
from ownhost.modules.core_files import ACCEPT_PATH_INFO
from ownhost.request import errors, expression_functions
from ownhost.request.module import Module, register
from ownhost.request.request import Request

MOST_NAMES = 50_000  # of a folder that are looked at
MOST_SHOWN = 100  # on the page with several


class Mistake(IntEnum):
    """What is wrong with a name, the likeliest first."""

    CASE = 1
    TRANSPOSED = 2
    MISSING = 3
    EXTRA = 4
    MISTYPED = 5
    EXTENSION = 6


_SAID = {
    Mistake.CASE: "miscapitalized",
    Mistake.TRANSPOSED: "transposed characters",
    Mistake.MISSING: "character missing",
    Mistake.EXTRA: "extra character",
    Mistake.MISTYPED: "mistyped character",
    Mistake.EXTENSION: "common basename",
}


@dataclass(frozen=True, slots=True)
class Spelling:
    """Which mistakes are corrected."""

    checks: bool = False
    case_only: bool = False
    basename: bool = False


SPELLING = Setting("CheckSpelling", Spelling())


def _parse(name: str) -> Any:
    on = flag()

    def parse(call: Call) -> tuple[str, bool]:
        return name, on(call)

    return parse


def _fold(before: Spelling | None, said: tuple[str, bool]) -> Spelling:
    name, on = said
    changed: dict[str, Any] = {name: on}
    return replace(before or Spelling(), **changed)


for _name, _field, _help in (
    (
        "CheckSpelling",
        "checks",
        "Whether an address with one mistake in its last name leads to the file that is meant.",
    ),
    ("CheckCaseOnly", "case_only", "Whether CheckSpelling corrects capitals alone."),
    (
        "CheckBasenameMatch",
        "basename",
        "Whether CheckSpelling suggests files that differ only after the first dot.",
    ),
):
    declare(
        Directive(
            _name,
            "mod_speling",
            "On|Off",
            ANYWHERE,
            _help,
            _parse(_field),
            setting=SPELLING,
            fold=_fold,
            default="Off",
            override=Override.OPTIONS,
        )
    )


def mistake(wrong: str, right: str, spelling: Spelling) -> Mistake | None:
    """The mistake that turns a name into another; None if it takes more than one, or one that is not looked for.

    As in Apache, it is of one byte, and only the letters a to z have capitals.
    """
    one, other = to_bytes(wrong).lower(), to_bytes(right).lower()
    if one == other:
        return Mistake.CASE
    found = None if spelling.case_only else _one_mistake(one, other)
    if found is None and spelling.basename and one.partition(b".")[0] == other.partition(b".")[0]:
        return Mistake.EXTENSION
    return found


def _one_mistake(wrong: bytes, right: bytes) -> Mistake | None:
    pairs = enumerate(zip(wrong, right, strict=False))
    start = next((place for place, (one, other) in pairs if one != other), min(len(wrong), len(right)))
    said, meant = wrong[start:], right[start:]
    if said and meant:
        if said[:2] == meant[1::-1] and len(said) > 1 and said[2:] == meant[2:]:
            return Mistake.TRANSPOSED
        if said[1:] == meant[1:]:
            return Mistake.MISTYPED
    if said and said[1:] == meant:
        return Mistake.EXTRA
    return Mistake.MISSING if meant and said == meant[1:] else None


def fixup(request: Request) -> Response | None:
    """Redirect to the file that was meant. Raises HTTPError 300 if it may be one of several."""
    spelling = request.settings[SPELLING]
    if not spelling.checks or request.stat is not None or request.method not in ("GET", "HEAD"):
        return None
    if request.is_proxied or request.is_subrequest or request.uri == "/" or not request.filename:
        return None
    if request.path_info and request.settings[ACCEPT_PATH_INFO] == "Off":
        return None
    folder, _, wrong = request.filename.rpartition("/")
    if not wrong or not request.uri.endswith(wrong + request.path_info):
        return None
    request.pure = False
    found = _candidates(f"{folder}/", wrong, spelling)
    if not found:
        return None
    start = request.uri.removesuffix(wrong + request.path_info)
    uris = [(_said(request, f"{start}{name}{request.path_info}"), what) for what, name in found]
    (first, best), *others = uris
    if best is not Mistake.EXTENSION and (not others or others[0][1] is not best):
        request.log(Level.INFO, "speling", f"AH03225: Fixed spelling: {request.uri} to {first}")
        return errors.redirect(request, 301, first)
    reason = f"AH03227: Spelling fix: {request.uri}: {len(uris)} candidates"
    raise HTTPError(300, reason, module="speling", note=_page(uris[:MOST_SHOWN]), level=Level.INFO)


def _candidates(folder: str, wrong: str, spelling: Spelling) -> list[tuple[Mistake, str]]:
    """The names in a folder that may be meant, the likeliest first. None if the name exists: it leads nowhere."""
    try:
        with os.scandir(folder) as scan:
            names = [entry.name for entry in islice(scan, MOST_NAMES)]
    except OSError:
        return []
    if wrong in names:
        return []
    found = ((mistake(wrong, name, spelling), name) for name in names)
    return sorted((what, name) for what, name in found if what is not None)


def _said(request: Request, uri: str) -> str:
    """An address as it is sent."""
    return expression_functions.escape(uri) + (f"?{request.query}" if request.query is not None else "")


def _page(uris: list[tuple[str, Mistake]]) -> str:
    links = "".join(f'<li><a href="{escape(uri)}">{escape(uri)}</a> ({_SAID[what]})</li>\n' for uri, what in uris)
    return f"There is nothing at this address. Perhaps you mean one of these:</p>\n<ul>\n{links}</ul>\n<p>"


# Late: all other modules have had the chance to find a file.
register(
    Module(
        name="mod_speling",
        identifier="speling_module",
        order=95,
        uses=lambda server: server.says(SPELLING),
        fixup=fixup,
    )
)
