"""Serving a request: its response (from memory, the phases, an error), and the last changes to every response."""

from __future__ import annotations

from dataclasses import replace

from ownhost.http.framing import unsound
from ownhost.http.message import ClientGone, HTTPError, RequestBody, Response, let_go
from ownhost.request import bugs, errors
from ownhost.request.receive import limit_body
from ownhost.request.redirects import answer, redirected
from ownhost.request.request import Handler, Level, OtherIdentity, Request

# After these the connection ends, as in Apache (ap_status_drops_connection): what follows may
# belong to the failed request.
_LAST = frozenset((400, 408, 411, 413, 414, 500, 501, 503))


def respond(request: Request, *, recalls: bool = True) -> Response:
    """The response to a request, whatever happens. Raises only OtherIdentity.

    `recalls`: a remembered response may answer it, as its identity is known.
    """
    try:
        return _respond(request, recalls=recalls)
    except OtherIdentity:
        raise
    except Exception as error:
        return error_response(request, error)


def _respond(request: Request, *, recalls: bool) -> Response:
    memory = request.site.memory
    remembered = memory.recall(request) if recalls else None
    if remembered is not None:
        return remembered
    head = request.head
    handler = request.site.routes.recall(request) if recalls else None
    response = answer(request) if handler is None else _go(handler, request)
    if response.deferred is not None and handler is None:
        request.site.routes.remember(request, head)
    finish(request, response)
    if request.pure:
        memory.remember(request, response)
    return response


def _go(handler: Handler, request: Request) -> Response:
    """Have a request answered at the end of its route. Raises HTTPError."""
    limit_body(request)
    return handler(request)


def finish(request: Request, response: Response, *, last: bool = False) -> None:
    """Let modules change a response that is about to be sent. Never raises.

    If a field is invalid, whoever added it, or a module refuses (HTTPError), the response becomes
    an error; an error's own page becomes a bare one (`last`). If a module fails, the response is
    bare at once: the other modules' changes may be missing.
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
    except HTTPError as error:
        _replace(request, response, error, last=last)
        return
    except Exception as error:
        bugs.report(request.log, error)
        let_go(response.body)
        errors.make_bare(response)
        return
    fault = unsound(response.headers)
    if fault:
        request.fields.clear()
        _replace(request, response, HTTPError(500, fault, module="http"), last=last)


def _replace(request: Request, response: Response, error: HTTPError, *, last: bool) -> None:
    """Make an error of a response; of an error's own page (`last`) a bare one."""
    let_go(response.body)
    if last:
        request.log(Level.ERROR, error.module, error.reason)
        errors.make_bare(response)
    else:
        response.become(error_response(request, error))


def _say_vary(response: Response, names: list[str]) -> None:
    """Make a response say that it depends on fields of the request. A page of the server's own does not."""
    if names and not response.own_page:
        response.say_vary(names)


def error_response(request: Request, error: Exception) -> Response:
    """The response for an error: by ErrorDocument, else the plain page. Logs the reason. Never raises.

    Any exception other than HTTPError is a bug, and a 500.
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
        response = answer(inner)
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
    """Have a page answer instead of an error: now, or when a program has made it, which may set another status."""
    if response.deferred is not None:
        response.after.append(lambda final: _add_to(final, error))
        return
    if response.status == 200:
        response.status = error.status
    _add_to(response, error)


def _add_to(response: Response, error: HTTPError) -> None:
    """Give a page the fields of the error that it replaces."""
    response.first_status = error.status
    response.headers += [field for field in error.headers if response.header(field[0].lower()) is None]
    response.close = response.close or error.status in _LAST


async def complete(request: Request, response: Response, body: RequestBody) -> Response:
    """The final response to a request. Programs make it now. Raises only ClientGone."""
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
