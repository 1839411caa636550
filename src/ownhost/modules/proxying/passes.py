"""ProxyPass and ProxyPassMatch: which requests go to which other server."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ownhost.config.captures import substitute
from ownhost.config.directive import ArgumentError, Call
from ownhost.config.globs import is_glob
from ownhost.config.regex import Pattern
from ownhost.http.wire import unwire
from ownhost.modules.mod_alias import below
from ownhost.modules.proxying.backend import parse_url
from ownhost.modules.proxying.parameters import Worker, parse_parameters
from ownhost.modules.proxying.servlet import servlet_path
from ownhost.request.request import Request

STAYS = "!"
_REFERENCE = re.compile(r"\\[$&]|\$[0-9]")


@dataclass(frozen=True, slots=True)
class Pass:
    """One ProxyPass or ProxyPassMatch. Exactly one of `prefix` and `regex` is set."""

    url: str  # or STAYS
    prefix: str = ""
    regex: Pattern | None = None
    worker: Worker | None = None  # the parameters of the server there
    as_sent: bool = False  # nocanon: the path goes on as encoded by the client
    without_query: bool = False  # noquery
    mapping: str = ""  # "encoded" or "servlet": the path is compared before it is decoded

    def map(self, request: Request) -> tuple[str, bool] | None:
        """The URL for a request, and whether it is encoded; STAYS if it stays here; None if this does not apply.

        With a mapping, the request's path is still encoded; for a servlet, its parameters are
        removed here.

        The decoded path decides. The path as sent goes on only if it matches, too, with the same
        number of characters. Otherwise a client could ask the other server for something that was
        not checked here.
        """
        if self.mapping == "servlet" and self.regex is None:
            return self._map_servlet(request)
        found = self._map(request.uri)
        if found is None or self.url == STAYS:
            return None if found is None else (STAYS, False)
        if self.as_sent and request.previous is None:
            sent = unwire(request.head.target.partition("?")[0])
            raw = self._map(sent)
            if raw is not None and raw[0] == found[0]:
                return raw[1], True
        return found[1], bool(self.mapping)

    def _map_servlet(self, request: Request) -> tuple[str, bool] | None:
        found = servlet_path(request.uri, self.prefix)
        if found is None or self.url == STAYS:
            return None if found is None else (STAYS, False)
        url = self.url + request.uri[found[1] :]
        request.uri = found[0]  # sections are for the path that the other server sees
        return url, True

    def _map(self, path: str) -> tuple[int, str] | None:
        """How many characters of a path a prefix covers, and the URL."""
        if self.regex is not None:
            found = self.regex.search(path)
            if not found:
                return None
            url = substitute(self.url, found)
            return 0, url + path if url == self.url else url  # as in Apache: where nothing was put in, all is behind
        behind = below(path, self.prefix)
        return None if behind is None else (len(path) - len(behind), self.url + behind)


@dataclass(frozen=True, slots=True)
class Passes:
    """The passes of one place: a server's list, in order, or a Location's one."""

    listed: tuple[Pass, ...] = ()
    here: Pass | None = None

    @property
    def all(self) -> Iterator[Pass]:
        """Those of a Location before those of the server."""
        if self.here is not None:
            yield self.here
        yield from self.listed


def merge(outer: Passes, inner: Passes) -> Passes:
    """The main server's come before a virtual host's. A Location's replaces that of one around it."""
    return Passes((*outer.listed, *inner.listed), inner.here or outer.here)


def fold(before: Passes | None, more: Passes) -> Passes:
    """The pass of one line, added to those before."""
    return more if before is None else merge(before, more)


def parse_pass(call: Call) -> Passes:
    """ProxyPass: a path, unless a Location is it; a URL or !; parameters."""
    found = list(call.args)
    if found[:1] == ["~"]:
        del found[0]
        return _parse(call, found, matching=True)
    return _parse(call, found, matching=False)


def parse_match(call: Call) -> Passes:
    """ProxyPassMatch: the same with a regular expression."""
    return _parse(call, list(call.args), matching=True)


def _parse(call: Call, found: list[str], *, matching: bool) -> Passes:
    place = _take_place(call, found, matching=matching)
    matching = matching or (bool(call.section_kind) and is_glob(place))
    if not found:
        raise ArgumentError("expected a URL or !, got none")
    url, *rest = found
    flags = {word.lower() for word in rest if "=" not in word}
    if "interpolate" in flags:
        raise ArgumentError("interpolate is not supported: variables cannot stand in URLs here")
    if unknown := flags - {"nocanon", "noquery"}:
        raise ArgumentError(f"expected nocanon, noquery or key=value, not {unknown.pop()!r}")
    mapping = "".join(word[8:].lower() for word in rest if word[:8].lower() == "mapping=")
    if mapping not in ("", "encoded", "servlet"):
        raise ArgumentError(f"expected mapping=encoded or mapping=servlet, not {mapping!r}")
    changes = parse_parameters([word for word in rest if "=" in word and word[:8].lower() != "mapping="])
    if url != STAYS:
        url = _checked(url, place, matching=matching)
    one = Pass(
        url,
        "" if matching else place,
        Pattern(place, source=call.source) if matching else None,
        None if url == STAYS else Worker.at(_REFERENCE.split(url)[0] if matching else url, changes),
        as_sent="nocanon" in flags,
        without_query="noquery" in flags,
        mapping=mapping,
    )
    return Passes(here=one) if call.section_kind else Passes((one,))


def _checked(url: str, place: str, *, matching: bool) -> str:
    """The URL, which must be valid. Raises ArgumentError."""
    if matching and _REFERENCE.search(url):
        return _checked_template(url)
    if url[:5].lower() == "unix:" and url.endswith(":"):
        url += "//localhost"  # unix:/path|http: is enough
    if not parse_url(url).path and place.endswith("/") and not matching:
        url += "/"  # so that what follows does not become a part of the host's name
    return url


def _checked_template(url: str) -> str:
    """A URL with $1 and the like anywhere in it. Some replacement must make it a valid URL."""
    count = len(_REFERENCE.findall(url))
    for filled in range(count, 0, -1):  # the first ones a host and a port, perhaps, the others nothing or a path
        with contextlib.suppress(ArgumentError):
            parse_url(_REFERENCE.sub("", _REFERENCE.sub("1", url, count=filled)))
            return url
    parse_url(_REFERENCE.sub("", url))
    return url


def _take_place(call: Call, found: list[str], *, matching: bool) -> str:
    """The path or regular expression: the first word, or the Location's."""
    if call.section_kind:
        if call.section_kind not in ("Location", "LocationMatch"):
            raise ArgumentError(f"cannot stand in <{call.section_kind}>; expected in <VirtualHost> or <Location>")
        if found[:1] and found[0].startswith("/"):
            raise ArgumentError(
                f"in a <{call.section_kind}>, which is the path, expected a URL alone, not {found[0]!r}"
            )
        return call.section
    if len(found) < 2:
        raise ArgumentError("expected a path and a URL")
    place = found.pop(0)
    if not matching and not place.startswith("/"):
        raise ArgumentError(f"expected a path that begins with /, not {place!r}")
    return place
