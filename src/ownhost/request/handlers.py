"""The handler phase: the handler makes the response. And what happens if there is no handler of that name.

Then Apache sends the file. Applications rely on that: they name a handler that does not exist, so
that nothing in a folder is run. But a name that some other server uses for programs means that the
file is a program's source, which no client may see.
"""

from __future__ import annotations

import functools
import re

from ownhost.http.message import HTTPError, Response
from ownhost.request.proxied import PROXIED, PROXY_HANDLER
from ownhost.request.request import Request

DEFAULT_HANDLER = "default-handler"  # sends files

# Handlers that interpret, include or compute: of other modules, of panels, and usual names of
# Actions.
_PROGRAMS = re.compile(
    r"""
      (?: application | text ) / x- .*          # application/x-httpd-php, text/x-server-parsed-html
    | x- (?: httpd | lsphp | php | mapp ) .*    # x-httpd-ea-php81, x-mapp-php5
    | .+ [-_] (?: script | program | cgi | fcgi | fpm | handler-php ) (?: [-_.\d].* )?   # perl-script, python-program
    | (?: php | hhvm | lsphp | lsapi | suphp | f?cgi | fcgid | fastcgi | [aw]sgi | perl | python | ruby | lua ) .*
    | modperl | mod_perl | mod_python | passenger | rack | rails | rivet .* | parser3 .*
    | server- .+ | type-map | imap-file | send-as-is | balancer-manager | ldap-status | md-status | heartbeat
    | proxy: .* | proxy-server | jakarta-servlet | isapi-handler | isapi-isa | dav .* | caucho .*
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

# The same for media types, which stand for a handler if none is named. Most are only types.
_PROGRAM_TYPES = re.compile(
    r"(?:application|text)/x-(?:httpd-(?:.*(?:php|cgi|lsphp).*)|lsphp.*|lsapi.*|server-parsed-html3?)"
    r"|httpd/send-as-is|application/x-type-map",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=256)
def is_program(name: str) -> bool:
    """Whether a handler's name is a program's, so that a file is not sent if there is no such handler."""
    return _PROGRAMS.fullmatch(name) is not None


@functools.lru_cache(maxsize=256)
def is_program_type(media_type: str) -> bool:
    """The same for the media type of a file without a handler."""
    return _PROGRAM_TYPES.fullmatch(media_type) is not None


def handle(request: Request) -> Response:
    """Have the handler make the response. By default a file is sent, unless it is a program's. Raises HTTPError."""
    handlers = request.site.handlers
    name = request.handler or _program_type(request)
    handler = handlers.get(PROXY_HANDLER if name.startswith(PROXIED) else name or DEFAULT_HANDLER)
    if handler is None:
        if is_program(name):
            unloaded = (
                "" if request.site.virtual_host.loaded is None else " among the modules that LoadModule lines name"
            )
            why = f"{request.filename}: there is no handler {name!r}{unloaded}; the file itself is not sent instead"
            raise HTTPError(500, why)
        handler = handlers[DEFAULT_HANDLER]
    if request.pure:
        request.handled_by = handler
    return handler(request)


def _program_type(request: Request) -> str:
    """The media type of a file, if it names a handler; "" for most."""
    media_type = request.content_type.partition(";")[0].rstrip()
    return media_type if is_program_type(media_type) else ""
