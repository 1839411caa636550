"""The sections that limit directives to some requests: where each may stand, and what its argument means.

Directory, Files and Location take a path, a shell pattern, or `~` and a regular expression. Their
Match forms take a regular expression. Patterns of Directory and Location match path components one
by one.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Any

from ownhost.config import methods
from ownhost.config.arguments import either, ignored
from ownhost.config.directive import (
    ANYWHERE,
    SERVER_ONLY,
    SERVERS,
    ArgumentError,
    Block,
    Directive,
    Override,
    Source,
    Where,
    declare,
    places,
)
from ownhost.config.expression_parser import parse_condition
from ownhost.config.expression_words import WORDS
from ownhost.config.globs import compile_glob, is_glob
from ownhost.config.lexer import words
from ownhost.config.methods import Methods
from ownhost.config.model import Section, SectionKind
from ownhost.config.regex import Pattern

K = SectionKind

_NAMED = (K.DIRECTORY, K.FILES, K.LOCATION, K.IF)  # those that a message names
_DIRECTORIES = {K.DIRECTORY, K.DIRECTORY_MATCH}
_FOLDERS = {*_DIRECTORIES, K.HTACCESS}
_FILES = {K.FILES, K.FILES_MATCH}
_LOCATIONS = {K.LOCATION, K.LOCATION_MATCH}
_PROXIES = {K.PROXY, K.PROXY_MATCH}
_IFS = {K.IF, K.ELSE_IF, K.ELSE}
_LIMITS = frozenset({K.LIMIT, K.LIMIT_EXCEPT})

# Kind of section to the sections that it may stand in; None is outside of all (server and virtual host).
INSIDE: dict[SectionKind, frozenset[SectionKind | None]] = {
    **dict.fromkeys(_DIRECTORIES | _LOCATIONS | _PROXIES, frozenset({None})),
    **dict.fromkeys(_FILES, frozenset({None} | _FOLDERS | _FILES | _IFS)),
    **dict.fromkeys(_IFS, frozenset({None} | _FOLDERS | _FILES | _LOCATIONS | _IFS)),
    **dict.fromkeys(_LIMITS, frozenset(_FOLDERS | _FILES | _LOCATIONS | _PROXIES | _IFS) | _LIMITS),
}


def check_place(kind: SectionKind, outer: SectionKind | None) -> None:
    """Refuse a section that cannot stand in another."""
    if outer not in INSIDE[kind]:
        sections = [f"<{place}>" for place in _NAMED if place in INSIDE[kind]]
        outside = places(SERVERS) if None in INSIDE[kind] else []
        where = f"<{outer}>" if outer else places(SERVER_ONLY)[0]
        raise ArgumentError(f"cannot stand in {where}; expected in {either(outside + sections)}")


def check_follows(kind: SectionKind, before: list[Section]) -> None:
    """Refuse an <ElseIf> or <Else> without its <If>. Directives may stand between them, other sections may not."""
    if kind in (K.ELSE_IF, K.ELSE) and not any(section.kind in (K.IF, K.ELSE_IF) for section in before[-1:]):
        raise ArgumentError("expected after an <If> or <ElseIf> in the same section")


def subject(section: Section) -> str:
    """What a section is for, as its directives are told: an If has no name but its own."""
    return f"*{section.kind}" if section.kind in _IFS else section.pattern


def make(kind: SectionKind, raw: str, source: Source) -> Section:
    """A section from its argument. Raises `ArgumentError`."""
    if kind is K.ELSE:
        if raw:
            raise ArgumentError(f"expected no argument, got {raw}")
        return Section(kind, "", source)
    if not raw:
        raise ArgumentError("expected an argument, got none")
    return _MAKERS[kind](kind, raw, source)


def _make_match(kind: SectionKind, raw: str, source: Source) -> Section:
    pattern = _argument(words(raw))
    return Section(kind, pattern, source, Pattern(pattern, source=source))


_MATCH_FORMS = {
    K.DIRECTORY: K.DIRECTORY_MATCH,
    K.FILES: K.FILES_MATCH,
    K.LOCATION: K.LOCATION_MATCH,
    K.PROXY: K.PROXY_MATCH,
}


def _make_path(kind: SectionKind, raw: str, source: Source) -> Section:
    arguments = words(raw)
    if arguments[0] == "~":
        pattern = _argument(arguments[1:])
        return Section(_MATCH_FORMS[kind], pattern, source, Pattern(pattern, source=source))
    pattern = _argument(arguments)
    if kind is K.DIRECTORY:
        pattern = _directory(pattern)
    elif kind is K.FILES:
        pattern = posixpath.normpath(pattern)
    elif kind is K.PROXY:
        pattern = re.sub("^proxy:", "", pattern, flags=re.IGNORECASE)
    return Section(kind, pattern, source, _glob(kind, pattern, source))


def _glob(kind: SectionKind, pattern: str, source: Source) -> Pattern | None:
    return compile_glob(pattern, source, within_path=kind in (K.DIRECTORY, K.LOCATION)) if is_glob(pattern) else None


def _directory(path: str) -> str:
    """A folder's path in the form for comparison: no "//", "." or "..", a "/" at the end."""
    if not path.startswith("/"):
        raise ArgumentError(f"expected an absolute path, not {path!r}")
    folder = posixpath.normpath(re.sub("/+", "/", path))
    return folder if folder == "/" else f"{folder}/"


def _make_if(kind: SectionKind, raw: str, source: Source) -> Section:
    arguments = words(raw)
    expression = arguments[0] if len(arguments) == 1 else raw
    return Section(kind, expression, source, condition=parse_condition(expression, source))


def limited(kind: SectionKind, raw: str, outer: Methods) -> Methods:
    """The methods that a <Limit> or <LimitExcept> within `outer` is for. Raises `ArgumentError`."""
    found = words(raw)
    if not found:
        raise ArgumentError("expected HTTP methods, got none")
    for method in found:
        if not methods.is_token(method):
            raise ArgumentError(f"expected HTTP methods, not {method!r}")
        if method == "TRACE" and kind is K.LIMIT:
            raise ArgumentError("TRACE cannot be limited here; TraceEnable is for that")
        if method not in methods.KNOWN and method.upper() in methods.KNOWN:
            raise ArgumentError(f"expected {method.upper()}, not {method}: methods differ by case")
    both = outer & Methods.of(found, excepted=kind is K.LIMIT_EXCEPT)
    if not both:
        raise ArgumentError(f"expected methods of the section around it, not {raw}")
    return both


def _argument(arguments: tuple[str, ...]) -> str:
    if len(arguments) != 1 or not arguments[0]:
        raise ArgumentError(f"expected one argument, got {len(arguments) or 'none'}")
    return arguments[0]


_MAKERS: dict[SectionKind, Callable[[SectionKind, str, Source], Section]] = {
    **dict.fromkeys(_MATCH_FORMS.values(), _make_match),
    **dict.fromkeys(_MATCH_FORMS, _make_path),
    **dict.fromkeys((K.IF, K.ELSE_IF), _make_if),
}


def _section(
    name: str,
    syntax: str,
    where: Where,
    text: str,
    override: Override = Override.NONE,
    **more: Any,
) -> None:
    more = {"module": "core", "block": Block.REQUESTS, **more}
    declare(Directive(name, syntax=syntax, where=where, help=text, parse=ignored(), override=override, **more))


_INNER = Where.DIRECTORY | Where.HTACCESS
_RULES = Override.AUTH_CONFIG | Override.LIMIT
_section(
    "VirtualHost",
    "address[:port]...",
    SERVER_ONLY,
    "A server of its own, at some addresses or with its own name.",
    block=Block.VIRTUAL_HOST,
    opens=Where.VIRTUAL_HOST,
)
_section("Directory", "path|pattern", SERVERS, "Applies to files in a folder and in the folders below it.")
_section("DirectoryMatch", "regex", SERVERS, "Applies to folders whose path matches, and to all that they contain.")
_section("Files", "name|pattern", ANYWHERE, "Applies to files of that name, in any folder.", Override.ALL)
_section("FilesMatch", "regex", ANYWHERE, "Applies to files whose name matches.", Override.ALL)
_section("Location", "path|pattern", SERVERS, "Applies to requests whose path begins with it.")
_section("LocationMatch", "regex", SERVERS, "Applies to requests whose path matches.")
_section(
    "Proxy",
    "URL|pattern [key=value...]",
    SERVERS,
    ("Applies to requests that go on to a URL with this prefix, and sets parameters for that server."),
    module="mod_proxy",
    opens=Where.DIRECTORY | Where.PROXY,
    rest="ProxySet",
)
_section(
    "ProxyMatch",
    "regex",
    SERVERS,
    "Applies to requests that go on to a URL that matches.",
    module="mod_proxy",
    opens=Where.DIRECTORY | Where.PROXY,
)
_section(
    "If", "expression", ANYWHERE, "Applies to requests for which an expression is true.", Override.ALL, words=WORDS
)
_section("ElseIf", "expression", ANYWHERE, "Like If, when no If or ElseIf before it was true.", Override.ALL)
_section("Else", "", ANYWHERE, "Applies when no If or ElseIf before it was true.", Override.ALL)
_section(
    "Limit",
    "method...",
    _INNER,
    "Applies access rules to the listed methods.",
    _RULES,
    block=Block.METHODS,
)
_section("LimitExcept", "method...", _INNER, "Applies access rules to all other methods.", _RULES, block=Block.METHODS)
