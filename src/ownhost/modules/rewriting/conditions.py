"""Whether a RewriteCond holds: comparisons, and tests of files and URLs."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable

from ownhost.http.message import HTTPError
from ownhost.http.wire import wire
from ownhost.modules.rewriting.rules import RuleCondition, Test
from ownhost.request.redirects import subrequest
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_EXECUTABLE = 0o111


def compare(condition: RuleCondition, text: str) -> bool:
    """A comparison of texts or numbers."""
    if condition.test in _NUMBERS:
        return _NUMBERS[condition.test](number(text) - number(condition.operand))
    return _TEXTS[condition.test](_order(text, condition.operand, condition.ignore_case, condition.test))


def number(text: str) -> int:
    """The number that a text begins with, as C's atoi: 0 where there is none."""
    match = _NUMBER.match(text)
    return int(match[1][:20]) if match else 0


def _order(one: str, other: str, ignore_case: bool, test: Test) -> int:
    """-1, 0 or 1. A shorter text comes first, unless case is ignored: so says Apache."""
    first, second = (text.encode("utf-8", "surrogateescape") for text in (one, other))
    if ignore_case:
        first, second = first.lower(), second.lower()
    elif len(first) != len(second) and test is not Test.EQUAL:
        return -1 if len(first) < len(second) else 1
    return (first > second) - (first < second)


_TEXTS: dict[Test, Callable[[int], bool]] = {
    Test.LESS: lambda order: order < 0,
    Test.LESS_OR_EQUAL: lambda order: order <= 0,
    Test.EQUAL: lambda order: order == 0,
    Test.GREATER: lambda order: order > 0,
    Test.GREATER_OR_EQUAL: lambda order: order >= 0,
}
_NUMBERS: dict[Test, Callable[[int], bool]] = {
    Test.NUMBER_LESS: lambda difference: difference < 0,
    Test.NUMBER_LESS_OR_EQUAL: lambda difference: difference <= 0,
    Test.NUMBER_EQUAL: lambda difference: difference == 0,
    Test.NUMBER_GREATER: lambda difference: difference > 0,
    Test.NUMBER_GREATER_OR_EQUAL: lambda difference: difference >= 0,
}
_FILES: dict[Test, Callable[[os.stat_result], bool]] = {
    Test.IS_FILE: lambda found: stat.S_ISREG(found.st_mode),
    Test.IS_FOLDER: lambda found: stat.S_ISDIR(found.st_mode),
    Test.IS_LINK: lambda found: stat.S_ISLNK(found.st_mode),
    Test.HAS_SIZE: lambda found: stat.S_ISREG(found.st_mode) and found.st_size > 0,
    Test.IS_EXECUTABLE: lambda found: bool(found.st_mode & _EXECUTABLE),
}
FILE_TESTS = frozenset(_FILES)


def test_file(test: Test, name: str, request: Request) -> bool:
    """A test of a file name."""
    if request.stat is None or name.rstrip("/") != request.filename.rstrip("/"):
        request.pure = False  # another file's state, which nobody looks at again for an answer that is remembered
    if not name.startswith("/"):
        return False
    try:
        found = os.lstat(name) if test is Test.IS_LINK else os.stat(name)
    except (OSError, ValueError):
        return False
    return _FILES[test](found)


def may_look_ahead(request: Request) -> bool:
    """Whether another URI may be looked at: not from within a look at the very same one."""
    outer = request.previous
    return not request.is_subrequest or outer is None or outer.uri != request.uri


def look_at_url(request: Request, url: str) -> tuple[Request, int]:
    """A request for another URI, taken up to its handler, and the status that it has then."""
    path, mark, query = url.partition("?")
    inner = _look(request, "")
    try:
        inner.uri = request.site.clean(wire(path))
        inner.query = wire(query) if mark else None
    except HTTPError as error:
        return inner, error.status
    return inner, _status(inner)


def look_at_file(request: Request, name: str) -> tuple[Request, int]:
    """A request for a file, whatever URI it has, taken up to its handler, and its status."""
    if not name.startswith("/"):
        name = f"{request.filename.rpartition('/')[0]}/{name}"
    inner = _look(request, name)
    return inner, _status(inner)


def _look(request: Request, filename: str) -> Request:
    request.pure = False
    return subrequest(request, "", filename=filename)


def _status(inner: Request) -> int:
    """What comes of a request before its handler runs."""
    try:
        response = advance(inner, Phase.FIXUPS)
    except HTTPError as error:
        return error.status
    return 200 if response is None else response.status
