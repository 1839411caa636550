"""Files that are shown within a listing: those above and below it, and the titles of HTML files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from stat import S_ISREG
from typing import NamedTuple

from ownhost.http.message import Content, FileBody, Head, HTTPError, Response, let_go
from ownhost.modules.listings.page import preformatted
from ownhost.modules.mod_dir import absolute
from ownhost.request.memory import OPEN
from ownhost.request.redirects import answer, subrequest
from ownhost.request.request import Level, Phase, Request
from ownhost.request.road import advance

MOST_BYTES = 1 << 20  # of a file above or below a listing
_HTML = ("text/html", "application/xhtml+xml")
_INCLUDES = "text/x-server-parsed-html"
_TITLE_WITHIN = 8_191  # bytes of a file, in which its title is looked for
_TITLE = re.compile(rb"<title>[\r\n]*([^<\0]*)", re.IGNORECASE)
# Fields that are about the whole page, not about a part of it.
_FORMS = frozenset(("accept", "accept-encoding", "range", "te"))
_CONDITIONS = frozenset(("if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"))
_OF_BODIES = frozenset(("content-length", "content-type", "expect", "transfer-encoding"))
_NOT_FOR_PARTS = _FORMS | _CONDITIONS | _OF_BODIES


def media_type(request: Request) -> str:
    """The media type of a file, without its parameters."""
    return request.content_type.partition(";")[0].strip().lower()


def title_of(request: Request) -> str | None:
    """The title of an HTML file, as HTML; None if there is none."""
    if request.encodings or media_type(request) not in (*_HTML, _INCLUDES):
        return None
    try:
        match = _TITLE.search(_start_of(request.filename, _TITLE_WITHIN))
    except OSError:
        return None
    return None if match is None else re.sub(r"[\r\n]", " ", match[1].decode("latin-1"))


def _start_of(filename: str, most: int) -> bytes:
    """The first bytes of a regular file, at most so many. Raises OSError."""
    descriptor = os.open(filename, OPEN)
    try:
        return os.pread(descriptor, most, 0) if S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def found(request: Request, name: str) -> Request | None:
    """A look at the file above or below a listing; None if there is none that this client may see."""
    with suppress(HTTPError):
        inner = subrequest(request, *absolute(request, name))
        inner.head = for_part(request.head)
        response = advance(inner, Phase.FIXUPS)
        if response is not None:
            let_go(response.body)
        elif inner.stat is not None and S_ISREG(inner.stat.st_mode):
            return inner
    return None


def for_part(head: Head) -> Head:
    """The head of a request for a part of a page: all of that part, as it is."""
    fields = [field for field in head.fields if field[0].lower() not in _NOT_FOR_PARTS]
    values = {name: value for name, value in head.values.items() if name not in _NOT_FOR_PARTS}
    accept = "text/html, text/plain"
    return replace(
        head,
        method="GET",
        fields=[*fields, ("Accept", accept)],
        values={**values, "accept": accept},
        content_length=0,
        chunked=False,
        expect_continue=False,
    )


class Part(NamedTuple):
    """A file as a part of a page: HTML, made of text unless it `is_html` itself."""

    content: str
    is_html: bool


async def content(request: Request) -> Part | None:
    """The content of such a file; None if it cannot be shown, which is logged."""
    try:
        if media_type(request) in _HTML:
            answered = await _answered(request)
            return None if answered is None else Part(answered, is_html=True)
        if media_type(request).startswith("text/"):
            data = _start_of(request.filename, MOST_BYTES + 1)
            return Part(preformatted(_checked(data).decode("latin-1")), is_html=False)
    except (OSError, HTTPError) as error:
        why = error.strerror if isinstance(error, OSError) else error.reason
        request.log(Level.ERROR, "autoindex", f"{request.filename} is not shown in the listing: {why}")
    return None


async def _answered(request: Request) -> str | None:
    """What the file's handler answers. Raises OSError, HTTPError."""
    response = answer(request)
    while response.deferred is not None:
        response = await response.deferred(_NoBody())
    if response.status != 200:
        let_go(response.body)
        return None
    return _checked(await _read(response)).decode("latin-1")


async def _read(response: Response) -> bytes:
    """A response's body, or a little more than is allowed of it. Raises OSError."""
    body = response.body
    if isinstance(body, bytes):
        return body
    try:
        if isinstance(body, FileBody):
            return b"".join(_parts(body))
        pieces, size = [], 0
        async for piece in body:
            pieces.append(piece)
            size += len(piece)
            if size > MOST_BYTES:
                break
        return b"".join(pieces)
    finally:
        body.close()


def _parts(body: FileBody) -> Iterator[bytes]:
    for part in body.parts:
        yield part if isinstance(part, bytes) else os.pread(body.fd, min(part[1], MOST_BYTES + 1), part[0])


def _checked(data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise HTTPError(500, f"it has more than {MOST_BYTES} bytes")
    return data


class _Nothing:
    """The content of an empty body (http.message.Content)."""

    size = 0

    def __init__(self) -> None:
        self.file = open(os.devnull, "rb")  # noqa: SIM115  (it is closed with this)

    def pieces(self) -> Iterator[bytes]:
        """None."""
        return iter(())

    def fileno(self) -> int:
        """Of a file without content."""
        return self.file.fileno()


class _NoBody:
    """The body of a request for a part of a page (http.message.RequestBody)."""

    async def read(self) -> Content:
        """Nothing."""
        return _Nothing()

    async def tell(self, status: int, fields: Sequence[tuple[str, str]]) -> None:
        """Does nothing."""
