"""The rules on symbolic links (Options FollowSymLinks and SymLinksIfOwnerMatch), and Options itself.

The kernel's permissions keep owners apart; these rules are for an owner's own tree. They are
checked by name, component by component, as in Apache: a user who can change the tree at that moment
can get around them.
"""

from __future__ import annotations

import functools
import operator
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Flag, auto

from ownhost.config.directive import ANYWHERE, ArgumentError, Call, Directive, Override, Setting, declare
from ownhost.config.model import Section, SectionKind, VirtualHost
from ownhost.config.overrides import EVERY_OPTION, may_override
from ownhost.http.message import HTTPError
from ownhost.request.sections import ReadFolder, Sections


class Option(Flag):
    """The options."""

    NONE = 0
    INDEXES = auto()
    INCLUDES = auto()
    INCLUDES_EXEC = auto()  # includes may run programs
    FOLLOW_SYMLINKS = auto()
    SYMLINKS_IF_OWNER_MATCH = auto()
    EXEC_CGI = auto()
    MULTI_VIEWS = auto()


DEFAULT = Option.FOLLOW_SYMLINKS
_INCLUDES = Option.INCLUDES | Option.INCLUDES_EXEC
_NAMES = {
    "indexes": Option.INDEXES,
    "includes": _INCLUDES,
    "includesnoexec": Option.INCLUDES,
    "followsymlinks": Option.FOLLOW_SYMLINKS,
    "symlinksifownermatch": Option.SYMLINKS_IF_OWNER_MATCH,
    "execcgi": Option.EXEC_CGI,
    "multiviews": Option.MULTI_VIEWS,
}
_FIRST = {  # as in Apache, All leaves out MultiViews, and needs no rule on owners
    "none": Option.NONE,
    "all": Option.INDEXES | _INCLUDES | Option.FOLLOW_SYMLINKS | Option.EXEC_CGI,
}
_WORDS = "None, All, Indexes, Includes, IncludesNOEXEC, FollowSymLinks, SymLinksIfOwnerMatch, ExecCGI or MultiViews"


@dataclass(frozen=True, slots=True)
class Options:
    """The value of Options: a list (`listed`), or changes to that of the scope around it."""

    listed: Option | None = None
    added: Option = Option.NONE
    removed: Option = Option.NONE

    def __contains__(self, option: Option) -> bool:
        return bool(self.effective & option)

    @property
    def effective(self) -> Option:
        """The options that are on, if there is no scope around this one."""
        return ((DEFAULT if self.listed is None else self.listed) | self.added) & ~self.removed


def merge_options(outer: Options, inner: Options) -> Options:
    """Options with + and - change those around them; a list replaces them."""
    if inner.listed is not None:
        return inner
    removed = inner.removed
    if (
        inner.added & _INCLUDES == Option.INCLUDES
    ):  # with + too, IncludesNOEXEC undoes the right of Includes to run programs
        removed |= Option.INCLUDES_EXEC
    return Options(outer.listed, (outer.added | inner.added) & ~removed, (outer.removed & ~inner.added) | removed)


def parse_options(call: Call) -> Options:
    """Names, all with + or - before them, or none. All or None may come first. Without arguments, nothing changes."""
    names = [word.lower() for word in call.args]
    if call.options is not None:
        _check_allowed(call.options, call.args)
    listed = _FIRST.get(names[0]) if names else None
    rest = names if listed is None else names[1:]
    signed = {name[:1] in ("+", "-") for name in rest}
    options = [_option(name) for name in rest]
    if len(signed) > 1:
        raise ArgumentError("either all options have + or - in front of them, or none has (All and None aside)")
    if signed == {False}:
        return Options(functools.reduce(operator.or_, options, listed or Option.NONE))
    added = removed = Option.NONE
    for name, option in zip(rest, options, strict=True):
        if name[0] == "+":
            added, removed = added | option, removed & ~option
        else:
            added, removed = added & ~option, removed | option
    return Options(None, added, removed) if listed is None else Options((listed | added) & ~removed)


def _check_allowed(allowed: frozenset[str], words: tuple[str, ...]) -> None:
    """Refuse options that .htaccess files may not name, not even to switch them off."""
    for word in words:
        name = word.removeprefix(word[:1] if word[:1] in ("+", "-") else "")
        if name.lower() in EVERY_OPTION and name.lower() not in allowed:
            raise ArgumentError(f"Option {name} not allowed here")


def _option(name: str) -> Option:
    word = name[1:] if name[:1] in ("+", "-") else name
    if word in _FIRST:
        raise ArgumentError(f"{word.capitalize()} is expected as the first option, without + or -")
    if word not in _NAMES:
        raise ArgumentError(f"expected {_WORDS}, not {word!r}")
    return _NAMES[word]


OPTIONS: Setting[Options] = Setting("Options", Options(), merge_options)

declare(
    Directive(
        name="Options",
        module="core",
        syntax="[All|None] [+|-]option ...",
        where=ANYWHERE,
        override=Override.OPTIONS,
        default="FollowSymLinks",
        help="Which features a folder has: links, listings, programs.",
        parse=parse_options,
        setting=OPTIONS,
        fold=lambda before, options: options if before is None else merge_options(before, options),
    )
)


def follows_links_everywhere(server: VirtualHost) -> bool:
    """Whether all links in all folders of a server may be followed, so that nothing needs a check."""
    if Option.FOLLOW_SYMLINKS not in server.settings[OPTIONS] or may_override(server, OPTIONS.name):
        return False
    return all(_follows(section) for section in _directories(server.sections))


def _directories(sections: list[Section]) -> Iterator[Section]:
    for section in sections:
        if section.kind in (SectionKind.DIRECTORY, SectionKind.DIRECTORY_MATCH):
            yield section


def _follows(section: Section) -> bool:
    options = section.settings[OPTIONS]
    if options.listed is not None:
        return bool(options.listed & Option.FOLLOW_SYMLINKS)
    return not options.removed & Option.FOLLOW_SYMLINKS


def check_links(sections: Sections, filename: str, read: ReadFolder | None = None) -> bool:
    """Refuse a file name with a link in it that its folder's Options don't allow. Raises HTTPError 403.

    `read` reads .htaccess files: each folder's when the way to it is allowed. Returns whether all
    folders allow all links, so that nothing had to be looked at.
    """
    folders = ["/"]
    for part in filename.rstrip("/").split("/")[1:-1]:
        folders.append(f"{folders[-1]}{part}/")
    names = filename.rstrip("/").split("/")[1:]
    follows = True
    for (folder, settings), name in zip(sections.folder_settings(folders, read), names, strict=True):
        options = settings[OPTIONS]
        if Option.FOLLOW_SYMLINKS not in options:
            follows = False
            _check_component(folder + name, options)
    return follows


def _check_component(path: str, options: Options) -> None:
    try:
        link = os.lstat(path)
        if not stat.S_ISLNK(link.st_mode):
            return
        matches = Option.SYMLINKS_IF_OWNER_MATCH in options and os.stat(path).st_uid == link.st_uid
    except OSError:
        return  # a missing or unreadable component is refused by the open
    if not matches:
        raise not_followed(path)


def not_followed(path: str) -> HTTPError:
    """The error for a link that Options don't allow, or that leads nowhere."""
    return HTTPError(403, f"AH00037: Symbolic link not allowed or link target not accessible: {path}")
