"""ProxyPassReverse and similar directives: another server's own names, replaced by this one's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ownhost.config.arguments import words
from ownhost.config.directive import ArgumentError, Call

_URLS = frozenset(("location", "content-location", "uri", "destination"))
_ABSOLUTE = re.compile("[A-Za-z0-9+.-]+:")
_ATTRIBUTE = re.compile(r"(;\s*)(path|domain)(\s*=\s*)([^;]*)", re.IGNORECASE)

Field = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Reverse:
    """One directive: the text to replace, and the replacement."""

    inner: str
    outer: str


def parse_reverse(call: Call) -> tuple[Reverse, ...]:
    """ProxyPassReverse: a path, unless a Location is it, and a URL."""
    found = [word for word in call.args if word.lower() != "interpolate"]
    if len(found) != len(call.args):
        raise ArgumentError("interpolate is not supported: variables cannot stand in URLs here")
    if call.section_kind and len(found) == 1:
        if call.section_kind not in ("Location", "LocationMatch"):
            raise ArgumentError(f"expected a path and a URL in a <{call.section_kind}>")
        return (Reverse(found[0], call.section),)
    if len(found) != 2:
        raise ArgumentError(f"expected a path and a URL, got {len(found) or 'none'}")
    path, url = found
    if not path.startswith("/"):
        raise ArgumentError(f"expected a path that begins with /, not {path!r}")
    return (Reverse(url, path),)


def parse_cookie(call: Call) -> tuple[Reverse, ...]:
    """The other server's value, and the one for clients."""
    inner, outer = words(2, 2)(call)
    return (Reverse(inner, outer),)


def reversed_fields(
    fields: Iterable[Field],
    urls: tuple[Reverse, ...],
    domains: tuple[Reverse, ...],
    paths: tuple[Reverse, ...],
    base: Callable[[], str],
) -> list[Field]:
    """The fields of a response with this server's URLs and cookies. `base` is the part before its paths."""
    result = []
    for name, value in fields:
        key = name.lower()
        if key in _URLS:
            value = reversed_url(value, urls, base)
        elif key == "set-cookie":
            value = reversed_cookie(value, domains, paths)
        result.append((name, value))
    return result


def reversed_url(url: str, reverses: tuple[Reverse, ...], base: Callable[[], str]) -> str:
    """A URL of the other server as one of this one: by the first prefix that it has, in any case."""
    for reverse in reverses:
        if url.lower().startswith(reverse.inner.lower()):
            made = reverse.outer + url[len(reverse.inner) :]
            return made if _ABSOLUTE.match(made) else base() + made
    return url


def reversed_cookie(cookie: str, domains: tuple[Reverse, ...], paths: tuple[Reverse, ...]) -> str:
    """Set-Cookie with this server's Domain and Path (RFC 6265, 5.2)."""

    def put(attribute: re.Match[str]) -> str:
        before, name, equals, value = attribute.groups()
        change = _path if name.lower() == "path" else _domain
        return f"{before}{name}{equals}{change(value, paths if change is _path else domains)}"

    return _ATTRIBUTE.sub(put, cookie)


def _path(value: str, reverses: tuple[Reverse, ...]) -> str:
    """The first that the path begins with."""
    for reverse in reverses:
        if value.startswith(reverse.inner):
            return reverse.outer + value[len(reverse.inner) :]
    return value


def _domain(value: str, reverses: tuple[Reverse, ...]) -> str:
    """The first that equals the domain, in any case."""
    for reverse in reverses:
        if value.strip().lower() == reverse.inner.lower():
            return reverse.outer
    return value
