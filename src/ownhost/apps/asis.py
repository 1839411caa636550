"""mod_asis: files that hold a response's head as well as its body."""

from __future__ import annotations

import os
from stat import S_ISREG

from ownhost.apps.cgi_head import MAX_HEAD, Dialect, HeadParser, MalformedHead, ProgramHead
from ownhost.http.dates import format_date
from ownhost.http.level import Level
from ownhost.http.message import FileBody, HTTPError, Response
from ownhost.modules.core_files import ENABLE_MMAP, ENABLE_SENDFILE, send_file
from ownhost.modules.partial import cut
from ownhost.request.memory import OPEN
from ownhost.request.module import Module, register
from ownhost.request.redirects import answer_as, redirected
from ownhost.request.request import Request

HANDLERS = ("send-as-is", "httpd/send-as-is")
_CHUNK = 4_096


def handle(request: Request) -> Response:
    """Send a file with its own head. Raises HTTPError: 403, 404, and 500 if the head is malformed."""
    if request.method not in ("GET", "HEAD"):
        return send_file(request)
    request.pure = False  # its head may say anything
    if request.stat is None:
        raise HTTPError(404, f"AH01233: File does not exist: {request.filename}", module="asis", level=Level.ERROR)
    try:
        descriptor = os.open(request.filename, OPEN)
    except OSError as error:
        why = f"AH01234: file permissions deny server access: {request.filename}: {error.strerror}"
        raise HTTPError(403, why, module="asis") from None
    response = None
    try:
        response = _respond(request, descriptor)
        return response
    except MalformedHead as error:
        raise HTTPError(500, error.about(request.filename), module="asis") from None
    finally:
        if response is None or not isinstance(response.body, FileBody):
            os.close(descriptor)


def _respond(request: Request, descriptor: int) -> Response:
    status = os.fstat(descriptor)
    if not S_ISREG(status.st_mode):
        raise HTTPError(403, f"{request.filename} is no longer a file", module="asis")
    head, start = _head(descriptor)
    if head.local_redirect:
        path, mark, query = head.local_redirect.partition("?")
        inner = redirected(request, request.site.clean(path), query if mark else None)
        return answer_as(request, inner)
    fields = list(head.fields)
    if head.modified is not None:
        fields.append(("Last-Modified", format_date(head.modified)))
    size, settings = max(0, status.st_size - start), request.settings
    body = FileBody(descriptor, [(start, size)], settings[ENABLE_SENDFILE], settings[ENABLE_MMAP])
    response = Response(head.status, fields, body)
    parts = cut(request, response, size, is_here=True)
    if parts is not None:
        body.parts = [part if isinstance(part, bytes) else (start + part[0], part[1]) for part in parts]
    return response


def _head(descriptor: int) -> tuple[ProgramHead, int]:
    """The head of a file, and where its body starts. Raises MalformedHead."""
    parser, position = HeadParser(Dialect.CGI), 0
    while position <= MAX_HEAD:
        data = os.pread(descriptor, _CHUNK, position)
        if not data:
            break
        position += len(data)
        rest = parser.feed(data)
        if parser.head is not None:
            return parser.head, position - len(rest)
    parser.close()
    raise MalformedHead("it has no head")


register(Module(name="mod_asis", identifier="asis_module", handlers=dict.fromkeys(HANDLERS, handle)))
