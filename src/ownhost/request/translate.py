"""The first phase: from the URI to a file name (DocumentRoot, and the modules that have a say)."""

from __future__ import annotations

import posixpath

from ownhost.config.arguments import single
from ownhost.config.directive import SERVERS, ArgumentError, Call, Directive, Setting, declare
from ownhost.http.message import Response
from ownhost.request.request import Request


def parse_document_root(call: Call) -> str:
    """A folder; a relative one starts at ServerRoot. It need not exist yet, and need not be readable by root."""
    word = single(call)
    if not word:
        raise ArgumentError("expected a folder, not an empty word")
    return posixpath.normpath(call.path(word))


DOCUMENT_ROOT = Setting("DocumentRoot", "/usr/local/apache/htdocs")

declare(
    Directive(
        name="DocumentRoot",
        module="core",
        syntax="folder",
        where=SERVERS,
        default="/usr/local/apache/htdocs",
        help="The folder that requests are served from.",
        parse=parse_document_root,
        setting=DOCUMENT_ROOT,
    )
)


def translate(request: Request) -> Response | None:
    """Find the file name for a request whose `uri` is set; or an answer that needs none. Raises HTTPError."""
    site = request.site
    for hook in site.translates:
        response = hook(request)
        if response is not None:
            return response
    request.filename, request.alias = site.router.locate(request.uri)
    return None
