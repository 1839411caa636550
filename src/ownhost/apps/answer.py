"""A program's output as a response: the head first; the rest flows while it is sent to the client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from ownhost.apps.cgi_head import Dialect, HeadParser, MalformedHead, ProgramHead
from ownhost.apps.dechunked import Dechunked
from ownhost.apps.sendfile import file_named, send_instead
from ownhost.apps.source import Source, SourceError
from ownhost.apps.spool import Flow, Spool
from ownhost.http import conditional
from ownhost.http.dates import format_date
from ownhost.http.limits import TIMEOUT, head_limits
from ownhost.http.message import Content, HTTPError, RequestBody, Response
from ownhost.modules.partial import cut, joined
from ownhost.request import bugs
from ownhost.request.programs import Launcher
from ownhost.request.redirects import answer as answer_to
from ownhost.request.redirects import redirected
from ownhost.request.request import Level, Request

_OF_PAGES = ("content-", "etag", "last-modified", "location")  # fields that an error's page does not have
_running: set[asyncio.Task[None]] = set()  # tasks that no other object references


class EmptyBody:
    """The body of a request that has none (http.message.RequestBody)."""

    async def read(self) -> Content:
        """Nothing."""
        return Spool()

    async def tell(self, status: int, fields: Sequence[tuple[str, str]]) -> None:
        """Does nothing."""


def keep(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a task in the background, to its end."""
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


def launcher_of(request: Request, module: str) -> Launcher:
    """The starter of programs for a request. Raises HTTPError 500, logged in a module's name, if there is none."""
    launcher = request.site.launcher
    if launcher is None:
        raise HTTPError(500, "programs cannot be run here", module=module)
    return launcher


async def answer(
    request: Request,
    source: Source,
    module: str,
    *,
    dialect: Dialect = Dialect.CGI,
    timeout: float = 0.0,
    broken: int = 500,
    body: RequestBody | None = None,
) -> Response:
    """The response that a program makes.

    Raises HTTPError: 412, 500, 502 for an invalid head, 504 for a late one.

    `module` is the name for log messages; `timeout` is seconds without output, 0 is Timeout's;
    `broken` is the status if there is no head at all; `body` gets interim responses.
    """
    parser = HeadParser(dialect, status=request.error_status or 200)
    timeout = timeout or request.site.settings[TIMEOUT]
    try:
        rest = await _read_head(request, source, parser, module, timeout, body)
    except (SourceError, OSError) as error:
        source.close()
        raise HTTPError(broken, f"{request.filename}: {error}", module=module) from None
    except BaseException:
        source.close()
        raise
    head = parser.head
    assert head is not None
    if head.local_redirect:
        source.close()
        return _redirected(request, head)
    response = Response(head.status, list(head.fields))
    modified = request.time if head.modified is None else min(head.modified, request.time)
    if head.modified is not None:
        response.headers.append(("Last-Modified", format_date(modified)))
    if not head.says_status:
        try:
            _check_conditions(request, response, modified)
        except HTTPError:
            source.close()
            raise
    if head.chunked:
        source, rest = Dechunked(source, rest, head_limits(request.site.settings)), b""
    return respond(request, response, source, rest, module, timeout, head.content_length)


def _check_conditions(request: Request, response: Response, modified: float) -> None:
    """Make a 304 of a response that the client already has, as Apache does for programs that set no status.

    Without a date, the response counts as new. Raises HTTPError 412.
    """
    if response.status != 200 or request.method not in ("GET", "HEAD"):
        return
    status = conditional.evaluate(request.head, response.header("etag"), modified, request.time)
    if status == 412:
        kept = tuple(field for field in response.headers if not field[0].lower().startswith(_OF_PAGES))
        raise HTTPError(412, f"the response of {request.filename} does not meet the request's condition", kept)
    if status == 304:
        response.status = 304
        response.headers = [field for field in response.headers if field[0].lower() != "content-type"]


def respond(
    request: Request,
    response: Response,
    source: Source,
    rest: bytes,
    module: str,
    timeout: float,
    length: int | None,
) -> Response:
    """A response whose head is complete: its body is `rest` and what the source still sends; `length` if it is known.

    Raises HTTPError for an X-Sendfile that names no file, and for ranges that are not in the body.
    """
    name = file_named(request, response)
    if name:
        source.close()
        return send_instead(request, response, name)
    is_here = length is not None and 0 < length <= len(rest)
    try:
        parts = cut(request, response, len(rest) if source.ended else length, is_here=source.ended or is_here)
    except HTTPError:
        source.close()
        raise
    flow = Flow(length)
    if source.ended:
        source.close()
        flow.end()
        # Of the body that GET would have, HEAD tells only the length.
        response.body = flow if request.method == "HEAD" else joined(rest, parts)
        return response
    if is_here:  # except the program's message that it has finished
        response.body = joined(rest[:length], parts)
        _begin(source, _pump(request, source, Flow(), b"", module, timeout))
        return response
    if parts is not None:
        flow.cut(parts)
    response.body = flow
    pump = _begin(source, _pump(request, source, flow, rest, module, timeout))
    # A silent program would not notice otherwise that its client has left; one that has sent
    # everything may still have work.
    flow.when_closed(lambda: None if flow.is_delivered else pump.cancel())
    return response


def _begin(source: Source, pump: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Have a pump run, and its source closed after it: even where it is cancelled before its first step."""
    task = keep(pump)
    task.add_done_callback(lambda _: source.close())
    return task


async def _read_head(
    request: Request, source: Source, parser: HeadParser, module: str, timeout: float, body: RequestBody | None
) -> bytes:
    """Read up to the end of the head; what came behind it."""
    try:
        while True:
            data = await next_piece(source, timeout)
            rest = parser.feed(data)
            while parser.interims:
                interim = parser.interims.pop(0)
                if body is not None:
                    await body.tell(interim.status, interim.fields)
            if parser.head is not None:
                return rest
            if not data:
                parser.close()
    except MalformedHead as error:
        status = 502 if parser.dialect is Dialect.HTTP else 500  # a server that speaks uwsgi answers almost in HTTP
        raise HTTPError(status, error.about(request.filename.rpartition("/")[2]), module=module) from None
    except TimeoutError:
        raise HTTPError(504, _too_long(request, module), module=module) from None


def _too_long(request: Request, module: str) -> str:
    number = "AH01220: " if module == "cgi" else ""
    return f"{number}Timeout waiting for output from {'CGI script ' if number else ''}{request.filename}"


async def next_piece(source: Source, timeout: float) -> bytes:
    """A piece of a program's output. Raises TimeoutError after this many seconds without any."""
    return await source.read(time.monotonic() + timeout)  # which is the event loop's, too


async def _pump(request: Request, source: Source, flow: Flow, rest: bytes, module: str, timeout: float) -> None:
    """Take all that a program says, as fast as it says it."""
    error: Exception | None = None
    try:
        if rest and not await flow.put(rest):
            return
        while data := await next_piece(source, timeout):
            if not await flow.put(data):
                return
    except (SourceError, OSError, TimeoutError) as found:
        said = _too_long(request, module) if isinstance(found, TimeoutError) else f"{request.filename}: {found}"
        request.log(Level.ERROR, module, said)
        error = ConnectionError("the program's answer is not complete")
    except BaseException as found:
        error = ConnectionError("the response is not complete")
        if not isinstance(found, Exception):
            raise
        bugs.report(request.log, found)
    finally:
        flow.end(error)


def _redirected(request: Request, head: ProgramHead) -> Response:
    """Another page of this server in the program's stead (RFC 3875, 6.2.2): asked for with GET, without the body."""
    path, mark, query = head.local_redirect.partition("?")
    method = "HEAD" if request.method == "HEAD" else "GET"
    left = {
        name: value for name, value in request.head.values.items() if name not in ("content-length", "content-type")
    }
    inner = redirected(request, request.site.clean(path), query if mark else None)
    inner.head = replace(request.head, method=method, values=left, content_length=0, chunked=False)
    response = answer_to(inner)
    request.answered_by = inner
    deferred = response.deferred
    if deferred is not None:

        async def without_body(_: RequestBody) -> Response:
            return await deferred(EmptyBody())

        response.deferred = without_body
    return response
