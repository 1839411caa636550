"""mod_alias: URIs that lead out of DocumentRoot, and redirects.

Those of a server name their path. One in a section may leave out the path: then it is for
everything that the section is for, and its target is an expression.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Generic, TypeVar
from urllib.parse import quote

from ownhost.config.arguments import flag, number, words
from ownhost.config.captures import substitute
from ownhost.config.directive import (
    ANYWHERE,
    SECTIONS,
    SERVERS,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Source,
    declare,
)
from ownhost.config.expression import StringExpression
from ownhost.config.expression_parser import is_plain, parse_string
from ownhost.config.regex import Pattern
from ownhost.http.message import HTTPError, Response
from ownhost.request import errors, expressions
from ownhost.request.module import Module, register
from ownhost.request.request import Level, Place, Request

_SLASHES = re.compile("/+")
_STATUS_NAMES = {"permanent": 301, "temp": 302, "seeother": 303, "gone": 410}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# URL = [ scheme ":" [ "//" authority ] ] path [ "?" query ] [ "#" fragment ]  (RFC 3986, appendix B)
_PARTS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*:(?://[^/?#]*)?)?)([^?#]*)(.*)", re.DOTALL)
# Characters that stay in a URL as written: reserved and unreserved ones, and escapes (RFC 3986, 2).
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"
_PATH_SAFE = "!$&'()*+,/:;=@~"  # and those in a path that is not escaped yet
_HERE = ("Location", "LocationMatch")  # where an Alias may leave out its path
CGI = "cgi-script"

Target = str | StringExpression  # an expression is computed for each request
T = TypeVar("T")
P = TypeVar("P", "Alias", "Redirect")


@dataclass(frozen=True, slots=True)
class Alias:
    """One Alias, ScriptAlias or Match form of them.

    `prefix` or `regex` says what it is for. With neither, it is for everything that the section
    around it is for, and `prefix` is that section's path.
    """

    target: Target
    handler: str = ""
    prefix: str = ""
    regex: Pattern | None = None
    server_root: str = ""  # the folder at which relative results of an expression start
    source: Source | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Redirect:
    """One Redirect or RedirectMatch. `target` is "" for a status that has no Location."""

    status: int
    target: Target
    prefix: str = ""
    regex: Pattern | None = None
    source: Source | None = field(default=None, compare=False)

    def location(self, uri: str) -> str | None:
        """The target of a URI, if this redirect is for it."""
        assert isinstance(self.target, str)
        if self.regex is not None:
            found = self.regex.search(uri)
            return escape(substitute(self.target, found)) if found else None
        rest = below(uri, self.prefix)
        return None if rest is None else self.target + quote(rest, safe=_PATH_SAFE, errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class Said(Generic[T]):
    """The values of a scope: those with a path, and the one without (`here`)."""

    listed: tuple[T, ...] = ()
    here: T | None = None


def _merge(outer: Said[T], inner: Said[T]) -> Said[T]:
    """The inner scope's come first."""
    return Said((*inner.listed, *outer.listed), inner.here or outer.here)


def _fold(before: Said[T] | None, more: Said[T]) -> Said[T]:
    return more if before is None else Said((*before.listed, *more.listed), more.here or before.here)


def below(uri: str, prefix: str) -> str | None:
    """The part of a URI after a prefix; None if the URI does not have the prefix, or it ends within a component.

    As in Apache's alias_matches, a slash in the prefix stands for several. The rest is not changed.
    """
    end = len(prefix)
    if "//" in uri or "//" in prefix:
        match = _with_any_slashes(prefix).match(uri)
        end = match.end() if match else -1
    elif not uri.startswith(prefix):
        return None
    rest = uri[end:]
    return rest if end >= 0 and (not rest or prefix.endswith("/") or rest.startswith("/")) else None


@functools.cache
def _with_any_slashes(prefix: str) -> re.Pattern[str]:
    return re.compile("/+".join(map(re.escape, _SLASHES.split(prefix))), re.DOTALL)


def escape(url: str) -> str:
    """A URL from unescaped parts: its path is escaped, and so is what a field cannot contain."""
    match = _PARTS.fullmatch(url)
    assert match is not None  # it matches anything
    before, path, behind = match.groups()
    return (
        quote(before, safe=_URL_SAFE, errors="surrogateescape")
        + quote(path, safe=_PATH_SAFE, errors="surrogateescape")
        + quote(behind, safe=_URL_SAFE, errors="surrogateescape")
    )


def _is_location(target: str) -> bool:
    return target.startswith("/") or _URL.match(target) is not None


# Arguments


def _alias(handler: str) -> Callable[[Call], Said[Alias]]:
    def parse(call: Call) -> Said[Alias]:
        if call.section_kind:
            return Said(here=_alias_here(call, handler))
        path, target = words(2, 2)(call)
        if not path.startswith("/"):
            raise ArgumentError(f"expected a path that begins with /, not {path!r}")
        return Said((Alias(call.path(target), handler, prefix=path),))

    return parse


def _alias_here(call: Call, handler: str) -> Alias:
    if call.section_kind not in _HERE:
        raise ArgumentError(f"cannot stand in <{call.section_kind}>; expected in <VirtualHost> or <Location>")
    if len(call.args) != 1 or not call.args[0]:
        raise ArgumentError("in a <Location>, which is the path, expected a folder or file alone")
    prefix = call.section if call.section_kind == "Location" else ""
    return Alias(_target(call.args[0]), handler, prefix, server_root=call.path(""))


def _target(text: str) -> Target:
    return text if is_plain(text) else parse_string(text)


def _alias_match(handler: str) -> Callable[[Call], Said[Alias]]:
    def parse(call: Call) -> Said[Alias]:
        if call.section_kind:
            raise ArgumentError(f"cannot stand in <{call.section_kind}>; expected in <VirtualHost>")
        pattern, target = words(2, 2)(call)
        filename = target if target.startswith("$") else call.path(target)
        return Said((Alias(filename, handler, regex=Pattern(pattern, source=call.source)),))

    return parse


def parse_redirect(call: Call) -> Said[Redirect]:
    """A status or none, a path, a URL.

    In a section the path may be left out. A status without a URL may stand anywhere.
    """
    found = list(words(1, 3)(call))
    status = _take_status(found)
    code = status or 302
    if not found and not _has_location(code):
        return Said(here=Redirect(code, ""))
    if call.section_kind and len(found) == 1 and _has_location(code):
        target = _target(found[0])
        if isinstance(target, str):
            target = _checked_url(target)
        return Said(here=Redirect(code, target))
    return Said((_path_redirect(code, found),))


def _redirect_with(status: int) -> Callable[[Call], Said[Redirect]]:
    return lambda call: Said((_path_redirect(status, list(words(2, 2)(call))),))


def parse_redirect_match(call: Call) -> Said[Redirect]:
    """A status or none, a regular expression, a URL."""
    found = list(words(2, 3)(call))
    code = _take_status(found) or 302
    _check_count(code, found)
    return Said((Redirect(code, found[1] if _has_location(code) else "", regex=Pattern(found[0], source=call.source)),))


def _path_redirect(code: int, found: list[str]) -> Redirect:
    _check_count(code, found)
    if not found[0].startswith("/"):
        raise ArgumentError(f"expected a path that begins with /, not {found[0]!r}")
    return Redirect(code, _checked_url(found[1]) if _has_location(code) else "", prefix=found[0])


def _placed(parse: Callable[[Call], Said[P]]) -> Callable[[Call], Said[P]]:
    """Remember the place of a redirect in the redirect."""

    def placed(call: Call) -> Said[P]:
        said = parse(call)
        here = None if said.here is None else replace(said.here, source=call.source)
        return Said(tuple(replace(one, source=call.source) for one in said.listed), here)

    return placed


def _take_status(found: list[str]) -> int | None:
    """The status at the beginning, removed from the rest; None if there is none."""
    word = found[0].lower()
    status = number(word, 300, 599) if word.isascii() and word.isdigit() else _STATUS_NAMES.get(word)
    if status is None:
        if len(found) > 2:
            raise ArgumentError(f"expected a status, or permanent, temp, seeother or gone, not {found[0]!r}")
        return None
    if status not in _STATUSES:
        raise ArgumentError(f"expected a known status, not {status}")
    del found[0]
    return status


_STATUSES = frozenset(map(int, HTTPStatus))


def _has_location(code: int) -> bool:
    return 300 <= code < 400


def _check_count(code: int, found: list[str]) -> None:
    has_location = _has_location(code)
    if len(found) != (2 if has_location else 1):
        raise ArgumentError(f"expected {'a path and a URL' if has_location else 'a path and no URL'} for status {code}")


def _checked_url(target: str) -> str:
    if not _is_location(target):
        raise ArgumentError(f"expected a URL, or a path that begins with /, not {target!r}")
    return quote(target, safe=_URL_SAFE, errors="surrogateescape")


ALIASES: Setting[Said[Alias]] = Setting("Alias", Said(), _merge)
REDIRECTS: Setting[Said[Redirect]] = Setting("Redirect", Said(), _merge)
ALIAS_PRESERVE_PATH = Setting("AliasPreservePath", False)
REDIRECT_RELATIVE = Setting("RedirectRelative", False)

_PATH = "a path and all below it"
_REGEX = "paths that match a regular expression"
for _name, _where, _syntax, _parse, _help in (
    ("Alias", SECTIONS, "[path] folder|file", _alias(""), f"Maps {_PATH} to a place outside of DocumentRoot."),
    ("AliasMatch", SERVERS, "regex folder|file", _alias_match(""), f"Maps {_REGEX} to a place elsewhere."),
    ("ScriptAlias", SECTIONS, "[path] folder|file", _alias(CGI), f"Maps {_PATH} to the programs in a folder."),
    ("ScriptAliasMatch", SERVERS, "regex folder|file", _alias_match(CGI), f"Maps {_REGEX} to programs."),
):
    declare(Directive(_name, "mod_alias", _syntax, _where, _help, _placed(_parse), setting=ALIASES, fold=_fold))
for _name, _syntax, _parse_redirect, _help in (
    ("Redirect", "[status] [path] [URL]", parse_redirect, f"Redirects {_PATH}."),
    ("RedirectMatch", "[status] regex [URL]", parse_redirect_match, f"Redirects {_REGEX}."),
    ("RedirectPermanent", "path URL", _redirect_with(301), f"Redirects {_PATH} permanently (301)."),
    ("RedirectTemp", "path URL", _redirect_with(302), f"Redirects {_PATH} temporarily (302)."),
):
    declare(
        Directive(
            name=_name,
            module="mod_alias",
            syntax=_syntax,
            where=ANYWHERE,
            override=Override.FILE_INFO,
            help=_help,
            parse=_placed(_parse_redirect),
            setting=REDIRECTS,
            fold=_fold,
        )
    )
declare(
    Directive(
        name="AliasPreservePath",
        module="mod_alias",
        syntax="On|Off",
        where=ANYWHERE,
        override=Override.FILE_INFO,
        help=("Whether the rest of the path after that of a Location is appended to the target of its Alias."),
        parse=flag(),
        setting=ALIAS_PRESERVE_PATH,
        default="Off",
    )
)
declare(
    Directive(
        name="RedirectRelative",
        module="mod_alias",
        syntax="On|Off",
        where=ANYWHERE,
        override=Override.FILE_INFO,
        help="Whether a redirect to a path is sent without this server's name.",
        parse=flag(),
        setting=REDIRECT_RELATIVE,
        default="Off",
    )
)


# Hooks


def locate(request: Request) -> Place | None:
    """The target of the first alias that is for a request's URI."""
    aliases = request.settings[ALIASES]
    if aliases.here is not None:
        filename = _file_here(request, aliases.here)
        if filename:
            return Place(filename, aliases.here.handler)
    for alias in aliases.listed:
        assert isinstance(alias.target, str)
        if alias.regex is not None:
            found = alias.regex.search(request.uri)
            if found:
                return Place(substitute(alias.target, found), alias.handler)
            continue
        rest = below(request.uri, alias.prefix)
        if rest is not None:
            request.context_prefix, request.context_document_root = alias.prefix, alias.target
            return Place(alias.target + rest, alias.handler)
    return None


def _file_here(request: Request, alias: Alias) -> str:
    """The file to which all of a Location leads. With AliasPreservePath, the file below it that the URI names."""
    target = alias.target if isinstance(alias.target, str) else expressions.value(alias.target, request)
    if not target:
        return ""
    if not target.startswith("/"):
        target = alias.server_root + target
    rest = below(request.uri, alias.prefix) if alias.prefix and request.settings[ALIAS_PRESERVE_PATH] else None
    if rest is None:
        return target
    request.context_prefix, request.context_document_root = alias.prefix, target
    return target + rest


def translate(request: Request) -> Response | None:
    """Redirects of the server and the virtual host, and of Locations, which come before any Alias."""
    redirects = request.settings[REDIRECTS]
    return _here(request, redirects.here) or _redirected(request, request.site.settings[REDIRECTS].listed)


def fixup(request: Request) -> Response | None:
    """Redirects of sections. Those of the server have been handled."""
    redirects, of_server = request.settings[REDIRECTS], request.site.settings[REDIRECTS]
    if redirects is of_server:
        return None
    own = redirects.listed[: len(redirects.listed) - len(of_server.listed)]
    return _here(request, redirects.here) or _redirected(request, own)


def _here(request: Request, redirect: Redirect | None) -> Response | None:
    if redirect is None:
        return None
    if isinstance(redirect.target, str):
        return _answer(request, redirect, redirect.target)
    return _answer(request, redirect, escape(expressions.value(redirect.target, request)))


def _redirected(request: Request, redirects: Iterable[Redirect]) -> Response | None:
    for redirect in redirects:
        location = redirect.location(request.uri)
        if location is not None:
            return _answer(request, redirect, location)
    return None


def _answer(request: Request, redirect: Redirect, location: str) -> Response:
    """The redirect to a location, or the status that replaces it. Raises HTTPError."""
    if not _has_location(redirect.status):
        why = f"{request.uri} is answered with {redirect.status} by Redirect"
        raise HTTPError(redirect.status, why, module="alias", level=Level.INFO)
    if not _is_location(location):
        why = f"cannot redirect {request.uri} to {location!r}, which is neither a URL nor a path that begins with /"
        raise HTTPError(500, why, module="alias")
    if request.query is not None and "?" not in location:
        location += f"?{request.query}"
    return errors.redirect(request, redirect.status, location, relative=request.settings[REDIRECT_RELATIVE])


_LOCATED = (ALIASES, REDIRECTS, ALIAS_PRESERVE_PATH, REDIRECT_RELATIVE)
register(
    Module(
        name="mod_alias",
        identifier="alias_module",
        order=20,
        uses=lambda server: server.says(ALIASES, REDIRECTS),
        translate=translate,
        locate=locate,
        located=_LOCATED,
        fixup=fixup,
    )
)
