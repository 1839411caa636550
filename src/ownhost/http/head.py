"""A request's head: found in a stream, and strictly parsed (RFC 9112, sections 2 to 6).

llhttp (httptools) reads the fields. It refuses the means of request smuggling: bare CR and LF,
folded lines, NUL, doubled and conflicting lengths. The request line is read here, because llhttp
accepts forms that RFC 9112 doesn't know.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import httptools

from ownhost.http.authority import Authority, parse_authority
from ownhost.http.level import Level
from ownhost.http.limits import HeadLimits
from ownhost.http.message import Head, HTTPError
from ownhost.http.request_line import EMPTY_LINES, ends_early, made_strict, malformed_line, read_line, start

# As Apache's default: all visible characters, and bytes above ASCII, which browsers should escape
# and some programs don't.
_ORIGIN = re.compile(rb"(/[^?#\x00-\x20\x7f]*)(?:\?([^#\x00-\x20\x7f]*))?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#@]+)((?:[/?].*)?)", re.DOTALL)
_DIGITS = re.compile(r"0*([0-9]{1,18})")
MOST_REMEMBERED = 2_048  # bytes of fields: larger ones are not remembered
_END = b"\r\n\r\n"
# Apache's words for errors, which other programs read.
TOO_MANY_FIELDS = "AH00563: Number of request headers exceeds LimitRequestFields"
_FIELDS = "AH00567: request failed: error reading the headers"
_TARGET = "AH03450: HTTP Request Line; Unable to parse URI"

Fields = list[tuple[str, str]]


def head_end(buffer: bytes) -> int:
    """The end of the head (after its empty line); -1 if it is incomplete.

    Empty lines before a head belong to it (RFC 9112, 2.2). Lines that end with LF alone end a head
    too, so that it can be refused at once. A first line that no fields can follow ends the head by
    itself.
    """
    begin = start(buffer) if buffer.startswith(EMPTY_LINES) else 0
    end = buffer.find(_END, begin)
    if end >= 0:
        return end + 4
    for bare in (b"\n\n", b"\n\r\n"):
        end = buffer.find(bare, begin)
        if end >= 0:
            return end + len(bare)
    return ends_early(buffer, begin)


def _malformed(reason: str) -> HTTPError:
    """Errors in requests interest only administrators who look for them."""
    return HTTPError(400, reason, level=Level.DEBUG)


def too_long_a_line(limits: HeadLimits) -> HTTPError:
    """The error for a request line beyond the limit."""
    why = f"client's request-line exceeds LimitRequestLine (longer than {limits.line})"
    return HTTPError(414, f"AH00565: request failed: {why}")


def unknown_expectation(value: str) -> HTTPError:
    """The error for an Expect that cannot be met."""
    return HTTPError(417, f"AH00570: client sent an unrecognized expectation value of Expect: {value}")


def parse_head(data: bytes, limits: HeadLimits) -> Head:
    """Parse a head: all of it, or the part so far of one that is too long.

    Raises HTTPError: 400 for malformed heads, 414 and 431 for long ones, 501 for a transfer coding
    other than chunked and a method that is not registered, 505 for another version, 417 for another
    expectation, 405 for CONNECT.
    """
    if data.startswith(EMPTY_LINES):
        data = data[start(data) :]
    if limits.options.unsafe:
        data = made_strict(data)
    if len(data) > limits.harmless:
        _check_size(data, limits)
    line_end = data.find(b"\r\n")
    if line_end < 0:
        raise malformed_line()
    method, target, major, minor = read_line(data[:line_end], limits.options)
    if not major:
        return _simple_head(method, target)
    rest = data[line_end:]
    read = _read_fields if len(rest) <= MOST_REMEMBERED else _read_fields.__wrapped__
    block = read(rest, min(minor, 1))
    if len(rest) > limits.field_size:
        check_joined(block.values, limits)
    head = Head(
        method.decode("latin-1"),
        target.decode("latin-1"),
        block.minor,
        block.host,
        "",
        None,
        block.fields,
        block.values,
        block.keep_alive,
        block.content_length,
        block.chunked,
        block.expect_continue,
        block.host_port,
    )
    _read_target(head, target)
    return head


def _simple_head(method: bytes, target: bytes) -> Head:
    """The head of an HTTP/0.9 request, which has no fields."""
    head = Head(method.decode("latin-1"), target.decode("latin-1"), 0, "", "", None, [], {}, keep_alive=False, major=0)
    _read_target(head, target)
    return head


@dataclass(slots=True)
class _Block:
    """The meaning of a head's fields. All requests with the same fields share it: read-only once made."""

    minor: int
    fields: Fields
    values: dict[str, str]
    keep_alive: bool
    host: str = ""
    host_port: int | None = None
    content_length: int = 0
    chunked: bool = False
    expect_continue: bool = False


@functools.lru_cache(maxsize=256)
def _read_fields(data: bytes, minor: int) -> _Block:
    """Read the fields of a head, from the end of its request line on. A client sends the same ones again and again."""
    fields = _Parser().parse(b"GET / HTTP/1.%d%b" % (minor, data))
    values = joined(fields)
    block = _Block(minor, fields, values, _keeps_alive(values.get("connection"), minor))
    _read_host(block)
    if "transfer-encoding" in values or "content-length" in values:
        _read_framing(block, values)
    if "expect" in values:
        _read_expect(block, values["expect"])
    return block


class _Parser:
    """Collects llhttp's results."""

    __slots__ = ("complete", "fields")

    def __init__(self) -> None:
        self.fields: Fields = []
        self.complete = False

    def parse(self, data: bytes) -> Fields:
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an Upgrade that the server does not accept is an ordinary request (RFC 9110, 7.8)
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as error:
            raise _malformed(f"{_FIELDS}: {error}") from None
        if not self.complete:
            raise _malformed(_FIELDS)
        return self.fields

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1"), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def _check_size(data: bytes, limits: HeadLimits) -> None:
    end = data.find(b"\r\n")
    if (len(data) if end < 0 else end) > limits.line:
        raise too_long_a_line(limits)
    if limits.fields and data.count(b"\r\n") - 2 > limits.fields:
        raise HTTPError(431, TOO_MANY_FIELDS)
    if len(data) - end > limits.field_size:
        longest = max(data[end + 2 :].split(b"\r\n"), key=len)
        if len(longest) > limits.field_size:
            name = longest.partition(b":")[0][:40].decode("latin-1")
            raise HTTPError(431, f"AH00561: Request header exceeds LimitRequestFieldSize: {name}")
    if len(data) > limits.total:
        raise HTTPError(431, f"the request head is longer than {limits.total} bytes")


def check_joined(values: Mapping[str, str], limits: HeadLimits) -> None:
    """The limit on a field applies to all fields of one name together. Raises HTTPError 431."""
    for name, value in values.items():
        if len(value) > limits.field_size:
            raise HTTPError(431, f"AH00561: Request header exceeds LimitRequestFieldSize: {name[:40]}")


def joined(fields: Fields) -> dict[str, str]:
    """Lower-case names to values. Several fields of one name are joined (RFC 9110, 5.3; RFC 9113, 8.2.3)."""
    values: dict[str, str] = {}
    for name, value in fields:
        key = name.lower()
        if key in values:
            values[key] = f"{values[key]}{'; ' if key == 'cookie' else ', '}{value}"
        else:
            values[key] = value
    return values


def _keeps_alive(connection: str | None, minor: int) -> bool:
    if connection is None:
        return minor > 0
    options = {option.strip() for option in connection.lower().split(",")}
    if "close" in options:
        return False
    return minor > 0 or "keep-alive" in options


def _read_host(head: _Block) -> None:
    """Host: exactly one in HTTP/1.1, at most one in HTTP/1.0 (RFC 9112, 3.2)."""
    value = head.values.get("host")
    if value is None:
        if head.minor > 0:
            raise _malformed("AH00569: client sent HTTP/1.1 request without hostname (see RFC2616 section 14.23)")
        return
    authority = parse_authority(value.encode("latin-1"))
    # Two fields are also invalid: joined by a comma they are not a name. http has no URL without a
    # host (RFC 9110, 4.2.1).
    if authority is None or not authority[0]:
        raise _malformed(f"AH00550: Client sent malformed Host header: {value}")
    head.host, head.host_port = authority


def _read_target(head: Head, target: bytes) -> None:
    """The four forms of a target (RFC 9112, 3.2)."""
    origin = split_origin(target)
    if origin is None:
        if head.method == "CONNECT":
            raise HTTPError(405, "CONNECT is for proxies", (("Allow", "GET, HEAD, OPTIONS"),))
        if target == b"*" and head.method == "OPTIONS":
            head.path = "*"
            return
        authority, rest = split_absolute(target)
        head.host, head.host_port = authority
        # It replaces any Host that was sent (RFC 9112, 3.2.2).
        head.values = {**head.values, "host": re.split("[/?]", head.target, maxsplit=3)[2]}
        origin = split_origin(rest)
        if origin is None:
            raise _malformed(f"{_TARGET}: '{head.target}'")
    head.path, head.query = origin


def split_origin(target: bytes) -> tuple[str, str | None] | None:
    """Path and query of an origin-form target. None if it is not one."""
    match = _ORIGIN.fullmatch(one_slash(target))
    if match is None:
        return None
    return match[1].decode("latin-1"), None if match[2] is None else match[2].decode("latin-1")


def one_slash(target: bytes) -> bytes:
    """A target with one slash at its beginning, whatever MergeSlashes says: after two, a host could follow."""
    return b"/" + target.lstrip(b"/") if target.startswith(b"//") else target


def split_absolute(target: bytes) -> tuple[Authority, bytes]:
    """The authority of an absolute-form target, and its path and query. Raises HTTPError 400."""
    match = _ABSOLUTE.fullmatch(target)
    authority = parse_authority(match[1]) if match else None
    if match is None or authority is None or not authority[0]:
        raise _malformed(f"{_TARGET}: '{target.decode('latin-1')}'")
    rest = match[2]
    return authority, rest if rest.startswith(b"/") else b"/" + rest


def _read_framing(head: _Block, values: dict[str, str]) -> None:
    """The length of the body (RFC 9112, 6.3). Any doubt ends the connection."""
    coding, length = values.get("transfer-encoding"), values.get("content-length")
    if coding is not None:
        if length is not None:
            raise _malformed("both Transfer-Encoding and Content-Length")
        if head.minor == 0:
            raise _malformed("Transfer-Encoding in a HTTP/1.0 request")
        if coding.lower() != "chunked":
            raise HTTPError(501, f"AH02539: client sent unknown Transfer-Encoding ({coding})", level=Level.DEBUG)
        head.chunked = True
    elif length is not None:
        size = read_length(length)
        if size is None:
            raise _malformed(f"AH10242: client sent invalid Content-Length ({length})")
        head.content_length = size


def read_length(value: str) -> int | None:
    """The value of a Content-Length, with any number of zeros before it; None if it is not a number."""
    match = _DIGITS.fullmatch(value)
    return None if match is None else int(match[1])


def _read_expect(head: _Block, value: str) -> None:
    """Expect (RFC 9110, 10.1.1); it means nothing in HTTP/1.0."""
    if head.minor == 0:
        return
    if value.lower() != "100-continue":
        raise unknown_expectation(value)
    head.expect_continue = head.chunked or head.content_length > 0
