"""Heads in HTTP/2: fields to a request's head, and a response's head to fields (RFC 9113, section 8). Pure.

A request that breaks HTTP/2's rules is malformed: its stream ends with PROTOCOL_ERROR, and no
program sees it. One that only this server refuses (too long, no host name) gets a response that
says so, as in HTTP/1.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpack import NeverIndexedHeaderTuple

from ownhost.http.authority import Authority, parse_authority
from ownhost.http.framing import body_length, date_line
from ownhost.http.head import (
    MOST_REMEMBERED,
    TOO_MANY_FIELDS,
    Fields,
    check_joined,
    joined,
    read_length,
    split_origin,
    too_long_a_line,
    unknown_expectation,
)
from ownhost.http.hops import end_to_end
from ownhost.http.level import Level
from ownhost.http.limits import HeadLimits
from ownhost.http.message import Head, HTTPError, Response

RawFields = Sequence[tuple[bytes, bytes]]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # field names are in lower case (RFC 9113, 8.2.1)
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")  # no space at either end
_NOT_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
# Fields about the connection. HTTP/2 has frames instead (RFC 9113, 8.2.2).
_FORBIDDEN = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_BODILESS = (204, 304)


class Malformed(Exception):
    """A request that HTTP/2 does not allow. The message says why, for the error log."""


def read_head(fields: RawFields, limits: HeadLimits, *, ended: bool) -> Head:
    """The head of a field section; `ended`: there is no body. Raises Malformed, HTTPError.

    HTTPError is 400 for an invalid target or host, 414 and 431 for what is too long, 417 for an
    expectation that cannot be met, 405 for CONNECT.
    """
    pseudo: dict[bytes, bytes] = {}
    for name, value in fields:
        if not name.startswith(b":"):
            break
        if name not in _PSEUDO or name in pseudo:
            raise Malformed(f"the pseudo-header field {name[:40]!r} is unknown or repeated")
        pseudo[name] = value
    section = tuple(fields[len(pseudo) :])
    size = sum(len(name) + len(value) for name, value in section)
    read = _read_section if size <= MOST_REMEMBERED else _read_section.__wrapped__
    block = read(section)
    target = _check_pseudo(pseudo)
    method = pseudo[b":method"]
    _check_size(len(method) + len(target) + 10, block, size, limits)
    return _head(method.decode(), target, pseudo.get(b":authority"), block, ended=ended)


def refused_head(fields: RawFields) -> Head:
    """What is known of a request whose head is refused: enough to answer and to log it."""
    pseudo = {name: value.decode("latin-1") for name, value in reversed(fields) if name in _PSEUDO}
    target = pseudo.get(b":path", "-")[:200]
    return Head(pseudo.get(b":method", "-"), target, 0, "", "/", None, [], {}, keep_alive=True, chunked=True, major=2)


@dataclass(slots=True)
class _Section:
    """The meaning of regular fields. All requests with the same fields share it: read-only once made."""

    fields: Fields
    values: dict[str, str]
    longest: int  # bytes of the longest field, as HTTP/1 would write it
    content_length: int | None
    authorities: dict[bytes, _Authority] = field(default_factory=dict)  # that came with these fields


@dataclass(frozen=True, slots=True)
class _Authority:
    """A host, and all fields including Host, where the rest of the server looks for it."""

    host: str
    port: int | None
    fields: Fields
    values: dict[str, str]


@functools.lru_cache(maxsize=256)
def _read_section(section: tuple[tuple[bytes, bytes], ...]) -> _Section:
    """Read and check regular fields. A client sends the same ones again and again. Raises Malformed."""
    fields: Fields = []
    crumbs: list[str] = []
    for name, value in section:
        if not _NAME.fullmatch(name):
            raise Malformed(f"{name[:40]!r} is not a field name in HTTP/2")
        if not _VALUE.fullmatch(value):
            raise Malformed(f"the field {name[:40]!r} has invalid characters")
        if name in _FORBIDDEN or (name == b"te" and value.lower() != b"trailers"):
            raise Malformed(f"the field {name.decode()} is for HTTP/1 connections")
        if name == b"cookie":
            crumbs.append(value.decode("latin-1"))
        else:
            fields.append((name.decode(), value.decode("latin-1")))
    if crumbs:  # one field for the rest of the server (RFC 9113, 8.2.3)
        fields.append(("cookie", "; ".join(crumbs)))
    names = [name for name, _ in fields]
    for single in ("host", "content-length"):
        if names.count(single) > 1:
            raise Malformed(f"the field {single} is repeated")
    values = joined(fields)
    longest = max((len(name) + len(value) + 2 for name, value in fields), default=0)
    return _Section(fields, values, longest, _content_length(values.get("content-length")))


def _content_length(value: str | None) -> int | None:
    if value is None:
        return None
    length = read_length(value)
    if length is None:
        raise Malformed(f"the Content-Length {value[:40]!r} is not a number")
    return length


def _check_pseudo(pseudo: dict[bytes, bytes]) -> bytes:
    """Check the pseudo-header fields (RFC 9113, 8.3.1), and return the target. Raises Malformed, HTTPError."""
    method, target = pseudo.get(b":method"), pseudo.get(b":path")
    if method is None or not _TOKEN.fullmatch(method):
        raise Malformed("the :method is missing, or not a token")
    if method == b"CONNECT":
        if target is not None or b":scheme" in pseudo:
            raise Malformed("CONNECT with a :scheme or a :path")
        raise HTTPError(405, "CONNECT is for proxies", (("Allow", "GET, HEAD, OPTIONS"),))
    if not target or pseudo.get(b":scheme", b"").lower() not in (b"https", b"http"):
        raise Malformed("the :path or the :scheme is missing, or not of http or https")
    if not _VALUE.fullmatch(target):
        raise Malformed("the :path has invalid characters")
    return target


def _check_size(line: int, section: _Section, size: int, limits: HeadLimits) -> None:
    """Apply the limits on heads to what HTTP/1 would have written.

    `line` is bytes of its request line. Raises HTTPError.
    """
    if line > limits.line:
        raise too_long_a_line(limits)
    if limits.fields and len(section.fields) > limits.fields:
        raise HTTPError(431, TOO_MANY_FIELDS)
    if section.longest > limits.field_size:
        raise HTTPError(431, "AH00561: Request header exceeds LimitRequestFieldSize")
    if size > limits.field_size:
        check_joined(section.values, limits)
    if size + line + 4 * len(section.fields) > limits.total:
        raise HTTPError(431, f"the request head is longer than {limits.total} bytes")


def _head(method: str, target: bytes, authority: bytes | None, section: _Section, *, ended: bool) -> Head:
    """Put a head together. Raises Malformed, HTTPError."""
    length = section.content_length
    if ended and length:
        raise Malformed(f"a Content-Length of {length}, and no body")
    named = _named(authority, section)
    head = Head(
        method,
        target.decode("latin-1"),
        0,
        named.host,
        "*",
        None,
        named.fields,
        named.values,
        keep_alive=True,
        content_length=length or 0,
        chunked=length is None and not ended,
        host_port=named.port,
        major=2,
    )
    if "expect" in section.values:
        if section.values["expect"].lower() != "100-continue":
            raise unknown_expectation(section.values["expect"])
        head.expect_continue = not ended
    if target == b"*" and method == "OPTIONS":
        return head
    origin = split_origin(target) if target.startswith(b"/") else None
    if origin is None:
        raise HTTPError(400, f"the :path {head.target!r} is invalid", level=Level.DEBUG)
    head.path, head.query = origin
    return head


def _named(authority: bytes | None, section: _Section) -> _Authority:
    """The host in :authority, or else in Host; both must agree (RFC 9113, 8.3.1)."""
    host = section.values.get("host")
    if authority is None:
        if host is None:
            raise HTTPError(400, "an HTTP/2 request without :authority", level=Level.DEBUG)
        authority = host.encode("latin-1")
    named = section.authorities.get(authority)
    if named is not None:
        return named
    found = _parse(authority)
    if host is None:
        said = authority.decode("latin-1")
        named = _Authority(*found, [("host", said), *section.fields], {"host": said, **section.values})
    elif _parse(host.encode("latin-1")) != found:
        raise Malformed(f"the :authority {authority[:80]!r} differs from Host")
    else:
        named = _Authority(*found, section.fields, section.values)
    if len(section.authorities) < 16:
        section.authorities[authority] = named
    return named


def _parse(authority: bytes) -> Authority:
    found = parse_authority(authority)
    if found is None or not found[0]:
        raise HTTPError(400, f"the :authority {authority[:80]!r} is not a host name", level=Level.DEBUG)
    return found


# Responses


def response_fields(response: Response, server: str) -> list[tuple[bytes, bytes]]:
    """The fields of a response, except Date: the part that is remembered with it."""
    if not response.prepared_fields:
        response.prepared_fields = _prepare(response, server)
    return [*response.prepared_fields, (b"date", date_line()[6:-2])]


def _prepare(response: Response, server: str) -> RawFields:
    fields: list[tuple[bytes, bytes]] = [(b":status", b"%d" % response.status)]
    if server:
        fields.append((b"server", server.encode("latin-1", "replace")))
    for said, text in end_to_end(response.headers, but=("content-length", "date")):
        name = said.lower().encode("latin-1", "replace")
        if not _NAME.fullmatch(name):
            continue  # clients would treat the whole response as malformed
        value = _NOT_IN_VALUES.sub(b" ", text.encode("latin-1", "replace")).strip(b" \t")
        # A cookie for one user is useless in a table of fields to be sent again (RFC 7541, 7.1.3).
        fields.append(NeverIndexedHeaderTuple(name, value) if name == b"set-cookie" else (name, value))
    length = body_length(response)
    if length is not None and response.status not in _BODILESS:
        fields.append((b"content-length", b"%d" % length))
    return fields
