"""Directives of Apache's core about files, and the default handler, which sends them."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from ownhost.config.arguments import flag, keyword, words
from ownhost.config.directive import (
    ANYWHERE,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    declare,
)
from ownhost.http import conditional, ranges
from ownhost.http.dates import format_date
from ownhost.http.message import FileBody, HTTPError, Response
from ownhost.modules.compression.codings import Content
from ownhost.modules.core_charset import with_default_charset
from ownhost.modules.output_filters import coded_tag, coding_for
from ownhost.request.handlers import DEFAULT_HANDLER
from ownhost.request.memory import LARGEST_FILE, OPEN, same
from ownhost.request.module import Module, register
from ownhost.request.request import Level, Request
from ownhost.request.walk import OURS, AccessRefused

VARIANTS = "variant-list-validator"  # the note that tells the variants of a page apart from others it had
ETAG_PARTS = ("inode", "mtime", "size")
METHODS = "GET, HEAD, POST, OPTIONS"  # the methods of the default handler
_ALLOWED = (("Allow", METHODS),)
TRIES = 3  # attempts to read a small file between two changes of it
RECENT = 1.0  # seconds: a file changed this lately may change again with the same time, so its ETag is weak


@dataclass(frozen=True, slots=True)
class ETagParts:
    """The value of FileETag: a list (`listed`), or changes to that of the scope around it."""

    listed: frozenset[str] | None = None
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()

    @property
    def effective(self) -> frozenset[str]:
        """The parts, if there is no scope around this one."""
        return ((frozenset(("mtime", "size")) if self.listed is None else self.listed) | self.added) - self.removed


def merge_etag(outer: ETagParts, inner: ETagParts) -> ETagParts:
    """Parts with + and - change those around them; a list replaces them."""
    if inner.listed is not None:
        return inner
    return ETagParts(
        outer.listed, (outer.added | inner.added) - inner.removed, (outer.removed - inner.added) | inner.removed
    )


def parse_etag(call: Call) -> ETagParts:
    """All, None, or INode, MTime and Size, perhaps with + or - before them."""
    found = [word.lower() for word in words(1)(call)]
    if found in (["all"], ["none"]):
        return ETagParts(frozenset(ETAG_PARTS if found == ["all"] else ()))
    listed: set[str] = set()
    added: set[str] = set()
    removed: set[str] = set()
    for word in found:
        part = word.lstrip("+-")
        if part not in ETAG_PARTS or len(word) - len(part) > 1:
            raise ArgumentError(f"expected All, None, INode, MTime or Size, perhaps with + or -, not {word!r}")
        {"+": added, "-": removed}.get(word[0], listed).add(part)
    if listed and (added or removed):
        raise ArgumentError("either all parts have + or - in front of them, or none has")
    return ETagParts(frozenset(listed) if listed else None, frozenset(added), frozenset(removed))


FILE_ETAG: Setting[ETagParts] = Setting("FileETag", ETagParts(), merge_etag)
ACCEPT_PATH_INFO = Setting("AcceptPathInfo", "Default")
ENABLE_SENDFILE = Setting("EnableSendfile", True)
ENABLE_MMAP = Setting("EnableMMAP", True)

for _directive in (
    Directive(
        "FileETag",
        "core",
        "[+|-]INode|MTime|Size ...|All|None",
        ANYWHERE,
        "The properties of a file from which its ETag is made.",
        parse_etag,
        setting=FILE_ETAG,
        fold=lambda before, parts: parts if before is None else merge_etag(before, parts),
        default="MTime Size",
        override=Override.FILE_INFO,
    ),
    Directive(
        "AcceptPathInfo",
        "core",
        "On|Off|Default",
        ANYWHERE,
        "Whether a path may go on after a file's name. By default only programs accept that.",
        keyword("On", "Off", "Default"),
        setting=ACCEPT_PATH_INFO,
        default="Default",
        override=Override.FILE_INFO,
    ),
    Directive(
        "EnableSendfile",
        "core",
        "On|Off",
        ANYWHERE,
        "Whether the kernel itself sends large files. Switch it off for file systems that cannot.",
        flag(),
        setting=ENABLE_SENDFILE,
        default="On",
        override=Override.FILE_INFO,
    ),
    Directive(
        "EnableMMAP",
        "core",
        "On|Off",
        ANYWHERE,
        "Whether files of a MiB and more are mapped into memory and sent from there.",
        flag(),
        setting=ENABLE_MMAP,
        default="On",
        override=Override.FILE_INFO,
    ),
):
    declare(_directive)


def send_file(request: Request) -> Response:
    """The default handler. Raises HTTPError."""
    method = request.method
    if method == "OPTIONS":
        return Response(200, [("Allow", METHODS)])
    if method not in ("GET", "HEAD", "POST"):
        known = method in ("PUT", "DELETE", "PATCH", "PROPFIND", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK")
        if known:
            raise HTTPError(405, f"AH00131: This resource does not accept the {method} method.", _ALLOWED)
        raise HTTPError(501, f"AH00135: Invalid method in request {request.head.request_line}", _ALLOWED)
    if request.stat is None:
        raise HTTPError(404, f"AH00128: File does not exist: {request.filename}{request.path_info}")
    if request.is_folder:
        raise HTTPError(404, f"AH00129: Attempt to serve directory: {request.filename}", level=Level.ERROR)
    if request.path_info and request.settings[ACCEPT_PATH_INFO] != "On":
        raise HTTPError(404, f"AH00130: File does not exist: {request.filename}{request.path_info}")
    descriptor = _open(request)
    response = None
    try:
        response = _respond(request, descriptor)
        return response
    finally:
        if response is None or not isinstance(response.body, FileBody):
            os.close(descriptor)


def _open(request: Request) -> int:
    """The open file; `request.stat` is brought up to date. Raises HTTPError."""
    try:
        descriptor = os.open(request.filename, OPEN)
    except OSError as error:
        raise _refusal(request, error) from None
    request.stat = os.fstat(descriptor)
    if request.is_folder:
        os.close(descriptor)
        raise HTTPError(403, f"{request.filename} has become a folder")
    return descriptor


def _refusal(request: Request, error: OSError) -> HTTPError:
    """The error for a file that cannot be opened."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return HTTPError(404, f"AH00128: File does not exist: {request.filename}")
    if error.errno == errno.EACCES:
        return AccessRefused(request.filename, f"AH00132: file permissions deny server access: {request.filename}")
    why = f"AH00036: access to {request.uri} failed (filesystem path '{request.filename}'): {error.strerror}"
    return HTTPError(500 if error.errno in OURS else 403, why)


def _respond(request: Request, descriptor: int) -> Response:
    """The response for an open file. Its body may hold the descriptor; all ranges and conditions are of one state."""
    for _ in range(TRIES):
        stat = os.fstat(descriptor)
        request.stat = stat
        etag = entity_tag(request, stat)
        fields = _fields(request, stat, etag)
        if not request.error_status:
            whole = Content(request.content_type, ",".join(request.encodings), stat.st_size)
            coded = coded_tag(request, whole, etag)
            status = conditional.evaluate(request.head, etag, stat.st_mtime, request.time, coded=coded)
            if status == 304:
                if coded is not None and coded in request.head.values.get("if-none-match", ""):
                    fields = [(name, coded if name == "ETag" else value) for name, value in fields]
                    request.vary.append("Accept-Encoding")
                return Response(304, fields)
            if status is not None:
                raise HTTPError(status, f"{request.filename} does not meet the request's condition")
            wanted = wanted_ranges(request, whole, etag, stat.st_mtime)
            if wanted is not None:
                return _partial(request, descriptor, fields, wanted)
        if request.content_type:
            fields.append(("Content-Type", request.content_type))
        if stat.st_size > LARGEST_FILE:
            return Response(200, fields, _body(request, descriptor, [(0, stat.st_size)]))
        content = os.pread(descriptor, LARGEST_FILE, 0)
        if len(content) == stat.st_size and same(os.fstat(descriptor), stat):
            return Response(200, fields, content)
    # Another process keeps writing to it: this content is as good as any, but no tag or date
    # belongs to it.
    request.pure = False
    return Response(200, [field for field in fields if field[0] not in ("ETag", "Last-Modified")], content)


def _body(request: Request, descriptor: int, parts: list[bytes | tuple[int, int]]) -> FileBody:
    return FileBody(descriptor, parts, request.settings[ENABLE_SENDFILE], request.settings[ENABLE_MMAP])


def _fields(request: Request, stat: os.stat_result, etag: str | None) -> list[tuple[str, str]]:
    fields = [("Last-Modified", format_date(min(stat.st_mtime, request.time)))]
    if etag is not None:
        fields.append(("ETag", etag))
    fields.append(("Accept-Ranges", "bytes" if request.settings[ranges.MAX_RANGES] != 0 else "none"))
    if request.encodings:
        fields.append(("Content-Encoding", ", ".join(request.encodings)))
    if request.languages:
        fields.append(("Content-Language", ", ".join(request.languages)))
    return fields


def entity_tag(request: Request, stat: os.stat_result) -> str | None:
    """The entity tag, as Apache makes it: inode, size and microseconds of the last change, in hexadecimal."""
    parts = request.settings[FILE_ETAG].effective
    values = {"inode": stat.st_ino, "size": stat.st_size, "mtime": stat.st_mtime_ns // 1000}
    chosen = [f"{values[part]:x}" for part in ("inode", "size", "mtime") if part in parts]
    if not chosen:
        return None
    weak = "W/" if request.time - stat.st_mtime < RECENT else ""
    variants = f";{request.notes[VARIANTS]}" if VARIANTS in request.notes else ""
    return f'{weak}"{"-".join(chosen)}{variants}"'


def wanted_ranges(request: Request, content: Content, etag: str | None, modified: float | None) -> ranges.Ranges | None:
    """The requested ranges of a content whose size is known; None for all of it. Raises HTTPError 416.

    `etag` and `modified` (seconds since the epoch) are what If-Range is compared with. If the
    content will be compressed, its ranges are not what the client asks for.
    """
    value, size = request.head.values.get("range"), content.size
    if value is None or size is None or request.method != "GET":
        return None
    asked, coding = coding_for(request, content)
    if coding is not None:
        return None
    if asked:
        request.vary.append("Accept-Encoding")
    condition = request.head.values.get("if-range")
    if condition is not None and not conditional.if_range_matches(condition, etag, modified):
        return None
    settings = request.settings
    found = ranges.parse_ranges(
        value,
        size,
        settings[ranges.MAX_RANGES],
        settings[ranges.MAX_RANGE_OVERLAPS],
        settings[ranges.MAX_RANGE_REVERSALS],
    )
    if found == []:
        field = ("Content-Range", f"bytes */{size}")
        raise HTTPError(416, f"{request.filename}: no byte of {value!r} is in its {size} bytes", (field,))
    return found


def _partial(request: Request, descriptor: int, fields: list[tuple[str, str]], wanted: ranges.Ranges) -> Response:
    assert request.stat is not None
    size = request.stat.st_size
    if len(wanted) == 1:
        fields.append(("Content-Range", ranges.content_range(*wanted[0], size)))
        if request.content_type:
            fields.append(("Content-Type", request.content_type))
        return Response(206, fields, _body(request, descriptor, [wanted[0]]))
    content_type, parts = ranges.multipart(wanted, size, with_default_charset(request.content_type, request.settings))
    fields.append(("Content-Type", content_type))
    return Response(206, fields, _body(request, descriptor, parts))


register(Module(name="core", identifier="core_module", handlers={DEFAULT_HANDLER: send_file}))
