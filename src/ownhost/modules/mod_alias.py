"""mod_alias: URIs that lead out of DocumentRoot, and redirects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from ownhost.config.arguments import number, words
from ownhost.config.directive import (
    ANYWHERE,
    SECTIONS,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Where,
    declare,
    inner_then_outer,
)
from ownhost.config.regex import compile_pcre
from ownhost.http.message import HTTPError, Response
from ownhost.request import errors
from ownhost.request.module import Module, Place, register
from ownhost.request.request import Request

_SLASHES = re.compile("/+")
_REFERENCE = re.compile(r"\\([$&])|\$([0-9])|&|\$")
_STATUS_NAMES = {"permanent": 301, "temp": 302, "seeother": 303, "gone": 410}
# What may stand unescaped in a Location: RFC 3986's reserved and unreserved characters, and escapes.
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"
CGI = "cgi-script"


@dataclass(frozen=True, slots=True)
class Alias:
    """One Alias, ScriptAlias or Match form of them. Exactly one of `prefix` and `regex` is set."""

    target: str
    handler: str = ""
    prefix: str = ""
    regex: re.Pattern[str] | None = None

    def locate(self, uri: str) -> str | None:
        """The file name for a URI, if this alias is for it."""
        if self.regex is not None:
            match = self.regex.search(uri)
            return substitute(self.target, match) if match else None
        rest = below(uri, self.prefix)
        return None if rest is None else self.target + rest


@dataclass(frozen=True, slots=True)
class Redirect:
    """One Redirect or RedirectMatch. `target` is "" for a status that has no Location."""

    status: int
    target: str
    prefix: str = ""
    regex: re.Pattern[str] | None = None

    def location(self, uri: str) -> str | None:
        """Where a URI is sent to, if this redirect is for it."""
        if self.regex is not None:
            match = self.regex.search(uri)
            return quote(substitute(self.target, match), safe=_URL_SAFE) if match else None
        rest = below(uri, self.prefix)
        return None if rest is None else self.target + quote(rest, errors="surrogateescape")


def below(uri: str, prefix: str) -> str | None:
    """What of a URI is behind a prefix; None where the prefix is not the URI's, or ends within a component.

    As Apache's alias_matches: a slash stands for several.
    """
    if "//" in uri or "//" in prefix:
        uri, prefix = _SLASHES.sub("/", uri), _SLASHES.sub("/", prefix)
    if not uri.startswith(prefix):
        return None
    rest = uri[len(prefix) :]
    return rest if not rest or prefix.endswith("/") or rest.startswith("/") else None


def substitute(template: str, match: re.Match[str]) -> str:
    """A template with $0 to $9 (and & for $0) put in, as Apache's ap_pregsub."""

    def put(reference: re.Match[str]) -> str:
        if reference[1]:
            return reference[1]
        if reference[2]:
            group = int(reference[2])
            return (match[group] or "") if group <= (match.re.groups) else ""
        return match[0] if reference[0] == "&" else "$"

    return _REFERENCE.sub(put, template)


def _alias(handler: str) -> object:
    def parse(call: Call) -> tuple[Alias, ...]:
        if len(call.args) == 1 and call.where is Where.DIRECTORY:
            raise ArgumentError("in a <Location> it is not supported yet; expected a path and a folder, outside")
        path, target = words(2, 2)(call)
        if not path.startswith("/"):
            raise ArgumentError(f"expected a path that begins with /, not {path!r}")
        return (Alias(call.path(target), handler, prefix=path),)

    return parse


def _alias_match(handler: str) -> object:
    def parse(call: Call) -> tuple[Alias, ...]:
        pattern, target = words(2, 2)(call)
        filename = target if target.startswith("$") else call.path(target)
        return (Alias(filename, handler, regex=compile_pcre(pattern)),)

    return parse


def _redirect(status: int | None, matching: bool) -> object:
    def parse(call: Call) -> tuple[Redirect, ...]:
        found = list(words(1, 2 if status else 3)(call))
        code = status or 302
        if status is None and (len(found) == 3 or _status(found[0])):
            code = _status(found[0]) or number(found[0], 100, 999)
            del found[0]
        return (_make_redirect(code, found, matching),)

    return parse


def _status(word: str) -> int | None:
    if word.isascii() and word.isdigit():
        return number(word, 300, 599)
    return _STATUS_NAMES.get(word.lower())


def _make_redirect(code: int, found: list[str], matching: bool) -> Redirect:
    try:
        HTTPStatus(code)
    except ValueError:
        raise ArgumentError(f"expected a status that there is, not {code}") from None
    has_location = 300 <= code < 400
    if len(found) != (2 if has_location else 1):
        raise ArgumentError(f"expected {'a path and a URL' if has_location else 'a path and no URL'} for status {code}")
    source, target = found[0], found[1] if has_location else ""
    if has_location and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|/|\$", target):
        raise ArgumentError(f"expected a URL, or a path that begins with /, not {target!r}")
    if matching:
        return Redirect(code, target, regex=compile_pcre(source))
    if not source.startswith("/"):
        raise ArgumentError(f"expected a path that begins with /, not {source!r}")
    return Redirect(code, target, prefix=source)


ALIASES: Setting[tuple[Alias, ...]] = Setting("Alias", (), inner_then_outer)
REDIRECTS: Setting[tuple[Redirect, ...]] = Setting("Redirect", (), inner_then_outer)


def _extend(before: tuple[object, ...] | None, more: tuple[object, ...]) -> tuple[object, ...]:
    return (*(before or ()), *more)


_FILE = "A path and all below it"
_REGEX = "Paths that match a regular expression"
for _name, _syntax, _parse, _help in (
    ("Alias", "path folder|file", _alias(""), f"{_FILE} come from a place outside of DocumentRoot."),
    ("AliasMatch", "regex folder|file", _alias_match(""), f"{_REGEX} come from a place outside of DocumentRoot."),
    ("ScriptAlias", "path folder|file", _alias(CGI), f"{_FILE} are programs in a folder."),
    ("ScriptAliasMatch", "regex folder|file", _alias_match(CGI), f"{_REGEX} are programs."),
):
    declare(
        Directive(
            name=_name,
            module="mod_alias",
            syntax=_syntax,
            where=SECTIONS & ~Where.DIRECTORY,
            help=_help,
            parse=_parse,  # type: ignore[arg-type]
            setting=ALIASES,
            fold=_extend,
        )
    )
for _name, _syntax, _parse, _help in (
    ("Redirect", "[status] path [URL]", _redirect(None, False), f"{_FILE} are elsewhere."),
    ("RedirectMatch", "[status] regex [URL]", _redirect(None, True), f"{_REGEX} are elsewhere."),
    ("RedirectPermanent", "path URL", _redirect(301, False), f"{_FILE} are elsewhere for good (301)."),
    ("RedirectTemp", "path URL", _redirect(302, False), f"{_FILE} are elsewhere for now (302)."),
):
    declare(
        Directive(
            name=_name,
            module="mod_alias",
            syntax=_syntax,
            where=ANYWHERE,
            override=Override.FILE_INFO,
            help=_help,
            parse=_parse,  # type: ignore[arg-type]
            setting=REDIRECTS,
            fold=_extend,
        )
    )


def locate(request: Request) -> Place | None:
    """The first alias that is for a request's URI."""
    for alias in request.site.settings[ALIASES]:
        filename = alias.locate(request.uri)
        if filename is not None:
            if alias.prefix:
                request.context_prefix, request.context_document_root = alias.prefix, alias.target
            return Place(filename, alias.handler)
    return None


def translate(request: Request) -> Response | None:
    """Redirects of the server and the virtual host, which come before any Alias."""
    return _redirected(request, request.site.settings[REDIRECTS])


def fixup(request: Request) -> Response | None:
    """Redirects of sections; those of the server are through already."""
    redirects = request.settings[REDIRECTS]
    return None if redirects is request.site.settings[REDIRECTS] else _redirected(request, redirects)


def _redirected(request: Request, redirects: tuple[Redirect, ...]) -> Response | None:
    for redirect in redirects:
        location = redirect.location(request.uri)
        if location is None:
            continue
        if not redirect.target:
            raise HTTPError(
                redirect.status, f"{request.uri} is answered with {redirect.status} by Redirect", module="alias"
            )
        if request.query and "?" not in location:
            location += f"?{request.query}"
        return errors.redirect(request, redirect.status, location)
    return None


register(
    Module(
        name="mod_alias",
        identifier="alias_module",
        order=20,
        translate=translate,
        locate=locate,
        routing=(ALIASES,),
        fixup=fixup,
    )
)
