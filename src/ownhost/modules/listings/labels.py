"""What a listing says about its entries: icons, alternative texts, descriptions; and which ones it leaves out.

All texts that leave this file are in the form of a head (`http.wire`): a character for each byte,
as columns are counted in bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from ownhost.config.arguments import words
from ownhost.config.directive import ArgumentError, Call
from ownhost.config.globs import compile_glob, is_glob
from ownhost.config.regex import Pattern
from ownhost.http.wire import unwire, wire

FOLDER = "^^DIRECTORY^^"  # the name that stands for all folders
BLANK = "^^BLANKICON^^"  # the name that stands for the icon above all others
PARENT = ".."


class By(Enum):
    """What a label goes by."""

    NAME = auto()
    TYPE = auto()
    ENCODING = auto()


@dataclass(frozen=True, slots=True)
class Label:
    """A text for the entries that a pattern matches. It holds below `scope`, the folder of its section."""

    by: By
    pattern: str
    text: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """The icons and alternative texts of a scope, the nearest first."""

    icons: tuple[Label, ...] = ()
    alts: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignored:
    """The names that listings leave out. `alone`: the scopes around do not count (IndexIgnoreReset)."""

    labels: tuple[Label, ...] = ()
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Description:
    """A text for files whose names contain a part, or match a pattern; with a slash in it, whose paths do."""

    pattern: str
    text: str


def inner_first(outer: Labels, inner: Labels) -> Labels:
    """The merge rule of labels."""
    return Labels(inner.icons + outer.icons, inner.alts + outer.alts)


def and_more(before: Labels | None, more: Labels) -> Labels:
    """The fold rule of labels."""
    return more if before is None else inner_first(more, before)


def ignored(outer: Ignored, inner: Ignored) -> Ignored:
    """The merge rule of what is left out."""
    return inner if inner.alone else Ignored(inner.labels + outer.labels, outer.alone)


def ignored_more(before: Ignored | None, more: Ignored) -> Ignored:
    """The fold rule of what is left out."""
    return more if before is None else Ignored(before.labels + more.labels, before.alone or more.alone)


def parse_icon(by: By) -> Callable[[Call], Labels]:
    """An icon's URL, or (text,URL), and what it is for."""

    def parse(call: Call) -> Labels:
        icon, *names = words(2)(call)
        if not icon.startswith("("):
            return Labels(icons=_labels(by, icon, names, call))
        alt, comma, url = icon[1:].partition(",")
        url, closing, _ = url.partition(")")
        if not comma or not closing:
            raise ArgumentError(f"expected a URL or (text,URL), not {icon!r}")
        return Labels(_labels(by, url, names, call), _labels(by, alt, names, call))

    return parse


def parse_alt(by: By) -> Callable[[Call], Labels]:
    """A text, and what it is for."""

    def parse(call: Call) -> Labels:
        alt, *names = words(2)(call)
        return Labels(alts=_labels(by, alt, names, call))

    return parse


def parse_ignored(call: Call) -> Ignored:
    """Names or patterns."""
    scope = _scope(call)
    return Ignored(tuple(Label(By.NAME, name, "", scope) for name in words(1)(call)))


def parse_description(call: Call) -> tuple[Description, ...]:
    """A text, and names, parts of names, or patterns."""
    text, *names = words(2)(call)
    return tuple(Description(name, text) for name in names)


def _labels(by: By, text: str, names: Iterable[str], call: Call) -> tuple[Label, ...]:
    return tuple(Label(by, _pattern(by, name), text, _scope(call)) for name in names)


def _pattern(by: By, name: str) -> str:
    if by is not By.NAME:
        return name.lower()
    name = FOLDER if name == "**DIRECTORY**" else name
    return name if "*" in name or "?" in name else f"*{name}"


def _scope(call: Call) -> str:
    """The folder below which a label holds. Sections other than Directory stand for no folder."""
    return call.section.rstrip("/") + "/" if call.section_kind == "Directory" else ""


def wildcard(pattern: str, *, any_case: bool = False) -> Callable[[str], object]:
    """Whether a text matches a pattern of * and ?, and nothing else special (ap_strcmp_match)."""
    if any_case:
        matches = wildcard(pattern.lower())
        return lambda text: matches(text.lower())
    first, *parts = re.split(r"\*+", pattern)
    if not any("?" in part for part in (first, *parts)):
        if not parts:
            return lambda text: text == first
        if len(parts) == 1:
            end, least = parts[0], len(first) + len(parts[0])
            return lambda text: len(text) >= least and text.startswith(first) and text.endswith(end)
    return linear(re.escape(part).replace(r"\?", ".") for part in (first, *parts))


def linear(parts: Iterable[str]) -> Callable[[str], object]:
    """Whether a text matches regular expressions with anything between them.

    Each is found once, at the first place: no pattern of a client takes long.
    """
    first, *rest = parts
    if not rest:
        return re.compile(first, re.DOTALL).fullmatch
    *middle, end = rest
    between = "".join(f"(?>.*?{part})" for part in middle if part)
    return re.compile(f"{first}{between}.*{end}", re.DOTALL).fullmatch


Matches = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class _Finder:
    """The labels that may hold in one folder, compiled."""

    items: tuple[tuple[By, Matches, str], ...]

    @classmethod
    def of(cls, labels: Iterable[Label], folder: str) -> _Finder:
        return cls(
            tuple(
                (label.by, wildcard(wire(label.pattern), any_case=label.by is not By.NAME), wire(label.text))
                for label in labels
                if wildcard(f"{label.scope}*")(folder)
            )
        )

    def by_name(self, path: str) -> str | None:
        """The first label for a path, or a name that stands for many."""
        return next((text for by, matches, text in self.items if by is By.NAME and matches(path)), None)

    def of_file(self, path: str, media_type: str, encoding: str) -> str | None:
        """The first label for a file: by its name, its encoding, or its type if it has no encoding."""
        subjects = {By.NAME: path, By.TYPE: "" if encoding else media_type, By.ENCODING: encoding}
        for by, matches, text in self.items:
            subject = subjects[by]
            if subject and matches(subject):
                return text
        return None


class Labelling:
    """What the labels of a folder say about its entries. Paths are in the form of a head."""

    def __init__(self, folder: str, labels: Labels, ignored: Ignored, descriptions: Sequence[Description]) -> None:
        self.icons = _Finder.of(labels.icons, folder)
        self.alts = _Finder.of(labels.alts, folder)
        self.ignored = [
            wildcard(wire(label.pattern.rpartition("/")[2]))
            for label in ignored.labels
            if wildcard(f"{label.scope}*")(folder)
        ]
        self.descriptions = [(_describes(one.pattern), wire(one.text)) for one in descriptions]

    def leaves_out(self, name: str) -> bool:
        """Whether IndexIgnore has a name."""
        return any(matches(name) for matches in self.ignored)

    def description(self, path: str) -> str | None:
        """The first text for a path."""
        return next((text for matches, text in self.descriptions if matches(path)), None)


def _describes(pattern: str) -> Matches:
    if "/" in pattern:
        return _glob(f"*/{pattern}*")
    if is_glob(pattern):
        matches = _glob(f"*{pattern}*")
        return lambda path: matches(path.rpartition("/")[2])
    part = wire(pattern)
    return lambda path: part in path.rpartition("/")[2]


def _glob(pattern: str) -> Matches:
    compiled: Pattern = compile_glob(pattern, within_path=False)
    return lambda path: compiled.search(unwire(path))
