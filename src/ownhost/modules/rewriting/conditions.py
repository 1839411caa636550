"""RewriteCond, parsed when the configuration is read; and the tests of texts, files and URLs."""

from __future__ import annotations

import operator
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from ownhost.config.arguments import known_word
from ownhost.config.directive import Call
from ownhost.config.expression import Condition
from ownhost.config.expression_parser import parse_condition
from ownhost.config.regex import Pattern
from ownhost.config.words import Word, Words
from ownhost.http.message import HTTPError
from ownhost.http.wire import wire
from ownhost.modules.rewriting.arguments import split_flags, split_line
from ownhost.modules.rewriting.template import Template, parse
from ownhost.request.redirects import subrequest
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_EXECUTABLE = 0o111


@dataclass(frozen=True, slots=True)
class RuleCondition:
    """A RewriteCond. It has a regex, an expression, or a test."""

    test_string: Template
    pattern: str  # as written
    negated: bool = False
    regex: Pattern | None = None
    expression: Condition | None = None
    test: str = ""  # its name in `TESTS`
    operand: str = ""  # what a comparison compares with
    ignore_case: bool = False
    or_next: bool = False
    no_vary: bool = False


class Asker(Protocol):
    """The context of a test: a request, and a log for the result of a look ahead."""

    request: Request

    def trace(self, level: int, message: str, *values: object, here: bool = True) -> None:
        """Log a step, if the level asks for it."""


# Comparisons


def number(text: str) -> int:
    """The number that a text begins with, as C's atoi: 0 if there is none."""
    match = _NUMBER.match(text)
    return int(match[1][:20]) if match else 0


def _numbers(holds: Callable[[int, int], bool]) -> Test:
    return lambda _, condition, text: holds(number(text), number(condition.operand))


def _texts(holds: Callable[[int, int], bool]) -> Test:
    """A comparison of texts. A shorter one comes first, unless case is ignored, as in Apache."""

    def test(_: Asker, condition: RuleCondition, text: str) -> bool:
        first, second = (one.encode("utf-8", "surrogateescape") for one in (text, condition.operand))
        if condition.ignore_case:
            first, second = first.lower(), second.lower()
        elif len(first) != len(second):
            return holds(len(first), len(second))
        return holds((first > second) - (first < second), 0)

    return test


# Files and URLs


def _files(holds: Callable[[os.stat_result], bool], *, follow: bool = True) -> Test:
    """A test of a file name, or of a link's target."""

    def test(asker: Asker, _: RuleCondition, name: str) -> bool:
        request = asker.request
        if request.stat is None or name.rstrip("/") != request.filename.rstrip("/"):
            request.pure = False  # another file's state, which a remembered response would not check again
        if not name.startswith("/"):
            return False
        try:
            return holds(os.stat(name, follow_symlinks=follow))
        except (OSError, ValueError):
            return False

    return test


def _url_is_allowed(asker: Asker, _: RuleCondition, url: str) -> bool:
    if not url or not may_look_ahead(asker.request):
        return False
    status = look_at_url(asker.request, url)[1]
    asker.trace(5, "RewriteCond URI (-U check: path=%s -> status=%d", url, status, here=False)
    return status < 400


def _file_is_allowed(asker: Asker, _: RuleCondition, name: str) -> bool:
    if not name or not may_look_ahead(asker.request):
        return False
    inner, status = look_at_file(asker.request, name)
    asker.trace(5, "RewriteCond file (-F check: path=%s -> file=%s status=%d", name, inner.filename, status, here=False)
    return status < 300 and inner.stat is not None and not inner.path_info


def may_look_ahead(request: Request) -> bool:
    """Whether another URI may be looked at: not from within a look at the same one."""
    outer = request.previous
    return not request.is_subrequest or outer is None or outer.uri != request.uri


def look_at_url(request: Request, url: str) -> tuple[Request, int]:
    """A request for another URI, advanced up to its handler, and its status there."""
    path, mark, query = url.partition("?")
    inner = _look(request, "")
    try:
        inner.uri = request.site.clean(wire(path))
        inner.query = wire(query) if mark else None
    except HTTPError as error:
        return inner, error.status
    return inner, _status(inner)


def look_at_file(request: Request, name: str) -> tuple[Request, int]:
    """A request for a file, whatever URI it has, advanced up to its handler, and its status."""
    if not name.startswith("/"):
        name = f"{request.filename.rpartition('/')[0]}/{name}"
    inner = _look(request, name)
    return inner, _status(inner)


def _look(request: Request, filename: str) -> Request:
    request.pure = False
    return subrequest(request, "", filename=filename)


def _status(inner: Request) -> int:
    """The result of a request before its handler runs."""
    try:
        response = advance(inner, Phase.FIXUPS)
    except HTTPError as error:
        return error.status
    return 200 if response is None else response.status


# The words of RewriteCond

Test = Callable[[Asker, RuleCondition, str], bool]  # with the test string's value, before "!"

TESTS: Words[Test] = Words(
    "Tests of RewriteCond",
    "test",
    Word("-f", "", "Is the name of a regular file.", _files(lambda found: stat.S_ISREG(found.st_mode))),
    Word("-d", "", "Is the name of a folder.", _files(lambda found: stat.S_ISDIR(found.st_mode))),
    Word(
        "-l",
        "",
        "Is the name of a symbolic link.",
        _files(lambda found: stat.S_ISLNK(found.st_mode), follow=False),
        ("-L", "-h"),
    ),
    Word(
        "-s",
        "",
        "Is the name of a regular file that is not empty.",
        _files(lambda found: stat.S_ISREG(found.st_mode) and found.st_size > 0),
    ),
    Word(
        "-x",
        "",
        "Is the name of something that some user may execute.",
        _files(lambda found: bool(found.st_mode & _EXECUTABLE)),
    ),
    Word("-F", "", "Is the name of a file that would be served, as a subrequest says.", _file_is_allowed),
    Word("-U", "", "Is a path of this server that the client may see, as a subrequest says.", _url_is_allowed),
    Word("<", "TEXT", "Comes before a text. A shorter text comes before a longer one.", _texts(operator.lt)),
    Word("<=", "TEXT", "Comes before a text, or is the same.", _texts(operator.le)),
    Word("=", "TEXT", 'Is the same as a text; ="" tests whether it is empty.', _texts(operator.eq)),
    Word(">", "TEXT", "Comes after a text.", _texts(operator.gt)),
    Word(">=", "TEXT", "Comes after a text, or is the same.", _texts(operator.ge)),
    Word("-lt", "NUMBER", "Begins with a number that is less.", _numbers(operator.lt)),
    Word("-le", "NUMBER", "Begins with a number that is less, or the same.", _numbers(operator.le)),
    Word("-eq", "NUMBER", "Begins with the same number.", _numbers(operator.eq)),
    Word("-ne", "NUMBER", "Begins with another number.", _numbers(operator.ne)),
    Word("-gt", "NUMBER", "Begins with a number that is greater.", _numbers(operator.gt)),
    Word("-ge", "NUMBER", "Begins with a number that is greater, or the same.", _numbers(operator.ge)),
    form="{name}{arguments}",
)
CONDITION_FLAGS: Words[str] = Words(  # for fields of `RuleCondition`
    "Flags of RewriteCond",
    "flag",
    Word("NC", "", "Case does not matter.", "ignore_case", ("nocase",)),
    Word("OR", "", "This condition or the next must be true.", "or_next", ("ornext",)),
    Word("NV", "", "Does not add the fields that it looks at to Vary.", "no_vary", ("novary",)),
    any_case=True,
)


def parse_rule_condition(call: Call) -> RuleCondition:
    """Parse RewriteCond. Raises ArgumentError."""
    test_string, pattern, flags = split_line(call.raw, "a test string", "a pattern")
    said = {known_word(CONDITION_FLAGS, name).means: True for name, _ in split_flags(flags)}
    negated = pattern.startswith("!")
    rest = pattern[negated:]
    condition = replace(RuleCondition(parse(test_string), pattern, negated), **said)  # type: ignore[arg-type]
    if test_string.lower() == "expr":
        return replace(condition, expression=parse_condition(rest, call.source))
    test, operand = _test(rest)
    if not test:
        return replace(condition, regex=Pattern(rest, condition.ignore_case, call.source))
    return replace(condition, test=test, operand=operand)


def _test(pattern: str) -> tuple[str, str]:
    """The name of the test in a pattern without "!", and its operand; "" for none."""
    word = TESTS.get(pattern)
    if word is not None and not word.arguments:
        return word.name, ""
    for length in (3, 2, 1):
        word = TESTS.get(pattern[:length])
        # Of the comparisons, only <= and >= may have an empty operand; the others alone are
        # patterns.
        if word is not None and word.arguments and (len(pattern) > length or pattern in ("<=", ">=")):
            return word.name, "" if pattern == '=""' else pattern[length:]
    return "", ""
