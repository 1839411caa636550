"""Requests that the server makes itself, for another URI: internal redirects and subrequests.

Each enters the phases at a named one. An internal redirect answers instead of its original request.
A subrequest is a look; its maker says how far it goes (`road.advance`).
"""

from __future__ import annotations

from copy import copy

from ownhost.http.message import HTTPError, Response
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance

MAX_REDIRECTS = 10  # for one request (Apache's LimitInternalRecursion)


def redirected(request: Request, uri: str, query: str | None = None) -> Request:
    """A request for another URI (decoded), to answer instead of this one. It enters at TRANSLATE.

    Programs find the variables of the original request under REDIRECT_ names. Raises HTTPError 500
    for a loop.
    """
    env = {f"REDIRECT_{name}": value for name, value in request.env.items()}
    return _another(request, uri, query, Phase.TRANSLATE, env)


def subrequest(request: Request, uri: str, query: str | None = None, filename: str = "") -> Request:
    """A look at another URI (decoded), with this request's variables. Raises HTTPError 500 for a loop.

    It enters at TRANSLATE; with a file name, at WALK.
    """
    inner = _another(request, uri, query, Phase.WALK if filename else Phase.TRANSLATE, dict(request.env))
    inner.filename, inner.is_subrequest, inner.fields = filename, True, []
    return inner


def _another(request: Request, uri: str, query: str | None, phase: Phase, env: dict[str, str]) -> Request:
    count, before = 0, request.previous
    while before is not None:
        count, before = count + 1, before.previous
    if count >= MAX_REDIRECTS:
        limit = f"the limit of {MAX_REDIRECTS} internal redirects due to probable configuration error"
        raise HTTPError(500, f"AH00124: Request exceeded {limit}, the last one to {uri}")
    if request.levels is None and request.site.htaccess is not None:
        request.levels = {}  # both look into one table: the response is remembered for this request
    return Request(
        request.head,
        request.endpoints,
        request.site,
        request.time,
        request.log,
        phase=phase,
        uri=uri,
        query=query,
        previous=request,
        status=request.error_status or request.status,
        error_status=request.error_status,
        levels=request.levels,
        pure=request.pure,
        fields=request.fields,
        env=env,
    )


def is_decided(request: Request) -> bool:
    """Whether access was decided with the request before: for an error's page, if the same settings apply to it.

    As in Apache: else a page that explains a refusal could not be in the folder that it is about.
    """
    before = request.previous
    return request.error_status != 0 and before is not None and request.settings is before.settings


def answer_as(request: Request, inner: Request) -> Response:
    """The answer to an internal redirect, which the request becomes: logs and modules see it as that one.

    Raises HTTPError.
    """
    inner.previous = copy(request)  # programs are told later what the original request was
    try:
        return answer(inner)
    finally:
        request.become(inner)


def answer(request: Request) -> Response:
    """All remaining phases of a request. Raises HTTPError."""
    response = advance(request)
    assert response is not None, "every handler answers"
    return response
