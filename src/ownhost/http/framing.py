"""Responses to bytes: the head, its framing and the connection's fields (RFC 9112, sections 4, 6, 7 and 9)."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Sequence
from http import HTTPStatus

from ownhost.http.dates import format_date
from ownhost.http.message import Response

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = b"Connection: close\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\n\r\n"
STAY = b"\r\n"  # HTTP/1.1 stays open by default
CHUNKED = b"Transfer-Encoding: chunked\r\n"

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SOUND = re.compile(rf"(?:{_NAME.pattern}:[^\x00-\x08\x0a-\x1f\x7f]*\n)*")

_date = (-1, b"")


def reason(status: int) -> str:
    """The reason phrase of a status code."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def date_line() -> bytes:
    """The Date field of this second."""
    global _date
    second = int(time.time())
    if _date[0] != second:
        _date = (second, f"Date: {format_date(second)}\r\n".encode())
    return _date[1]


def unsound(fields: Sequence[tuple[str, str]]) -> str:
    """What is wrong with a response's fields, in Apache's words; "" if nothing is (RFC 9110, 5.5)."""
    if _SOUND.fullmatch("".join([f"{name}:{value}\n" for name, value in fields])):
        return ""
    for name, value in fields:
        if not _NAME.fullmatch(name):
            return f"AH02429: Response header name '{name}' contains invalid characters, aborting request"
        if _NOT_IN_VALUES.search(value):
            return f"AH02430: Response header '{name}' value of '{value}' contains invalid characters, aborting request"
    return ""


def prepare(response: Response, server: str) -> bytes:
    """The part of a response's head that does not depend on the connection or the time: all but its end and Date."""
    length = body_length(response)
    lines = [f"HTTP/1.{response.minor} {response.status} {reason(response.status)}"]
    if server:
        lines.append(f"Server: {server}")
    lines += [f"{name}: {value}" for name, value in response.headers]
    if length is not None and response.status not in (204, 304):
        lines.append(f"Content-Length: {length}")
    head = "\r\n".join(lines) + "\r\n"
    return head.encode("latin-1", "replace")


def head_bytes(response: Response, end: bytes) -> bytes:
    """The whole head of a prepared response. `end` is CLOSE, STAY or `keep_alive_end`."""
    return response.prepared + date_line() + end


@functools.lru_cache(maxsize=1024)
def keep_alive_end(value: str) -> bytes:
    """The end of a head whose client asked to stay connected: with Keep-Alive's parameters."""
    return f"Keep-Alive: {value}\r\nConnection: Keep-Alive\r\n\r\n".encode()


def interim(status: int, fields: Sequence[tuple[str, str]]) -> bytes:
    """A whole interim response (1xx): it has no body and no fields about the connection."""
    lines = (f"HTTP/1.1 {status} {reason(status)}", *(f"{name}: {value}" for name, value in fields), "", "")
    return "\r\n".join(lines).encode("latin-1", "replace")


def body_length(response: Response) -> int | None:
    """Bytes of the body; None if that is not known before it is sent."""
    body = response.body
    if isinstance(body, bytes):
        return len(body)
    return body.length


def chunk(data: bytes) -> bytes:
    """Some bytes of a chunked body, which must not be empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)
