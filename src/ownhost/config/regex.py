"""Perl-compatible regular expressions (PCRE2, as Apache uses it) in Python's own syntax.

Both languages share most of their syntax; this translates what is written otherwise, and refuses what would mean
something else. Apache's defaults hold: bytes without Unicode properties (so \\w is ASCII), "." is any character, and
"$" is at the very end only (RegexDefaultOptions DOTALL DOLLAR_ENDONLY). Reference: pcre2pattern(3).

Invariant: a pattern is either compiled with PCRE's meaning or refused with `ArgumentError`.
"""

from __future__ import annotations

import functools
import re
import warnings

from ownhost.config.directive import ArgumentError

_HORIZONTAL = r"\t \xa0"
_VERTICAL = r"\n\x0b\f\r\x85"
_ESCAPES = {  # outside of brackets
    "A": r"\A",
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "h": f"[{_HORIZONTAL}]",
    "H": f"[^{_HORIZONTAL}]",
    "v": f"[{_VERTICAL}]",
    "V": f"[^{_VERTICAL}]",
    "R": rf"(?>\r\n|[{_VERTICAL}])",
    "N": r"[^\n]",
    "e": r"\x1b",
    **{letter: f"\\{letter}" for letter in "abBdDfnrsStwW"},
}
_CLASS_ESCAPES = {  # in brackets
    "h": _HORIZONTAL,
    "v": _VERTICAL,
    "e": r"\x1b",
    **{letter: f"\\{letter}" for letter in "abdDfnrsStwW"},
}
_SETS = frozenset("hvdDsSwW")  # escapes in brackets that stand for several characters
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t-\r ",
    "upper": "A-Z",
    "word": "0-9A-Z_a-z",
    "xdigit": "0-9A-Fa-f",
}
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_TOKEN = re.compile(
    rf"""
      (?P<quoted>\\Q(?P<literal>.*?)(?:\\E|\Z))
    | (?P<nothing>\\E | \(\?\#[^)]*\))
    | \\(?:k(?:<(?P<k1>{_NAME})>|'(?P<k2>{_NAME})'|\{{(?P<k3>{_NAME})\}})|g\{{(?P<g>{_NAME})\}})
    | \\g(?:\{{(?P<number>-?[0-9]+)\}}|(?P<bare>-?[0-9]+))
    | \\(?P<back>[1-9][0-9]*)
    | \\(?P<octal>0[0-7]{{0,2}})
    | \\x(?:\{{(?P<hex>[0-9A-Fa-f]+)\}}|(?P<hex2>[0-9A-Fa-f]{{0,2}}))
    | \\(?P<escape>.)
    | (?P<class>\[)
    | (?P<named>\(\?(?:P?<(?P<n1>{_NAME})>|'(?P<n2>{_NAME})'))
    | (?P<same>\((?![?*]) | \(\?(?::|=|!|<=|<!|>|P=) )
    | (?P<condition>\(\?\((?:(?P<cond>[0-9]+)|<(?P<c1>{_NAME})>|'(?P<c2>{_NAME})')\))
    | (?P<flags>\(\?(?P<on>[ims]*)(?:-(?P<off>[ims]+))?(?P<scoped>[:)]))
    | (?P<group>\([?*].?)
    | (?P<end>\))
    | (?P<dollar>\$)
    | (?P<quantifier>[*+?] | \{{[0-9]+(?:,[0-9]*)?\}})
    | (?P<brace>\{{)
    | (?P<char>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@functools.lru_cache(maxsize=4096)
def compile_pcre(pattern: str, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile a PCRE pattern. Raises `ArgumentError` for one that is wrong, or that cannot be said in Python."""
    translated = _Translator(pattern).run()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(translated, re.ASCII | re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    except (re.error, OverflowError, RecursionError, FutureWarning, DeprecationWarning) as error:
        reason = error.msg if isinstance(error, re.error) else str(error)
        raise ArgumentError(f"the regular expression {pattern!r} cannot be used: {reason}") from None


class _Translator:
    """One walk over a pattern, token by token."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.out: list[str] = []
        self.groups = 0  # capturing groups opened so far
        self.depth: list[_Level] = [_Level(False)]

    def run(self) -> str:
        position = 0
        while position < len(self.pattern):
            token = _TOKEN.match(self.pattern, position)
            assert token is not None  # <char> matches anything
            position = token.end()
            if token["class"]:
                position = self.bracket(position)
            else:
                self.token(token)
        while self.depth[-1].wrapped:
            self.close()
        if len(self.depth) > 1:
            self.refuse("a parenthesis is not closed")
        return "".join(self.out)

    def refuse(self, reason: str) -> None:
        raise ArgumentError(f"the regular expression {self.pattern!r} cannot be used: {reason}")

    def token(self, token: re.Match[str]) -> None:
        """Translate one token other than a bracket expression."""
        kind = token.lastgroup
        text = token[0]
        if kind in ("quoted", "literal"):
            self.out += map(self.literal, token["literal"])
        elif token["named"] or token["same"] or token["condition"] or token["flags"]:
            self.open(token)
        elif token["group"]:
            self.refuse(f"{text!r} is not supported")
        elif token["end"]:
            self.close_written()
        elif token["dollar"]:
            self.out.append("$" if self.depth[-1].multiline else r"\Z")
        elif token["quantifier"]:
            self.quantifier(text)
        elif token["brace"] or token["char"]:
            self.character(text)
        elif not token["nothing"]:
            self.escape(token)

    def quantifier(self, text: str) -> None:
        if self.out and len(self.out[-1]) == 1 and self.out[-1] > "\x7f":
            self.refuse("a character outside of ASCII cannot be repeated: put it into a group")
        self.out.append(text)

    def character(self, text: str) -> None:
        if text == "\\":
            self.refuse("a backslash at its end escapes nothing")
        elif text == "|":
            if self.depth[-1].wrapped_late:
                self.refuse("options such as (?i) in the middle of alternatives are not supported")
            self.out.append(text)
        elif text in "^.":
            self.out.append(text)
        else:
            self.out.append(self.literal(text))

    @staticmethod
    def literal(char: str) -> str:
        return re.escape(char)

    def escape(self, token: re.Match[str]) -> None:
        """Translate a backslash and what follows it."""
        name = token["k1"] or token["k2"] or token["k3"] or token["g"]
        number = token["number"] or token["bare"] or token["back"]
        if name:
            self.out.append(f"(?P={name})")
        elif number:
            self.reference(int(number))
        elif token["octal"]:
            self.code(int(token["octal"], 8))
        elif token["hex"] or token["hex2"] is not None:
            self.code(int(token["hex"] or token["hex2"] or "0", 16))
        elif token["escape"]:
            char = token["escape"]
            if not char.isalnum() or char > "\x7f":
                self.out.append(self.literal(char))
            elif char in _ESCAPES:
                self.out.append(_ESCAPES[char])
            else:
                self.refuse(f"\\{char} is not supported")
        else:
            self.refuse(f"{token[0]!r} is not supported")

    def reference(self, number: int) -> None:
        number = self.groups + 1 + number if number < 0 else number
        if not 1 <= number <= max(9, self.groups):
            self.refuse("there is no such group to refer to")
        self.out.append(f"(?:\\{number})")

    def code(self, code: int) -> None:
        if code > 0x7F:
            self.refuse("codes above 7F stand for single bytes, which is not supported")
        self.out.append(f"\\x{code:02x}")

    def open(self, token: re.Match[str]) -> None:
        """Translate the beginning of a group, or options such as (?i)."""
        if token["flags"]:
            self.options(token)
            return
        name = token["n1"] or token["n2"]
        condition = token["cond"] or token["c1"] or token["c2"]
        self.groups += bool(name) or token[0] == "("
        text = f"(?P<{name}>" if name else f"(?({condition})" if condition else token[0]
        self.out.append(text)
        self.depth.append(_Level(self.depth[-1].multiline, start=len(self.out)))

    def options(self, token: re.Match[str]) -> None:
        """(?i:...) is a group; (?i) holds until the end of the group around it."""
        on, off = token["on"], token["off"] or ""
        level = self.depth[-1]
        multiline = "m" in on or (level.multiline and "m" not in off)
        scoped = token["scoped"] == ":"
        late = not scoped and len(self.out) > level.start
        kept = "".join(sorted(set(on) - set(off)))
        self.out.append(f"(?{kept}{'-' + ''.join(sorted(set(off))) if off else ''}:")
        self.depth.append(_Level(multiline, wrapped=not scoped, wrapped_late=late, start=len(self.out)))

    def close_written(self) -> None:
        while self.depth[-1].wrapped:
            self.close()
        if len(self.depth) == 1:
            self.refuse("a parenthesis is closed that was not opened")
        self.close()

    def close(self) -> None:
        self.out.append(")")
        self.depth.pop()

    def bracket(self, position: int) -> int:
        """Translate a bracket expression whose text begins at `position`; gives the position after it."""
        pattern = self.pattern
        negated = pattern.startswith("^", position)
        position += negated
        start = position
        items: list[str] = []
        while not (pattern.startswith("]", position) and position > start):
            if position >= len(pattern):
                self.refuse("a bracket is not closed")
            low, position = self.member(position)
            if pattern.startswith("-", position) and pattern[position + 1 : position + 2] not in ("", "]"):
                high, position = self.member(position + 1)
                if _is_set(low) or _is_set(high):
                    self.refuse("a range in brackets cannot begin or end with a set of characters")
                items.append(f"{low}-{high}")
            else:
                items.append(low)
        self.out.append(f"[{'^' if negated else ''}{''.join(items)}]")
        return position + 1

    def member(self, position: int) -> tuple[str, int]:
        """One character or set in a bracket expression, in Python's syntax, and the position after it."""
        pattern = self.pattern
        posix = re.compile(r"\[:(\^?)([a-z]+):\]").match(pattern, position)
        if posix:
            if posix[2] not in _POSIX:
                self.refuse(f"there is no class {posix[0]}")
            inner = _complement(_POSIX[posix[2]]) if posix[1] else _POSIX[posix[2]]
            return inner, posix.end()
        if re.compile(r"\[[.=]").match(pattern, position):
            self.refuse("collating elements are not supported")
        char = pattern[position]
        if char > "\x7f":
            self.refuse("characters outside of ASCII cannot stand in brackets")
        if char != "\\":
            return re.escape(char) if char != "-" else r"\-", position + 1
        return self.class_escape(position + 1)

    def class_escape(self, position: int) -> tuple[str, int]:
        char = self.pattern[position : position + 1]
        code = re.compile(r"([0-7]{1,3})|x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{0,2}))").match(self.pattern, position)
        if code:
            value = int(code[1], 8) if code[1] else int(code[2] or code[3] or "0", 16)
            if value > 0x7F:
                self.refuse("codes above 7F stand for single bytes, which is not supported")
            return f"\\x{value:02x}", code.end()
        if not char or char > "\x7f":
            self.refuse("a backslash stands before nothing that it could escape")
        if not char.isalnum():
            return re.escape(char) if char != "-" else r"\-", position + 1
        if char not in _CLASS_ESCAPES:
            self.refuse(f"\\{char} in brackets is not supported")
        return ("\\x08" if char == "b" else _CLASS_ESCAPES[char]), position + 1


class _Level:
    """A group that is open: what holds inside it."""

    __slots__ = ("multiline", "start", "wrapped", "wrapped_late")

    def __init__(self, multiline: bool, wrapped: bool = False, wrapped_late: bool = False, start: int = 0) -> None:
        self.multiline = multiline
        self.wrapped = wrapped  # opened by (?i), not by a parenthesis of its own
        self.wrapped_late = wrapped_late
        self.start = start  # tokens written when it was opened


def _is_set(item: str) -> bool:
    """Whether a translated member stands for several characters, so that it cannot begin or end a range."""
    return item in _POSIX_SETS or (len(item) == 2 and item[0] == "\\" and item[1] in _SETS) or item in _CLASS_SETS


@functools.cache
def _complement(members: str) -> str:
    """All characters but those, as members of a bracket expression."""
    regex = re.compile(f"[^{members}]")
    result = []
    for code in range(0x80):
        if regex.match(chr(code)):
            result.append(f"\\x{code:02x}")
    return "".join(result) + "\\x80-\\U0010ffff"


_CLASS_SETS = frozenset((_HORIZONTAL, _VERTICAL))
_POSIX_SETS = frozenset((*_POSIX.values(), *map(_complement, _POSIX.values())))
