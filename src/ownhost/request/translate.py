"""From the URI to a file name: the steps before the modules' translate hooks, and after them (DocumentRoot)."""

from __future__ import annotations

import re
from urllib.parse import quote

from ownhost.http.message import Response
from ownhost.request import expressions
from ownhost.request.document_root import DOCUMENT_ROOT
from ownhost.request.request import Place, Request
from ownhost.request.sections import Target

_SLASHES = re.compile(r"/{2,}")


def begin(request: Request) -> None:
    """The steps before the modules translate: variables from the head, the cleaned path, the settings for it.

    Raises HTTPError.
    """
    site = request.site
    sent = not request.uri
    if sent:  # early hooks see the path as it was sent
        request.uri = request.head.path.encode("latin-1").decode("utf-8", "surrogateescape")
        request.query = request.head.query
    if not request.is_subrequest:
        for early in site.earlies:
            early(request)
    if site.pretranslates and _pretranslate(request, sent=sent):
        return
    if sent:
        request.uri = site.clean(request.head.path)
    _merge_by_uri(request)


def _pretranslate(request: Request, *, sent: bool) -> bool:
    """The hooks that see the encoded path. If one finds the target, the path stays encoded."""
    site, decoded = request.site, request.uri
    request.uri = site.normalize(request.head.path) if sent else quote(decoded, errors="surrogateescape")
    _merge_by_uri(request)
    for hook in site.pretranslates:
        hook(request)
        if request.filename:
            return True
    request.uri = decoded
    return False


def _merge_by_uri(request: Request) -> None:
    """Merge the settings for a URI without a known target, if any hook needs them."""
    site = request.site
    if not site.locates:
        request.settings = site.settings
        return
    target = Target(request.uri, "", (), "", lambda condition: expressions.holds(condition, request))
    match = site.sections.match_uri(target)
    request.env.update(match.variables)
    request.settings = site.sections.merge(match)


def locate(request: Request) -> Response | None:
    """Find the target of a cleaned URI: a module's, or the file below DocumentRoot."""
    for locator in request.site.locators:
        place = locator(request)
        if isinstance(place, Response):
            return place
        if place is not None:
            break
    else:
        place = Place(request.site.settings[DOCUMENT_ROOT].rstrip("/") + request.uri)
    request.filename, request.alias = place
    if "//" in request.filename:
        request.filename = _SLASHES.sub("/", request.filename)  # one file, one name, as sections compare it
    return None
