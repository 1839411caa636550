"""Serving a request: the phases in their order, and what happens when one of them says no.

translate -> walk -> access -> fixups -> handler. Internal redirects (DirectoryIndex, ErrorDocument) go through them
again as a request of their own.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

from ownhost.config.directive import Settings
from ownhost.http.framing import unsound
from ownhost.http.limits import LIMIT_REQUEST_BODY, TRACE_ENABLE
from ownhost.http.message import ClientGone, Head, HTTPError, RequestBody, Response, let_go
from ownhost.request import bugs, errors
from ownhost.request.handlers import is_program, is_program_type
from ownhost.request.request import PROXIED, PROXY_HANDLER, Elsewhere, Level, Request
from ownhost.request.translate import begin
from ownhost.request.walk import walk
from ownhost.request.ways import Way

MAX_REDIRECTS = 10  # internal ones, for one request (Apache's LimitInternalRecursion)
# After these the connection ends, as in Apache (ap_status_drops_connection): what follows may be part of what failed.
_LAST = frozenset((400, 408, 411, 413, 414, 500, 501, 503))
DEFAULT_HANDLER = "default-handler"
_SECRET = ("authorization", "cookie", "proxy-authorization")  # not repeated to what may be a script


def respond(request: Request, *, recalls: bool = True) -> Response:
    """The response to a request, whatever happens. Raises Elsewhere alone.

    `recalls`: what is remembered may answer it, as it is known whose the request is.
    """
    try:
        return _respond(request, recalls=recalls)
    except Elsewhere:
        raise
    except Exception as error:
        return error_response(request, error)


def _respond(request: Request, *, recalls: bool) -> Response:
    memory = request.site.memory
    remembered = memory.recall(request) if recalls else None
    if remembered is not None:
        return remembered
    head = request.head
    way = request.site.ways.recall(request) if recalls else None
    response = run(request) if way is None else _go(way, request)
    if response.deferred is not None and way is None:
        request.site.ways.remember(request, head)
    finish(request, response)
    if request.pure:
        memory.remember(request, response)
    return response


def _go(way: Way, request: Request) -> Response:
    """Have a request answered that is at the end of its way. Raises HTTPError."""
    check_body(request.head, request.settings)
    return way.handler(request)


def finish(request: Request, response: Response, *, last: bool = False) -> None:
    """Let modules add to a response that is about to be sent, whatever it is. Never raises.

    One with fields that no head can have becomes an error, whoever added them, and an error's own page a bare one
    (`last`). Where a module fails, it is bare at once: what the others were to see to may be missing.
    """
    if response.deferred is not None:
        response.after.append(lambda final: finish(request, final, last=last))
        return
    request.status = response.status
    try:
        known = len(request.vary)
        _say_vary(response, request.vary)
        for hook in request.site.finishes:
            hook(request, response)
        _say_vary(response, request.vary[known:])
        response.headers[:0] = request.fields
    except Exception as error:
        bugs.report(request.log, error)
        let_go(response.body)
        errors.make_bare(response)
        return
    fault = unsound(response.headers)
    if fault:
        let_go(response.body)
        request.fields.clear()
        if last:
            request.log(Level.ERROR, "http", fault)
            errors.make_bare(response)
        else:
            response.become(error_response(request, HTTPError(500, fault, module="http")))


def _say_vary(response: Response, names: list[str]) -> None:
    """Have a response say that it depends on fields of the request, in one field, each name once."""
    if response.own_page or not names:
        return
    said = [value for name, value in response.headers if name.lower() == "vary"]
    every = {name.strip().lower(): name.strip() for name in ",".join((*said, *names)).split(",")}
    response.headers = [field for field in response.headers if field[0].lower() != "vary"]
    response.headers.append(("Vary", ",".join(every.values())))


def run(request: Request) -> Response:
    """All phases. Raises HTTPError."""
    if request.site.virtual_host.fault is not None:
        raise HTTPError(500, str(request.site.virtual_host.fault))
    if request.method == "TRACE":
        return _trace(request)
    if request.head.path == "*":
        return Response(200)
    response = find(request)
    if response is None:
        response = fixup(request)
    return handle(request) if response is None else response


def _trace(request: Request) -> Response:
    """TRACE: the request's head, for whoever sent it (RFC 9110, 9.3.8). Raises HTTPError."""
    enabled = request.site.settings[TRACE_ENABLE]
    head = request.head
    if enabled == "Off":
        raise HTTPError(405, "TraceEnable is off", (("Allow", "GET, HEAD, POST, OPTIONS"),))
    if head.has_body and enabled != "extended":
        raise HTTPError(413, "a TRACE request with a body")
    lines = [f"{name}: {value}" for name, value in head.fields if name.lower() not in _SECRET]
    text = "\r\n".join((f"{head.method} {head.target} {head.protocol}", *lines, "", ""))
    return Response(200, [("Content-Type", "message/http")], text.encode("latin-1"))


def find(request: Request) -> Response | None:
    """The phases up to the permission to see the file: translate, walk, access. Raises HTTPError."""
    response = begin(request)
    if response is not None:
        return response
    walk(request)
    if not request.is_subrequest:
        for prepare in request.site.preparations:
            prepare(request)
    if not request.error_status:  # the error may be just that
        check_body(request.head, request.settings)
    for hook in request.site.accesses:
        response = hook(request)
        if response is not None:
            return response
    return None


def check_body(head: Head, settings: Settings) -> None:
    """Refuse a body that announces to be too large. Raises HTTPError 413."""
    limit = settings[LIMIT_REQUEST_BODY]
    if limit and head.content_length > limit:
        why = f"Requested content-length of {head.content_length} is larger than the configured limit of {limit}"
        raise HTTPError(413, f"AH01588: {why}", module="http")


def fixup(request: Request) -> Response | None:
    """Types, environment, redirects that need the file. Raises HTTPError."""
    for hook in request.site.fixups:
        response = hook(request)
        if response is not None:
            return response
    return None


def handle(request: Request) -> Response:
    """Have the handler make the response. The default one stands in for what nobody has, unless that is a program's."""
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
    """The media type of a file that so names its handler; "" for most."""
    media_type = request.content_type.partition(";")[0].rstrip()
    return media_type if is_program_type(media_type) else ""


def redirected(request: Request, uri: str, query: str | None = None, *, subrequest: bool = False) -> Request:
    """A request for another URI (decoded) of this server, in a request's stead. Raises HTTPError 500 for a loop.

    Programs find the variables of the request that it stands in for under REDIRECT_ names; a subrequest shares them.
    """
    count, step = 0, request.previous
    while step is not None:
        count, step = count + 1, step.previous
    if count >= MAX_REDIRECTS:
        limit = f"the limit of {MAX_REDIRECTS} internal redirects due to probable configuration error"
        raise HTTPError(500, f"AH00124: Request exceeded {limit}, the last one to {uri}")
    return Request(
        request.head,
        request.endpoints,
        request.site,
        request.time,
        request.log,
        uri=uri,
        query=query,
        previous=request,
        status=request.error_status or request.status,
        error_status=request.error_status,
        pure=request.pure,
        is_subrequest=subrequest,
        fields=[] if subrequest else request.fields,
        env=dict(request.env) if subrequest else {f"REDIRECT_{name}": value for name, value in request.env.items()},
    )


def go_on(request: Request, inner: Request) -> Response:
    """Have another request, made by `redirected`, answer in a request's stead. Raises HTTPError."""
    inner.previous = copy(request)  # programs are told later what was asked for, before it became the other
    try:
        return run(inner)
    finally:
        request.become(inner)


def error_response(request: Request, error: Exception) -> Response:
    """The response for an error: what ErrorDocument says, else the plain page. Logs why. Never raises.

    Whatever is no HTTPError is a bug, and a 500.
    """
    try:
        if not isinstance(error, HTTPError):
            bugs.report(request.log, error)
            error = HTTPError(500)
        return _error_response(request, error)
    except Exception as another:
        bugs.report(request.log, another)
        response = Response(500)
        errors.make_bare(response)
        return response


def _error_response(request: Request, error: HTTPError) -> Response:
    if error.reason:
        request.log(error.level, error.module, error.reason)
    document = errors.document_for(request, error.status)
    if document is None or request.error_status:
        response = errors.simple(request, error)
    elif document.kind == "text":
        response = errors.text(document, error.status)
        response.headers += error.headers
    elif document.kind == "url":
        response = errors.redirect(request, 302, document.value)
        response.first_status = error.status
    else:
        response = _document(request, error, document.value)
    response.close = response.close or error.status in _LAST
    finish(request.answered_by or request, response, last=True)
    return response


def _document(request: Request, error: HTTPError, path: str) -> Response:
    """Another page of this server, with the error's status."""
    uri, mark, query = path.partition("?")
    try:
        request.error_status = error.status
        method = "HEAD" if request.head.method == "HEAD" else "GET"
        get = replace(request.head, method=method, content_length=0, chunked=False)  # the body was the other page's
        inner = redirected(request, uri, query if mark else None)
        inner.head = get
        inner.env["REDIRECT_STATUS"] = str(error.status)
        inner.env["REDIRECT_URL"] = request.uri or request.head.path
        response = run(inner)
    except HTTPError as second:
        request.log(Level.ERROR, "core", f"the ErrorDocument {path} cannot be sent ({second.status}): {second.reason}")
        return errors.simple(request, error)
    except Exception as bug:
        bugs.report(request.log, bug)
        return errors.simple(request, error)
    if response.own_page and response.status != error.status:
        request.log(Level.ERROR, "core", f"the ErrorDocument {path} cannot be sent: it leads to a {response.status}")
        return errors.simple(request, error)
    request.answered_by = inner
    _stand_for(response, error)
    return response


def _stand_for(response: Response, error: HTTPError) -> None:
    """Have a page answer in the place of an error: now, or once a program has made it, which may say another status."""
    if response.deferred is not None:
        response.after.append(lambda final: _add_to(final, error))
        return
    if response.status == 200:
        response.status = error.status
    _add_to(response, error)


def _add_to(response: Response, error: HTTPError) -> None:
    """Give a page what belongs to the error in whose place it is sent."""
    response.first_status = error.status
    response.headers += [field for field in error.headers if response.header(field[0].lower()) is None]
    response.close = response.close or error.status in _LAST


async def complete(request: Request, response: Response, body: RequestBody) -> Response:
    """The final response to a request: where programs make it, once they have. Raises ClientGone alone."""
    while response.deferred is not None:
        after = response.after
        try:
            response = await response.deferred(body)
            if response.deferred is not None:
                response.after += after
            else:
                for step in after:
                    step(response)
        except ClientGone:
            raise
        except Exception as error:
            response = error_response(request, error)
    return response
