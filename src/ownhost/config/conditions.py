"""The sections that are decided while the configuration is read: IfModule, IfDefine, IfVersion, IfFile and others.

The content of a section whose condition is false is skipped unread, so it may contain unknown
directives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ownhost.config.arguments import ignored
from ownhost.config.directive import ANYWHERE, REGISTRY, Answer, ArgumentError, Block, Directive, Override, declare
from ownhost.config.lexer import next_word, words
from ownhost.config.loading import Modules, home_of
from ownhost.config.regex import Pattern

APACHE_VERSION = (2, 4, 62)  # the Apache version for <IfVersion>

_COMPARISONS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "=": lambda ours, theirs: ours == theirs,
    "==": lambda ours, theirs: ours == theirs,
    ">": lambda ours, theirs: ours > theirs,
    ">=": lambda ours, theirs: ours >= theirs,
    "<": lambda ours, theirs: ours < theirs,
    "<=": lambda ours, theirs: ours <= theirs,
}


class Surroundings(Protocol):
    """What a condition can see."""

    server_root: str
    defines: set[str]
    modules: Modules


def if_module(surroundings: Surroundings, argument: str) -> bool:
    """Whether a module counts as loaded, by either of its names: mod_x.c or x_module."""
    return surroundings.modules.has(argument)


def if_define(surroundings: Surroundings, argument: str) -> bool:
    """Whether a name was defined, by -D or by Define. Names differ by case here."""
    return argument in surroundings.defines


def if_file(surroundings: Surroundings, argument: str) -> bool:
    """Whether a file or folder exists; a relative name starts at ServerRoot."""
    return Path(surroundings.server_root, argument).exists()


def if_directive(surroundings: Surroundings, argument: str) -> bool:
    """Whether a directive, or with "<" a section, may be used here."""
    return _may_be_used(surroundings, argument.removeprefix("<"), section=argument.startswith("<"))


def if_section(surroundings: Surroundings, argument: str) -> bool:
    """Whether a section may be used here. Its name is written without "<"."""
    return _may_be_used(surroundings, argument, section=True)


def _may_be_used(surroundings: Surroundings, name: str, *, section: bool) -> bool:
    declared = REGISTRY.get(name.lower())
    if declared is None or declared.section != section or declared.answer is Answer.UNSUPPORTED:
        return False
    return surroundings.modules.is_usable(home_of(declared.module))


def if_version(_surroundings: Surroundings, raw: str) -> bool:
    """Compare Apache's version with `[!][operator] version`; a missing part of the version is 0."""
    arguments = words(raw)
    if not 1 <= len(arguments) <= 2:
        raise ArgumentError(f"expected an operator and a version, got {len(arguments) or 'none'}")
    operator, wanted = ("=", arguments[0]) if len(arguments) == 1 else arguments
    negated = operator.startswith("!")
    operator = operator.removeprefix("!")
    if operator == "~":
        pattern = wanted
    elif operator in ("=", "==") and len(wanted) > 1 and wanted[0] == wanted[-1] == "/":
        pattern = wanted[1:-1]
    elif operator in _COMPARISONS:
        return _COMPARISONS[operator](APACHE_VERSION, _version(wanted)) != negated
    else:
        raise ArgumentError(f"expected one of =, >, >=, <, <=, ~, each also with ! before it, not {arguments[0]!r}")
    return bool(Pattern(pattern).search(".".join(map(str, APACHE_VERSION)))) != negated


def _version(text: str) -> tuple[int, ...]:
    match = re.fullmatch(r"(\d+)(?:\.(\d*))?(?:\.(\d*))?", text, re.ASCII)
    if not match:
        raise ArgumentError(f"expected a version such as 2.4 or 2.4.10, not {text!r}")
    return tuple(int(part or 0) for part in match.groups())


@dataclass(frozen=True, slots=True)
class Question:
    """The argument of a condition other than IfVersion. A `!` is before the quotes; in them, it is part of the name."""

    name: str
    negated: bool


def question(raw: str) -> Question:
    """`[!]name`. Only the first word counts, as in Apache. Raises `ArgumentError`."""
    negated = raw.startswith("!")
    name, _ = next_word(raw.removeprefix("!"))
    if not name:
        raise ArgumentError("expected one argument, got none")
    return Question(name, negated)


_DECIDE: dict[str, Callable[[Surroundings, str], bool]] = {}  # by name in lower case


def decide(name: str, raw: str, surroundings: Surroundings) -> bool:
    """Answer a condition: `name` in lower case, `raw` what stands between the name and ">". Raises `ArgumentError`."""
    return _DECIDE[name](surroundings, raw)


def _of_name(holds: Callable[[Surroundings, str], bool]) -> Callable[[Surroundings, str], bool]:
    """A condition that asks about one name."""

    def decide(surroundings: Surroundings, raw: str) -> bool:
        asked = question(raw.lstrip())
        return holds(surroundings, asked.name) != asked.negated

    return decide


def _condition(
    name: str, syntax: str, text: str, decide: Callable[[Surroundings, str], bool], module: str = "core"
) -> None:
    _DECIDE[name.lower()] = decide
    declare(Directive(name, module, syntax, ANYWHERE, text, ignored(), override=Override.ALL, block=Block.CONDITION))


_condition(
    "IfModule", "[!]module", "Its content counts if a module is loaded: mod_x.c or x_module.", _of_name(if_module)
)
_condition("IfDefine", "[!]name", "Its content counts if a name was defined, by -D or by Define.", _of_name(if_define))
_condition("IfFile", "[!]file", "Its content counts if a file or folder exists.", _of_name(if_file))
_condition("IfDirective", "[!]directive", "Its content counts if a directive is known.", _of_name(if_directive))
_condition("IfSection", "[!]section", "Its content counts if a section is known.", _of_name(if_section))
_condition(
    "IfVersion", "[[!]operator] version", "Its content counts for some versions of Apache.", if_version, "mod_version"
)
