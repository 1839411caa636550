"""RewriteRule and RewriteCond as data: what they say, parsed and checked when the configuration is read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Flag, StrEnum, auto
from http import HTTPStatus
from typing import TypeVar

from ownhost.config.directive import ArgumentError, Call, Source
from ownhost.config.expression import Condition
from ownhost.config.expression_parser import parse_condition
from ownhost.config.regex import Pattern
from ownhost.modules.rewriting.arguments import split_flags, split_line
from ownhost.modules.rewriting.template import Template, parse
from ownhost.modules.rewriting.urls import first_component, is_in_root

T = TypeVar("T")
MAX_ROUNDS = 10_000  # of [N], as in Apache
_NUMBER = re.compile(r"[0-9]{1,9}")


class RuleFlag(Flag):
    """The flags of RewriteRule that have no value."""

    CHAIN = auto()
    DISCARD_PATH = auto()
    END = auto()
    LAST = auto()
    NEXT = auto()
    NO_CASE = auto()
    NO_ESCAPE = auto()
    NO_SUBREQUEST = auto()
    PASS_THROUGH = auto()
    PROXY = auto()
    QUERY_APPEND = auto()
    QUERY_DISCARD = auto()
    QUERY_LAST = auto()
    REDIRECT = auto()
    UNSAFE_ALLOW_3F = auto()
    UNSAFE_PREFIX_STAT = auto()


NO_FLAGS = RuleFlag(0)


@dataclass(frozen=True, slots=True)
class Escapes:
    """How [B] and its relatives write the characters of a group.

    `listed` are those that [B=...] names; without a list all but letters, digits and "_" are escaped, or only control
    characters and the space ([BCTLS]).
    """

    listed: str = ""
    kept: str = ""  # [BNE=...]
    controls: bool = False
    space_as_plus: bool = True

    def apply(self, text: str) -> str:
        """A group's text, escaped."""
        data = text.encode("utf-8", "surrogateescape")
        return "".join(map(self._byte, data)) if data.isascii() else self._apply_bytes(data)

    def _apply_bytes(self, data: bytes) -> str:
        written = "".join(map(self._byte, data))  # a byte above ASCII that stays is a character of ISO 8859-1 here
        return written.encode("latin-1").decode("utf-8", "surrogateescape")

    def _byte(self, code: int) -> str:
        char = chr(code)
        if not self._escapes(char) or char in self.kept or char == "_" or (char.isascii() and char.isalnum()):
            return char
        return "+" if char == " " and self.space_as_plus else f"%{code:02x}"

    def _escapes(self, char: str) -> bool:
        if char in self.listed:
            return True
        return (char <= " " or char == "\x7f") if self.controls else not self.listed


@dataclass(frozen=True, slots=True)
class Rule:
    """A RewriteRule with the conditions in front of it."""

    pattern: str  # as written, without "!"
    regex: Pattern
    negated: bool
    substitution: Template | None  # None for "-"
    written: str  # the substitution as written
    flags: RuleFlag = NO_FLAGS
    chained: bool = False  # the flag CHAIN, which is asked of every rule that does not apply
    conditions: tuple[RuleCondition, ...] = ()
    status: int = 302  # of a redirect, or of the answer where `answers`
    answers: bool = False  # [F], [G], and [R] with a status that is no redirect
    escapes: Escapes | None = None
    env: tuple[Template, ...] = ()
    cookies: tuple[Template, ...] = ()
    content_type: Template | None = None
    handler: Template | None = None
    skip: int = 0
    rounds: int = MAX_ROUNDS
    in_root: bool | None = None  # whether the root directory has its first component; None where that is not literal
    source: Source | None = field(default=None, compare=False)

    def __contains__(self, flag: RuleFlag) -> bool:
        return bool(self.flags & flag)

    def templates(self) -> Iterator[Template]:
        """All templates of the rule and its conditions."""
        yield from (condition.test_string for condition in self.conditions)
        yield from self.env
        yield from self.cookies
        yield from (one for one in (self.substitution, self.content_type, self.handler) if one is not None)


class Test(StrEnum):
    """What a RewriteCond asks of its test string."""

    REGEX = "regex"
    EXPRESSION = "expr"
    IS_FILE = "-f"
    IS_FOLDER = "-d"
    IS_LINK = "-l"
    HAS_SIZE = "-s"
    IS_EXECUTABLE = "-x"
    FILE_ALLOWED = "-F"
    URL_ALLOWED = "-U"
    LESS = "<"
    LESS_OR_EQUAL = "<="
    EQUAL = "="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    NUMBER_LESS = "-lt"
    NUMBER_LESS_OR_EQUAL = "-le"
    NUMBER_EQUAL = "-eq"
    NUMBER_GREATER = "-gt"
    NUMBER_GREATER_OR_EQUAL = "-ge"


@dataclass(frozen=True, slots=True)
class RuleCondition:
    """A RewriteCond. `operand` is what a comparison compares with; `regex` or `expression` is set for such a test."""

    test_string: Template
    pattern: str  # as written
    test: Test
    negated: bool = False
    operand: str = ""
    regex: Pattern | None = None
    expression: Condition | None = None
    ignore_case: bool = False
    or_next: bool = False
    no_vary: bool = False


# RewriteRule


def parse_rule(call: Call) -> Rule:
    """Parse RewriteRule. Raises ArgumentError."""
    pattern, substitution, flags = split_line(call.raw, "a pattern", "a substitution")
    draft = _Draft()
    for name, value in split_flags(flags):
        _find_flag(name, _RULE_FLAGS)(draft, value)
    negated = pattern.startswith("!")
    pattern = pattern[negated:]
    template = parse(substitution)
    return Rule(
        pattern=pattern,
        regex=Pattern(pattern, RuleFlag.NO_CASE in draft.flags, call.source),
        negated=negated,
        substitution=None if substitution == "-" or draft.answers else template,
        written=substitution,
        flags=draft.flags,
        chained=RuleFlag.CHAIN in draft.flags,
        status=draft.status,
        answers=draft.answers,
        escapes=draft.made_escapes(),
        env=tuple(draft.env),
        cookies=tuple(draft.cookies),
        content_type=draft.content_type,
        handler=draft.handler,
        skip=draft.skip,
        rounds=draft.rounds,
        in_root=_is_in_root(template),
        source=call.source,
    )


def _is_in_root(substitution: Template) -> bool | None:
    """Whether a substitution's first component is in the root directory; None where it is not written out.

    Apache looks when a request comes. Here it is looked up once, so that all who run the rule agree.
    """
    literal = substitution.literal
    if not literal.startswith("/") or ("/" not in literal[1:] and len(substitution.parts) > 1):
        return None
    return is_in_root(first_component(literal))


@dataclass(slots=True)
class _Draft:
    """What a rule's flags say, while they are read."""

    flags: RuleFlag = NO_FLAGS
    status: int = 302
    answers: bool = False
    escapes: Escapes | None = None
    kept: str = ""
    space_as_plus: bool = True
    env: list[Template] = field(default_factory=list)
    cookies: list[Template] = field(default_factory=list)
    content_type: Template | None = None
    handler: Template | None = None
    skip: int = 0
    rounds: int = MAX_ROUNDS

    def made_escapes(self) -> Escapes | None:
        """[B] with what other flags say of it."""
        if self.escapes is None:
            return None
        return replace(self.escapes, kept=self.kept, space_as_plus=self.space_as_plus)


_Setter = Callable[[_Draft, str], None]


def _sets(flag: RuleFlag) -> _Setter:
    def read(draft: _Draft, _value: str) -> None:
        draft.flags |= flag

    return read


def _answer(status: HTTPStatus) -> _Setter:
    def read(draft: _Draft, _value: str) -> None:
        draft.answers, draft.status = True, status.value

    return read


def _backreferences(draft: _Draft, value: str) -> None:
    draft.escapes = replace(draft.escapes or Escapes(), listed=value)


def _controls(draft: _Draft, _value: str) -> None:
    draft.escapes = replace(draft.escapes or Escapes(), controls=True)


def _not_escaped(draft: _Draft, value: str) -> None:
    if not value:
        raise ArgumentError("the flag 'BNE' wants a list of characters: BNE=...")
    draft.kept = value


def _no_plus(draft: _Draft, _value: str) -> None:
    draft.space_as_plus = False


def _cookie(draft: _Draft, value: str) -> None:
    mark = ";" if value.startswith(";") else ":"
    if len([part for part in value.split(mark) if part]) < 3:
        raise ArgumentError(f"the flag 'CO' wants name{mark}value{mark}domain, not {value!r}")
    draft.cookies.append(parse(value))


def _variable(draft: _Draft, value: str) -> None:
    if not value.strip("!:"):
        raise ArgumentError("the flag 'E' wants a variable: E=NAME:VALUE, E=NAME or E=!NAME")
    draft.env.append(parse(value))


def _content_type(draft: _Draft, value: str) -> None:
    draft.content_type = parse(value)


def _handler(draft: _Draft, value: str) -> None:
    draft.handler = parse(value)


def _next(draft: _Draft, value: str) -> None:
    draft.flags |= RuleFlag.NEXT
    if value:
        draft.rounds = _number("N", value)


def _skip(draft: _Draft, value: str) -> None:
    draft.skip = _number("S", value)


def _redirect(draft: _Draft, value: str) -> None:
    draft.flags |= RuleFlag.REDIRECT
    if not value:
        return
    names = {"permanent": 301, "temp": 302, "seeother": 303}
    if value.lower() in names:
        draft.status = names[value.lower()]
        return
    try:
        draft.status = HTTPStatus(int(value)).value
    except ValueError:
        raise ArgumentError(f"the flag 'R' wants a status, permanent, temp or seeother, not {value!r}") from None
    draft.answers = not 300 <= draft.status < 400


def _number(name: str, value: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise ArgumentError(f"the flag {name!r} wants a number, not {value!r}")
    return int(value)


def _ignored(_draft: _Draft, _value: str) -> None:
    """[UNC] is for Windows alone."""


_RULE_FLAGS: dict[str, _Setter] = {
    **dict.fromkeys(("b", "backrefescaping"), _backreferences),
    "bctls": _controls,
    "bne": _not_escaped,
    **dict.fromkeys(("bnp", "backrefnoplus", "backrefernoplus"), _no_plus),
    **dict.fromkeys(("c", "chain"), _sets(RuleFlag.CHAIN)),
    **dict.fromkeys(("co", "cookie"), _cookie),
    **dict.fromkeys(("d", "dpi", "discardpath"), _sets(RuleFlag.DISCARD_PATH)),
    **dict.fromkeys(("e", "env"), _variable),
    "end": _sets(RuleFlag.END),
    **dict.fromkeys(("f", "forbidden"), _answer(HTTPStatus.FORBIDDEN)),
    **dict.fromkeys(("g", "gone"), _answer(HTTPStatus.GONE)),
    **dict.fromkeys(("h", "handler"), _handler),
    **dict.fromkeys(("l", "last"), _sets(RuleFlag.LAST)),
    **dict.fromkeys(("n", "next"), _next),
    **dict.fromkeys(("nc", "nocase"), _sets(RuleFlag.NO_CASE)),
    **dict.fromkeys(("ne", "noescape"), _sets(RuleFlag.NO_ESCAPE)),
    **dict.fromkeys(("ns", "nosubreq"), _sets(RuleFlag.NO_SUBREQUEST)),
    **dict.fromkeys(("p", "proxy"), _sets(RuleFlag.PROXY)),
    **dict.fromkeys(("pt", "passthrough"), _sets(RuleFlag.PASS_THROUGH)),
    **dict.fromkeys(("qsa", "qsappend"), _sets(RuleFlag.QUERY_APPEND)),
    **dict.fromkeys(("qsd", "qsdiscard"), _sets(RuleFlag.QUERY_DISCARD)),
    **dict.fromkeys(("qsl", "qslast"), _sets(RuleFlag.QUERY_LAST)),
    **dict.fromkeys(("r", "redirect"), _redirect),
    **dict.fromkeys(("s", "skip"), _skip),
    **dict.fromkeys(("t", "type"), _content_type),
    "unc": _ignored,
    "unsafeallow3f": _sets(RuleFlag.UNSAFE_ALLOW_3F),
    "unsafeprefixstat": _sets(RuleFlag.UNSAFE_PREFIX_STAT),
}


def _find_flag(name: str, flags: dict[str, T]) -> T:
    found = flags.get(name.lower())
    if found is None:
        near = difflib.get_close_matches(name.lower(), flags, 3, 0.5)
        best = min(near, key=lambda one: abs(len(one) - len(name)), default="").upper()
        raise ArgumentError(f"unknown flag {name!r}" + (f"; did you mean {best!r}?" if best else ""))
    return found


# RewriteCond

_CONDITION_FLAGS: dict[str, str] = {
    **dict.fromkeys(("nc", "nocase"), "NC"),
    **dict.fromkeys(("or", "ornext"), "OR"),
    **dict.fromkeys(("nv", "novary"), "NV"),
}
_FILE_TESTS = {
    "-f": Test.IS_FILE,
    "-d": Test.IS_FOLDER,
    "-l": Test.IS_LINK,
    "-h": Test.IS_LINK,
    "-L": Test.IS_LINK,
    "-s": Test.HAS_SIZE,
    "-x": Test.IS_EXECUTABLE,
    "-F": Test.FILE_ALLOWED,
    "-U": Test.URL_ALLOWED,
}
_NUMBER_TESTS = {test.value: test for test in Test if test.name.startswith("NUMBER_")}


def parse_rule_condition(call: Call) -> RuleCondition:
    """Parse RewriteCond. Raises ArgumentError."""
    test_string, pattern, flags = split_line(call.raw, "a test string", "a pattern")
    said = {_find_flag(name, _CONDITION_FLAGS) for name, _ in split_flags(flags)}
    negated = pattern.startswith("!")
    rest = pattern[negated:]
    condition = RuleCondition(
        parse(test_string),
        pattern,
        Test.REGEX,
        negated,
        ignore_case="NC" in said,
        or_next="OR" in said,
        no_vary="NV" in said,
    )
    if test_string.lower() == "expr":
        return replace(condition, test=Test.EXPRESSION, expression=parse_condition(rest, call.source))
    if rest.startswith("-ne") and len(rest) > 3:  # "!-ne" is "-eq"
        return replace(condition, test=Test.NUMBER_EQUAL, operand=rest[3:], negated=not negated)
    test, operand = _test(rest)
    if test is Test.REGEX:
        return replace(condition, regex=Pattern(rest, condition.ignore_case, call.source))
    return replace(condition, test=test, operand=operand)


def _test(pattern: str) -> tuple[Test, str]:
    """The test that a pattern without "!" stands for, and what it compares with."""
    if pattern in _FILE_TESTS:
        return _FILE_TESTS[pattern], ""
    if len(pattern) > 3 and pattern[:3] in _NUMBER_TESTS:
        return _NUMBER_TESTS[pattern[:3]], pattern[3:]
    if len(pattern) < 2 or pattern[0] not in "<>=":
        return Test.REGEX, pattern
    if pattern.startswith(("<=", ">=")):
        return Test(pattern[:2]), pattern[2:]
    operand = pattern[1:]
    return Test(pattern[0]), "" if pattern == '=""' else operand
