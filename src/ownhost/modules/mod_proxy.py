"""mod_proxy: requests that other servers answer: which ones, and how they are changed. Nothing is sent here.

As in Apache, a request for another server has "proxy:" and a URL as its file name, and the handler
"proxy-server". Sections for files don't apply to it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from weakref import WeakKeyDictionary

from ownhost.config.arguments import choice, flag, number
from ownhost.config.directive import (
    SECTIONS,
    SERVERS,
    ArgumentError,
    Call,
    Directive,
    Setting,
    Settings,
    declare,
    extend,
    outer_then_inner,
)
from ownhost.config.model import Section, VirtualHost
from ownhost.http.message import HTTPError, Response
from ownhost.modules.proxying import passes, reverse
from ownhost.modules.proxying.backend import SPEAK_HTTP, Backend, parse_url
from ownhost.modules.proxying.connections import PROXY_BLOCK
from ownhost.modules.proxying.parameters import Worker, parameters_for, parse_parameters, without_socket
from ownhost.modules.proxying.passes import STAYS, Pass, Passes
from ownhost.modules.proxying.reverse import Reverse
from ownhost.request import errors
from ownhost.request.module import Module, register
from ownhost.request.proxied import PROXIED, PROXY_HANDLER
from ownhost.request.request import Hook, Request, SiteFacts

ENCODED = "proxy-nocanon"  # the note that a URL's path is encoded already, with Apache's name
WITHOUT_QUERY = "proxy-noquery"

PROXY_PASS: Setting[Passes] = Setting("ProxyPass", Passes(), passes.merge)
PROXY_SET: Setting[tuple[Worker, ...]] = Setting("ProxySet", (), outer_then_inner)
PROXY_PASS_REVERSE: Setting[tuple[Reverse, ...]] = Setting("ProxyPassReverse", (), outer_then_inner)
COOKIE_DOMAIN: Setting[tuple[Reverse, ...]] = Setting("ProxyPassReverseCookieDomain", (), outer_then_inner)
COOKIE_PATH: Setting[tuple[Reverse, ...]] = Setting("ProxyPassReverseCookiePath", (), outer_then_inner)
PROXY_PRESERVE_HOST = Setting("ProxyPreserveHost", False)
PROXY_ADD_HEADERS = Setting("ProxyAddHeaders", True)
PROXY_VIA = Setting("ProxyVia", "Off")  # "On", "Full", "Block" or "Off"
PROXY_ERROR_OVERRIDE: Setting[Collection[int]] = Setting("ProxyErrorOverride", frozenset())
WEBSOCKET_FALLBACK = Setting("ProxyWebsocketFallbackToProxyHttp", True)
_ERRORS = frozenset(range(400, 600))


def parse_set(call: Call) -> tuple[Worker, ...]:
    """A URL, unless a <Proxy> is it, and key=value. Raises ArgumentError."""
    inside = call.section_kind == "Proxy"
    if call.section_kind == "ProxyMatch":
        raise ArgumentError("cannot stand in <ProxyMatch>, which is for many servers; expected in <Proxy>")
    url, *found = [call.section, *call.args] if inside else call.args or ("",)
    url = without_socket(url)
    parse_url(f"{url}//localhost" if url.endswith(":") else url)
    if not found:
        raise ArgumentError("expected key=value, got none")
    return (Worker.at(url, parse_parameters(found)),)


def parse_error_override(call: Call) -> frozenset[int]:
    """On, Off, or the statuses that the server's own error documents replace."""
    if not call.args:
        raise ArgumentError("expected On, Off or statuses, got none")
    word, *statuses = call.args
    if word.lower() == "off" and not statuses:
        return frozenset()
    if word.lower() == "on":
        return frozenset(number(status, 400, 599) for status in statuses) or _ERRORS
    return frozenset(number(status, 400, 599) for status in call.args)


for _directive in (
    Directive(
        "ProxyPass",
        "mod_proxy",
        "[path] !|URL [key=value...] [nocanon] [noquery]",
        SECTIONS,
        "Another server answers a path and all below it; ! keeps them here.",
        passes.parse_pass,
        setting=PROXY_PASS,
        fold=passes.fold,
    ),
    Directive(
        "ProxyPassMatch",
        "mod_proxy",
        "[regex] !|URL [key=value...] [nocanon] [noquery]",
        SECTIONS,
        "Another server answers paths that match a regular expression; ! keeps them here.",
        passes.parse_match,
        setting=PROXY_PASS,
        fold=passes.fold,
    ),
    Directive(
        "ProxyPassReverse",
        "mod_proxy",
        "[path] URL",
        SECTIONS,
        "Replaces another server's URLs, in its Location and similar fields, by this server's.",
        reverse.parse_reverse,
        setting=PROXY_PASS_REVERSE,
        fold=extend,
    ),
    Directive(
        "ProxyPassReverseCookieDomain",
        "mod_proxy",
        "inner-domain outer-domain",
        SECTIONS,
        "Replaces the domain of another server's cookies by this one.",
        reverse.parse_cookie,
        setting=COOKIE_DOMAIN,
        fold=extend,
    ),
    Directive(
        "ProxyPassReverseCookiePath",
        "mod_proxy",
        "inner-path outer-path",
        SECTIONS,
        "Replaces the path of another server's cookies by this one.",
        reverse.parse_cookie,
        setting=COOKIE_PATH,
        fold=extend,
    ),
    Directive(
        "ProxyPreserveHost",
        "mod_proxy",
        "On|Off",
        SECTIONS,
        "Whether another server is sent the Host that the client asked for instead of its own.",
        flag(),
        setting=PROXY_PRESERVE_HOST,
        default="Off",
    ),
    Directive(
        "ProxyAddHeaders",
        "mod_proxy",
        "On|Off",
        SECTIONS,
        "Whether another server is told about the client: X-Forwarded-For, -Host and -Server.",
        flag(),
        setting=PROXY_ADD_HEADERS,
        default="On",
    ),
    Directive(
        "ProxyVia",
        "mod_proxy",
        "On|Off|Full|Block",
        SERVERS,
        "Whether this server adds itself to Via. Block removes Via.",
        choice({word: word for word in ("On", "Off", "Full", "Block")}),
        setting=PROXY_VIA,
        default="Off",
    ),
    Directive(
        "ProxyErrorOverride",
        "mod_proxy",
        "On|Off [status...]",
        SECTIONS,
        "Whether this server's error documents replace another one's error pages.",
        parse_error_override,
        setting=PROXY_ERROR_OVERRIDE,
        default="Off",
    ),
    Directive(
        "ProxySet",
        "mod_proxy",
        "[URL] key=value...",
        SECTIONS,
        "Parameters for a server behind this one; in <Proxy>, for the server of the section.",
        parse_set,
        setting=PROXY_SET,
        fold=extend,
    ),
    Directive(
        "ProxyWebsocketFallbackToProxyHttp",
        "mod_proxy_wstunnel",
        "On|Off",
        SECTIONS,
        "Whether ProxyPass to ws:// also applies to requests that do not ask for WebSocket.",
        flag(),
        setting=WEBSOCKET_FALLBACK,
        default="On",
    ),
):
    declare(_directive)


def uses(server: VirtualHost) -> bool:
    """Whether there is any ProxyPass, for the server or in a section."""
    return server.says(PROXY_PASS)


def pretranslate(server: VirtualHost) -> Hook | None:
    """The hook that sees the encoded path, if any ProxyPass has a mapping."""
    said = (settings[PROXY_PASS].all for settings in _scopes(server.settings, server.sections))
    return _pretranslate if any(one.mapping for passes in said for one in passes) else None


def _scopes(settings: Settings, sections: Iterable[Section]) -> Iterator[Settings]:
    """A server's settings, and those of all its sections."""
    yield settings
    for section in sections:
        yield from _scopes(section.settings, section.sections)


def _pretranslate(request: Request) -> Response | None:
    _translate(request, is_encoded=True)
    return None


def translate(request: Request) -> Response | None:
    """Have another server answer, if a ProxyPass says so: a Location's own first, then the server's in order."""
    _translate(request, is_encoded=False)
    return None


def _translate(request: Request, *, is_encoded: bool) -> None:
    """Each ProxyPass compares the encoded path if it has a mapping, otherwise the decoded one."""
    if "no-proxy" in request.env:
        return
    here, listed = request.settings[PROXY_PASS].here, request.site.settings[PROXY_PASS].listed
    for one in (*([here] if here else ()), *listed):
        if bool(one.mapping) != is_encoded or _is_for_websockets(request, one):
            continue
        found = one.map(request)
        if found is None:
            continue
        url, goes_encoded = found
        if url != STAYS:
            forward(request, url, is_encoded=goes_encoded)
            if one.without_query:
                request.notes[WITHOUT_QUERY] = "1"
        return


def _is_for_websockets(request: Request, one: Pass) -> bool:
    """Whether a pass is only for requests for WebSocket, and this is not one."""
    if request.settings[WEBSOCKET_FALLBACK] or not without_socket(one.url).lower().startswith(("ws:", "wss:")):
        return False
    request.pure = False
    return "upgrade" not in request.head.values


def forward(request: Request, url: str, *, is_encoded: bool) -> None:
    """Leave the response to another server. `url` has no query: the request's own is appended."""
    request.filename = PROXIED + url
    request.handler = PROXY_HANDLER
    request.pure = False
    if is_encoded:
        request.notes[ENCODED] = "1"


def backend_of(request: Request) -> Backend | None:
    """The server for a request, and the URL to ask for; None if this server answers.

    A handler "proxy:URL" (SetHandler, AddHandler) appends the file's name to the URL's path. Raises
    HTTPError 500 for an invalid URL.
    """
    if request.is_proxied:
        url, behind = request.filename.removeprefix(PROXIED), ""
    elif request.handler.startswith(PROXIED):
        url, behind = request.handler.removeprefix(PROXIED), request.filename
    else:
        return None
    try:
        backend = parse_url(url)
    except ArgumentError as error:
        raise HTTPError(500, f"no server can be asked for {request.uri}: {error}", module="proxy") from None
    if any(word == "*" or word in backend.host for word in request.site.settings[PROXY_BLOCK]):
        raise HTTPError(403, f"connect to remote machine blocked: {backend.host} is in ProxyBlock", module="proxy")
    parameters = parameters_for(url, backend.parameters, _workers(request))
    if parameters.disabled:
        raise HTTPError(503, f"{backend.authority} is disabled (status=D)", module="proxy")
    return _checked(
        replace(
            backend,
            path=backend.path.rstrip("/") + behind if behind else backend.path,
            query=None if WITHOUT_QUERY in request.notes else request.query,
            is_encoded=ENCODED in request.notes,
            parameters=parameters,
        )
    )


def _checked(backend: Backend) -> Backend:
    """A backend that may be asked. Raises HTTPError 403, as Apache does."""
    if backend.scheme in SPEAK_HTTP:
        for what, text in (("path", backend.path if backend.is_encoded else ""), ("query string", backend.query or "")):
            if _UNFIT.search(text):
                why = f"To be forwarded {what} contains control characters or spaces"
                raise HTTPError(403, why, module="proxy_http")
    return backend


_UNFIT = re.compile(r"[\x00-\x20\x7f]")


def _workers(request: Request) -> tuple[Worker, ...]:
    """All settings for servers behind this one in a virtual host, and in all its sections."""
    site = request.site
    if site not in _known_workers:
        found: list[Worker] = []
        for settings in _scopes(site.settings, site.virtual_host.sections):
            found.extend(one.worker for one in settings[PROXY_PASS].all if one.worker is not None)
            said: tuple[Worker, ...] = settings[PROXY_SET]
            found.extend(said)
        _known_workers[site] = tuple(found)
    return _known_workers[site]


_known_workers: WeakKeyDictionary[SiteFacts, tuple[Worker, ...]] = WeakKeyDictionary()


def response_fields(request: Request, fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Rewrite another server's fields to this server's: ProxyPassReverse and similar directives."""
    settings = request.settings
    return reverse.reversed_fields(
        fields,
        settings[PROXY_PASS_REVERSE],
        settings[COOKIE_DOMAIN],
        settings[COOKIE_PATH],
        lambda: errors.base_url(request),
    )


# After mod_rewrite and before mod_alias, as in Apache.
register(
    Module(
        name="mod_proxy",
        identifier="proxy_module",
        order=8,
        uses=uses,
        pretranslate=pretranslate,
        translate=translate,
        located=(PROXY_PASS, WEBSOCKET_FALLBACK),
    )
)
