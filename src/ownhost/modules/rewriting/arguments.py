"""The arguments of RewriteRule and RewriteCond, which are read otherwise than those of other directives.

    line   = space word space word [ space flags ]
    word   = ('"' | "'") ... the same mark, or the line's end | up to white space
    flags  = "[" flag { "," flag } "]"
    flag   = name [ "=" value ]

A backslash in front of white space takes it into the word, and stays there, as every other backslash does: what it
means is for the pattern or the template to say.
"""

from __future__ import annotations

import re

from ownhost.config.directive import ArgumentError
from ownhost.config.lexer import SPACE

_WORDS = {
    mark: re.compile(rf"(?:\\[{SPACE}]|[^{end}])*", re.DOTALL) for mark, end in (('"', '"'), ("'", "'"), ("", SPACE))
}


def split_line(raw: str, first: str, second: str) -> tuple[str, str, str]:
    """The two words of a line and its flags ("" for none). Raises ArgumentError."""
    one, rest = _word(raw)
    if not rest:
        raise ArgumentError(f"expected {first} and {second}, got {'only ' + repr(one) if one else 'nothing'}")
    two, rest = _word(rest)
    flags, _ = _word(rest)
    if flags and not (flags.startswith("[") and flags.endswith("]")):
        raise ArgumentError(f"expected flags in brackets after {first} and {second}, not {flags!r}")
    return one, two, flags


def _word(text: str) -> tuple[str, str]:
    """The first word of a text, and the rest without leading white space."""
    text = text.lstrip(SPACE)
    mark = text[:1] if text[:1] in ('"', "'") else ""
    match = _WORDS[mark].match(text, len(mark))
    assert match is not None  # it matches nothing, too
    return match[0], text[match.end() + len(mark) :].lstrip(SPACE)


def split_flags(flags: str) -> list[tuple[str, str]]:
    """Names and values of flags in brackets."""
    found = []
    for flag in flags[1:-1].split(","):
        name, _, value = flag.strip(SPACE).partition("=")
        if name or value:
            found.append((name, value))
    return found
