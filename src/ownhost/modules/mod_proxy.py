"""mod_proxy: requests that other servers answer. What goes where, and what is said on the way; nothing is sent here.

As in Apache, a request that another server is to answer has "proxy:" and a URL for its file name, and the handler
"proxy-server". Sections for files don't apply to it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ownhost.config.arguments import choice, duration, flag, number
from ownhost.config.directive import (
    SECTIONS,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Setting,
    declare,
    extend,
    outer_then_inner,
)
from ownhost.config.model import Section, VirtualHost
from ownhost.http.message import HTTPError, Response
from ownhost.modules.proxying import passes, reverse
from ownhost.modules.proxying.backend import Backend, parse_url
from ownhost.modules.proxying.passes import STAYS, Passes
from ownhost.modules.proxying.reverse import Reverse
from ownhost.request import errors
from ownhost.request.module import Module, register
from ownhost.request.request import PROXIED, PROXY_HANDLER, Request

ENCODED = "proxy-nocanon"  # the note that a URL's path is encoded already, as Apache names it
WITHOUT_QUERY = "proxy-noquery"

PROXY_PASS: Setting[Passes] = Setting("ProxyPass", Passes(), passes.merge)
PROXY_PASS_REVERSE: Setting[tuple[Reverse, ...]] = Setting("ProxyPassReverse", (), outer_then_inner)
COOKIE_DOMAIN: Setting[tuple[Reverse, ...]] = Setting("ProxyPassReverseCookieDomain", (), outer_then_inner)
COOKIE_PATH: Setting[tuple[Reverse, ...]] = Setting("ProxyPassReverseCookiePath", (), outer_then_inner)
PROXY_PRESERVE_HOST = Setting("ProxyPreserveHost", False)
PROXY_ADD_HEADERS = Setting("ProxyAddHeaders", True)
PROXY_VIA = Setting("ProxyVia", "Off")  # "On", "Full", "Block" or "Off"
PROXY_TIMEOUT: Setting[float | None] = Setting("ProxyTimeout", None)  # None is Timeout
PROXY_ERROR_OVERRIDE: Setting[Collection[int]] = Setting("ProxyErrorOverride", frozenset())
_ERRORS = frozenset(range(400, 600))


def parse_requests(call: Call) -> None:
    """ProxyRequests, which may only be off."""
    if flag()(call):
        raise ArgumentError("On is not supported: this server answers for its own sites alone; expected Off")


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
        "A path and all below it are answered by another server; ! keeps them here.",
        passes.parse_pass,
        setting=PROXY_PASS,
        fold=passes.fold,
    ),
    Directive(
        "ProxyPassMatch",
        "mod_proxy",
        "[regex] !|URL [key=value...] [nocanon] [noquery]",
        SECTIONS,
        "Paths that match a regular expression are answered by another server; ! keeps them here.",
        passes.parse_match,
        setting=PROXY_PASS,
        fold=passes.fold,
    ),
    Directive(
        "ProxyPassReverse",
        "mod_proxy",
        "[path] URL",
        SECTIONS,
        "URLs of another server in its Location fields and the like become this server's.",
        reverse.parse_reverse,
        setting=PROXY_PASS_REVERSE,
        fold=extend,
    ),
    Directive(
        "ProxyPassReverseCookieDomain",
        "mod_proxy",
        "inner-domain outer-domain",
        SECTIONS,
        "The domain of another server's cookies becomes this one.",
        reverse.parse_cookie,
        setting=COOKIE_DOMAIN,
        fold=extend,
    ),
    Directive(
        "ProxyPassReverseCookiePath",
        "mod_proxy",
        "inner-path outer-path",
        SECTIONS,
        "The path of another server's cookies becomes this one.",
        reverse.parse_cookie,
        setting=COOKIE_PATH,
        fold=extend,
    ),
    Directive(
        "ProxyPreserveHost",
        "mod_proxy",
        "On|Off",
        SECTIONS,
        "Whether another server is told the Host that the client asked for, not its own.",
        flag(),
        setting=PROXY_PRESERVE_HOST,
        default="Off",
    ),
    Directive(
        "ProxyAddHeaders",
        "mod_proxy",
        "On|Off",
        SECTIONS,
        "Whether another server is told of the client: X-Forwarded-For, -Host and -Server.",
        flag(),
        setting=PROXY_ADD_HEADERS,
        default="On",
    ),
    Directive(
        "ProxyVia",
        "mod_proxy",
        "On|Off|Full|Block",
        SERVERS,
        "Whether this server names itself in Via; Block takes all of Via away.",
        choice({word: word for word in ("On", "Off", "Full", "Block")}),
        setting=PROXY_VIA,
        default="Off",
    ),
    Directive(
        "ProxyTimeout",
        "mod_proxy",
        "seconds",
        SERVERS,
        "How long another server may say nothing.",
        duration(),
        setting=PROXY_TIMEOUT,
        default="as Timeout",
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
        "Proxy100Continue",
        "mod_proxy",
        "On|Off",
        SECTIONS,
        "Whether another server is asked before it is sent a body. It never is: the body is here already.",
        flag(),
        answer=Answer.NO_EFFECT,
        default="On",
    ),
    Directive(
        "ProxyRequests",
        "mod_proxy",
        "Off",
        SERVERS,
        "Off: this server is no forward proxy, and cannot be one.",
        parse_requests,
        answer=Answer.NO_EFFECT,
        default="Off",
    ),
):
    declare(_directive)


def uses(server: VirtualHost) -> bool:
    """Whether any ProxyPass is said, for the server or in a section."""
    return PROXY_PASS in server.settings or any(map(_speaks, server.sections))


def _speaks(section: Section) -> bool:
    return PROXY_PASS in section.settings or any(map(_speaks, section.sections))


def translate(request: Request) -> Response | None:
    """Have another server answer what a ProxyPass says: a Location's own first, then the server's in order."""
    said = request.settings[PROXY_PASS]
    for one in (*([said.here] if said.here else ()), *request.site.settings[PROXY_PASS].listed):
        found = one.map(request)
        if found is None:
            continue
        url, as_sent = found
        if url != STAYS:
            forward(request, url, is_encoded=as_sent)
            if one.without_query:
                request.notes[WITHOUT_QUERY] = "1"
        return None
    return None


def forward(request: Request, url: str, *, is_encoded: bool) -> None:
    """Leave the answer to another server. `url` has no query: the request's own goes along."""
    request.filename = PROXIED + url
    request.handler = PROXY_HANDLER
    request.pure = False
    if is_encoded:
        request.notes[ENCODED] = "1"


def backend_of(request: Request) -> Backend | None:
    """The server that is to answer a request, and what it is asked for; None where none is but this one.

    A handler "proxy:URL" (SetHandler, AddHandler) sends the file's name along, as the path behind the URL's. Raises
    HTTPError 500 for a URL that is none.
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
    said = request.settings[PROXY_PASS]
    known = [*([said.here] if said.here else ()), *request.site.settings[PROXY_PASS].listed]
    return replace(
        backend,
        path=backend.path.rstrip("/") + behind if behind else backend.path,
        query=None if WITHOUT_QUERY in request.notes else request.query,
        is_encoded=ENCODED in request.notes,
        parameters=passes.parameters_for(known, url) or backend.parameters,
    )


def response_fields(request: Request, fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Another server's fields as this server says them: ProxyPassReverse and its like."""
    settings = request.settings
    return reverse.reversed_fields(
        fields,
        settings[PROXY_PASS_REVERSE],
        settings[COOKIE_DOMAIN],
        settings[COOKIE_PATH],
        lambda: errors.base_url(request),
    )


# Behind mod_rewrite and before mod_alias, as in Apache.
register(
    Module(
        name="mod_proxy",
        identifier="proxy_module",
        order=8,
        uses=uses,
        translate=translate,
        routing=(PROXY_PASS,),
        located=(PROXY_PASS,),
    )
)
