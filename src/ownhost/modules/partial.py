"""Byte ranges of a response that is made whole: by a program, another server, compression.

Source: RFC 9110, 14.2; Apache's ap_byterange_filter.
"""

from __future__ import annotations

from ownhost.http import ranges
from ownhost.http.dates import parse_date
from ownhost.http.message import Parts, Response
from ownhost.modules.compression.codings import Content
from ownhost.modules.core_charset import with_default_charset
from ownhost.modules.core_files import wanted_ranges
from ownhost.request.request import Request


def cut(request: Request, response: Response, size: int | None, *, is_here: bool) -> Parts | None:
    """Make a 206 of a response whose body will have so many bytes: returns the parts of its body.

    None if all of the body is to be sent: usually because no range was asked for. While a body is
    arriving, only ranges in ascending order can be cut without storing it. Raises HTTPError 416.
    """
    if size is None or response.status != 200 or request.error_status or _has_own_word(response):
        return None
    modified = parse_date(response.header("last-modified") or "")
    content = Content(response.header("content-type") or "", response.header("content-encoding") or "", size)
    wanted = wanted_ranges(request, content, response.header("etag"), modified)
    if wanted is None or not (is_here or ranges.are_in_order(wanted)):
        return None
    response.status = 206
    if len(wanted) == 1:
        response.headers.append(("Content-Range", ranges.content_range(*wanted[0], size)))
        return [wanted[0]]
    content_type, parts = ranges.multipart(
        wanted, size, with_default_charset(response.header("content-type") or "", request.settings)
    )
    others = [field for field in response.headers if field[0].lower() != "content-type"]
    response.headers = [*others, ("Content-Type", content_type)]
    return parts


def _has_own_word(response: Response) -> bool:
    """Whether the handler has handled ranges, or wants none."""
    return (
        response.header("content-range") is not None
        or (response.header("content-type") or "").lower().startswith("multipart/byteranges")
        or (response.header("accept-ranges") or "").strip().lower() == "none"
    )


def joined(whole: bytes, parts: Parts | None) -> bytes:
    """The parts of a body that has arrived; None for all of it."""
    if parts is None:
        return whole
    return b"".join(part if isinstance(part, bytes) else whole[part[0] : sum(part)] for part in parts)
