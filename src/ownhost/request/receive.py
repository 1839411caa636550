"""The first phase: requests that need no file; and the limit on bodies."""

from __future__ import annotations

from ownhost.http.limits import LIMIT_REQUEST_BODY, TRACE_ENABLE
from ownhost.http.message import HTTPError, Response
from ownhost.request.request import Request

_SECRET = ("authorization", "cookie", "proxy-authorization")  # not repeated to what may be a script


def receive(request: Request) -> Response | None:
    """Answer requests to the server as a whole. Raises HTTPError."""
    if request.method == "TRACE":
        return _trace(request)
    if request.head.path == "*":
        return Response(200)
    return None


def _trace(request: Request) -> Response:
    """TRACE: the request's head, sent back (RFC 9110, 9.3.8). Raises HTTPError."""
    enabled = request.site.settings[TRACE_ENABLE]
    head = request.head
    if enabled == "Off":
        raise HTTPError(405, "TraceEnable is off", (("Allow", "GET, HEAD, POST, OPTIONS"),))
    if head.has_body and enabled != "extended":
        raise HTTPError(413, "a TRACE request with a body")
    lines = [f"{name}: {value}" for name, value in head.fields if name.lower() not in _SECRET]
    text = "\r\n".join((f"{head.method} {head.target} {head.protocol}", *lines, "", ""))
    return Response(200, [("Content-Type", "message/http")], text.encode("latin-1"))


def limit_body(request: Request) -> None:
    """Refuse a body whose announced length is too large. Raises HTTPError 413."""
    limit = request.settings[LIMIT_REQUEST_BODY]
    if limit and request.head.content_length > limit and not request.error_status:  # that error may be just this one
        said = f"Requested content-length of {request.head.content_length}"
        raise HTTPError(413, f"AH01588: {said} is larger than the configured limit of {limit}", module="http")
