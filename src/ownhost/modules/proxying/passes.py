"""ProxyPass and ProxyPassMatch: which requests go to which other server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ownhost.config.captures import captured, substitute
from ownhost.config.directive import ArgumentError, Call
from ownhost.config.regex import compile_pcre
from ownhost.http.wire import unwire
from ownhost.modules.mod_alias import below
from ownhost.modules.proxying.backend import DEFAULTS, RETRY, Parameters, parse_parameters, parse_url
from ownhost.request.request import Request

STAYS = "!"
_REFERENCE = re.compile(r"[$&][0-9]?|\\.")


@dataclass(frozen=True, slots=True)
class Pass:
    """One ProxyPass or ProxyPassMatch. Exactly one of `prefix` and `regex` is set."""

    url: str  # or STAYS
    prefix: str = ""
    regex: re.Pattern[str] | None = None
    parameters: Parameters = DEFAULTS
    as_sent: bool = False  # nocanon: the path goes on encoded as the client sent it
    without_query: bool = False  # noquery

    def map(self, request: Request) -> tuple[str, bool] | None:
        """The URL for a request, and whether it is as sent; STAYS for one to stay here; None where this is not for it.

        It is for what the path means. What was sent goes on only where this is for that, too, by as many characters:
        else a client could have something asked for that was not looked at here.
        """
        found = self._map(request.uri)
        if found is None or self.url == STAYS:
            return None if found is None else (STAYS, False)
        if self.as_sent and request.previous is None:
            sent = unwire(request.head.target.partition("?")[0])
            raw = self._map(sent)
            if raw is not None and raw[0] == found[0]:
                return raw[1], True
        return found[1], False

    def _map(self, path: str) -> tuple[int, str] | None:
        """How many characters of a path a prefix takes, and the URL."""
        if self.regex is not None:
            match = self.regex.search(path)
            rest = path if match and not _REFERENCE.search(self.url) else ""
            return (0, substitute(self.url, captured(match)) + rest) if match else None
        behind = below(path, self.prefix)
        return None if behind is None else (len(path) - len(behind), self.url + behind)


@dataclass(frozen=True, slots=True)
class Passes:
    """What is said in one place: a server's list, in order, or a Location's one."""

    listed: tuple[Pass, ...] = ()
    here: Pass | None = None


def merge(outer: Passes, inner: Passes) -> Passes:
    """The main server's come before a virtual host's; a Location's replaces that of one around it."""
    return Passes((*outer.listed, *inner.listed), inner.here or outer.here)


def fold(before: Passes | None, more: Passes) -> Passes:
    """What one place says, added to what it said before."""
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
    if not found:
        raise ArgumentError("expected a URL or !, got none")
    url, *rest = found
    flags = {word.lower() for word in rest if "=" not in word}
    if "interpolate" in flags:
        raise ArgumentError("interpolate is not supported: variables cannot stand in URLs here")
    if unknown := flags - {"nocanon", "noquery"}:
        raise ArgumentError(f"expected nocanon, noquery or key=value, not {unknown.pop()!r}")
    parameters = DEFAULTS
    if url != STAYS:
        checked = parse_url(_REFERENCE.sub("1", url) if matching else url)
        if not checked.path and place.endswith("/") and not matching:
            url += "/"  # lest what follows goes on with the host's name
        parameters = parse_parameters([word for word in rest if "=" in word], replace(checked.parameters, retry=RETRY))
    one = Pass(
        url,
        "" if matching else place,
        compile_pcre(place) if matching else None,
        parameters,
        as_sent="nocanon" in flags,
        without_query="noquery" in flags,
    )
    return Passes(here=one) if call.section_kind else Passes((one,))


def _take_place(call: Call, found: list[str], *, matching: bool) -> str:
    """The path or regular expression: the first word, or what the Location says."""
    if call.section_kind:
        expected = "LocationMatch" if matching else "Location"
        if call.section_kind != expected:
            name = "ProxyPass" if matching else "ProxyPassMatch"
            hint = f"; there {name} can" if call.section_kind.startswith("Location") else ""
            raise ArgumentError(
                f"cannot stand in <{call.section_kind}>; expected in <VirtualHost> or <{expected}>{hint}"
            )
        if found[:1] and found[0].startswith("/"):
            raise ArgumentError(f"in a <{expected}>, which is the path, expected a URL alone, not {found[0]!r}")
        return call.section
    if len(found) < 2:
        raise ArgumentError("expected a path and a URL")
    place = found.pop(0)
    if not matching and not place.startswith("/"):
        raise ArgumentError(f"expected a path that begins with /, not {place!r}")
    return place


def parameters_for(passes: Sequence[Pass], url: str) -> Parameters | None:
    """Those of the pass whose URL is the longest start of another one, as Apache finds a worker; None where none is."""
    found, length = None, 0
    for one in passes:
        start = re.split(r"[$&\\]", one.url)[0] if one.regex else one.url
        if len(start) > length and url.startswith(start):
            found, length = one.parameters, len(start)
    return found
