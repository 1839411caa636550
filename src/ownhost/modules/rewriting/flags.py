"""The flags of RewriteRule and their effects on a rule."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from http import HTTPStatus

from ownhost.config.directive import ArgumentError
from ownhost.config.words import Word, Words
from ownhost.modules.rewriting.template import Template, parse

MAX_ROUNDS = 10_000  # of [N], as in Apache
_NUMBER = re.compile(r"[0-9]{1,9}")
_STATUS = {"permanent": 301, "temp": 302, "seeother": 303}


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
    """How [B] and related flags escape the characters of a group.

    `listed` are those that [B=...] names. Without a list all but letters, digits and "_" are
    escaped, or only control characters and the space ([BCTLS]).
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


@dataclass(slots=True)
class Said:
    """The effects of a rule's flags, while they are read."""

    flags: RuleFlag = NO_FLAGS
    status: int = 302
    answers: bool = False  # [F], [G], and [R] with a status that is not a redirect
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
        """[B] with the effects of other flags on it."""
        if self.escapes is None:
            return None
        return replace(self.escapes, kept=self.kept, space_as_plus=self.space_as_plus)


Says = Callable[[Said, str], None]  # with the flag's value; raises ArgumentError


def _sets(flag: RuleFlag) -> Says:
    def read(said: Said, _value: str) -> None:
        said.flags |= flag

    return read


def _answer(status: HTTPStatus) -> Says:
    def read(said: Said, _value: str) -> None:
        said.answers, said.status = True, status.value

    return read


def _backreferences(said: Said, value: str) -> None:
    said.escapes = replace(said.escapes or Escapes(), listed=value)


def _controls(said: Said, _value: str) -> None:
    said.escapes = replace(said.escapes or Escapes(), controls=True)


def _not_escaped(said: Said, value: str) -> None:
    if not value:
        raise ArgumentError("the flag 'BNE' wants a list of characters: BNE=...")
    said.kept = value


def _no_plus(said: Said, _value: str) -> None:
    said.space_as_plus = False


def _cookie(said: Said, value: str) -> None:
    mark = ";" if value.startswith(";") else ":"
    if len([part for part in value.split(mark) if part]) < 3:
        raise ArgumentError(f"the flag 'CO' wants name{mark}value{mark}domain, not {value!r}")
    said.cookies.append(parse(value))


def _variable(said: Said, value: str) -> None:
    if not value.strip("!:"):
        raise ArgumentError("the flag 'E' wants a variable: E=NAME:VALUE, E=NAME or E=!NAME")
    said.env.append(parse(value))


def _content_type(said: Said, value: str) -> None:
    said.content_type = parse(value)


def _handler(said: Said, value: str) -> None:
    said.handler = parse(value)


def _next(said: Said, value: str) -> None:
    said.flags |= RuleFlag.NEXT
    if value:
        said.rounds = _number("N", value)


def _skip(said: Said, value: str) -> None:
    said.skip = _number("S", value)


def _redirect(said: Said, value: str) -> None:
    said.flags |= RuleFlag.REDIRECT
    if not value:
        return
    if value.lower() in _STATUS:
        said.status = _STATUS[value.lower()]
        return
    try:
        said.status = HTTPStatus(int(value)).value
    except ValueError:
        raise ArgumentError(f"the flag 'R' wants a status, permanent, temp or seeother, not {value!r}") from None
    said.answers = not 300 <= said.status < 400


def _number(name: str, value: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise ArgumentError(f"the flag {name!r} wants a number, not {value!r}")
    return int(value)


def _ignored(_said: Said, _value: str) -> None:
    """[UNC] is only for Windows."""


_F = RuleFlag
_SENSE = "An invalid value is an error."
FLAGS: Words[Says] = Words(
    "Flags of RewriteRule",
    "flag",
    Word(
        "B",
        "[=characters]",
        (
            "Escapes the values of back-references: all characters except letters, digits and _, or "
            "only the listed ones."
        ),
        _backreferences,
        ("backrefescaping",),
    ),
    Word("BCTLS", "", "B escapes only control characters and spaces.", _controls),
    Word("BNE", "=characters", "B does not escape these characters.", _not_escaped),
    Word("BNP", "", "B writes a space as %20, not as +.", _no_plus, ("backrefnoplus", "backrefernoplus")),
    Word("C", "", "If the rule does not apply, skips the rules chained to it.", _sets(_F.CHAIN), ("chain",)),
    Word(
        "CO",
        "=name:value:domain[:minutes[:path[:secure[:httponly[:samesite]]]]]",
        "Sets a cookie.",
        _cookie,
        ("cookie",),
        f"{_SENSE} A cookie with control characters in it is not sent.",
    ),
    Word(
        "DPI",
        "",
        "Drops the request's path info, in a section.",
        _sets(_F.DISCARD_PATH),
        ("d", "discardpath"),
    ),
    Word("E", "=[!]name[:value]", "Sets a variable; with !, removes it.", _variable, ("env",), _SENSE),
    Word("END", "", "Applies no more rules, not even after the internal redirect that follows.", _sets(_F.END)),
    Word("F", "", "Answers with 403.", _answer(HTTPStatus.FORBIDDEN), ("forbidden",)),
    Word("G", "", "Answers with 410.", _answer(HTTPStatus.GONE), ("gone",)),
    Word(
        "H",
        "=handler",
        "Sets the handler of the result.",
        _handler,
        ("handler",),
        "A program's handler that does not exist gives 500.",
    ),
    Word("L", "", "Applies no more rules in this round.", _sets(_F.LAST), ("last",)),
    Word("N", "[=rounds]", f"Begins again with the first rule, {MAX_ROUNDS} rounds at most.", _next, ("next",), _SENSE),
    Word("NC", "", "The pattern matches in any case.", _sets(_F.NO_CASE), ("nocase",)),
    Word("NE", "", "Does not escape special characters of the result.", _sets(_F.NO_ESCAPE), ("noescape",)),
    Word("NS", "", "Does not apply the rule to subrequests.", _sets(_F.NO_SUBREQUEST), ("nosubreq",)),
    Word("P", "", "The server that the result names answers.", _sets(_F.PROXY), ("proxy",)),
    Word(
        "PT",
        "",
        "Treats the result as a path, to which Alias and the like apply, not as a file name.",
        _sets(_F.PASS_THROUGH),
        ("passthrough",),
        "A path that climbs above its root gives 403.",
    ),
    Word("QSA", "", "Keeps the query, after that of the substitution.", _sets(_F.QUERY_APPEND), ("qsappend",)),
    Word("QSD", "", "Drops the query.", _sets(_F.QUERY_DISCARD), ("qsdiscard",)),
    Word("QSL", "", "Begins the query at the last ?, not at the first.", _sets(_F.QUERY_LAST), ("qslast",)),
    Word(
        "R",
        "[=status|permanent|temp|seeother]",
        ("Redirects the client, with 302 or another status. If that is not a redirect's, it is the answer."),
        _redirect,
        ("redirect",),
    ),
    Word("S", "=number", "Skips so many rules, if the rule applies.", _skip, ("skip",), _SENSE),
    Word("T", "=media-type", "Sets the media type of the result.", _content_type, ("type",)),
    Word("UNC", "", "Does nothing: it is for Windows.", _ignored),
    Word("UnsafeAllow3F", "", "Allows a ? in the result that the client sent as %3f.", _sets(_F.UNSAFE_ALLOW_3F)),
    Word(
        "UnsafePrefixStat",
        "",
        "Treats a result as a file name although the client chose its first component.",
        _sets(_F.UNSAFE_PREFIX_STAT),
    ),
    form="{name}{arguments}",
    any_case=True,
)
