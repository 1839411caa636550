"""The first line of a request (RFC 9112, section 3), and what HttpProtocolOptions makes of it.

    request-line = method SP request-target SP "HTTP/" DIGIT "." DIGIT
    simple       = "GET" SP request-target [SP]      ; HTTP/0.9: nothing follows, and only the body is sent

What can be neither is answered as soon as the line is here, whatever may follow.
"""

from __future__ import annotations

import re

from ownhost.config.methods import KNOWN
from ownhost.http.level import Level
from ownhost.http.limits import ProtocolOptions
from ownhost.http.message import HTTPError

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])")
_SIMPLE = re.compile(rb"(" + _TOKEN + rb") ([!-~\x80-\xff]+) ?")
_LOOSE = re.compile(rb"([!-~\x80-\xff]+) +([!-~\x80-\xff]+)(?: +[Hh][Tt][Tt][Pp]/([0-9])\.([0-9]))? *")
# A line that fields can follow, however careless its form is.
_BEFORE_FIELDS = re.compile(rb"[^\r\n]*[ \t]HTTP/[1-9]\.[0-9][ \t]*\r?\n", re.IGNORECASE)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_NOT_IN_FIELDS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_HOST = re.compile(rb"\n[Hh][Oo][Ss][Tt]:[^\n]*")
EMPTY_LINES = (b"\r\n", b"\n")  # what a buffer begins with that has some in front of a head
_TLS = b"\x16"  # the first bytes of a TLS handshake: not a request line

RequestLine = tuple[bytes, bytes, int, int]  # method, target, major and minor version


def start(buffer: bytes) -> int:
    """The beginning of a head: empty lines before it are not a part of it (RFC 9112, 2.2)."""
    return len(buffer) - len(buffer.lstrip(b"\r\n")) if buffer.startswith(EMPTY_LINES) else 0


def ends_early(buffer: bytes, begin: int) -> int:
    """The end of a head without fields: HTTP/0.9, or an invalid request line. -1 for other heads."""
    end = buffer.find(b"\n", begin)
    if end < 0 or buffer.startswith(_TLS, begin) or _BEFORE_FIELDS.match(buffer, begin):
        return -1
    return end + 1


def malformed_line() -> HTTPError:
    """Errors in requests interest only administrators who look for them."""
    return HTTPError(400, "AH00566: request failed: malformed request line", level=Level.DEBUG)


def read_line(line: bytes, options: ProtocolOptions) -> RequestLine:
    """The meaning of a first line, without its end. Raises HTTPError 400, 501, 505."""
    match = _LINE.fullmatch(line)
    if match is not None:
        method, target, major, minor = match.groups()
        found = (method, target.partition(b"#")[0] if options.unsafe else target, int(major), int(minor))
        if major == b"0":
            raise malformed_line()
    else:
        found = _read_other(line, options)
    if found[2] > 1:
        raise HTTPError(505, f"HTTP/{found[2]}.{found[3]} is not spoken here", level=Level.INFO)
    if options.registered_methods and found[0].decode("latin-1") not in KNOWN | options.methods:
        raise HTTPError(501, f"the method {found[0][:40]!r} is not registered")
    return found


def _read_other(line: bytes, options: ProtocolOptions) -> RequestLine:
    match = (_LOOSE if options.unsafe else _SIMPLE).fullmatch(line)
    if match is None:
        raise malformed_line()
    method, target = match[1], match[2]
    if options.unsafe and match[3]:
        return method, target.partition(b"#")[0], int(match[3]), int(match[4])
    if not options.allow_0_9:
        raise HTTPError(400, "an HTTP/0.9 request, which HttpProtocolOptions Require1.0 refuses", level=Level.DEBUG)
    if method != b"GET" and not options.unsafe:
        raise HTTPError(400, "an HTTP/0.9 request that is not GET", level=Level.DEBUG)
    return method, target, 0, 9


def made_strict(data: bytes) -> bytes:
    """A head that HttpProtocolOptions Unsafe allows, in the form of all others.

    Lines may end with LF alone, fields may contain control characters (spaces replace them), and
    there may be more than one Host, of which the first counts.
    """
    data = _BARE_LF.sub(b"\r\n", data)
    end = data.find(b"\r\n")
    if end < 0:
        return data
    line, fields = data[:end], _NOT_IN_FIELDS.sub(b" ", data[end:])
    hosts = 0

    def keep_first(match: re.Match[bytes]) -> bytes:
        nonlocal hosts
        hosts += 1
        return match[0] if hosts == 1 else b"\nX-Host: -\r"

    return line + _HOST.sub(keep_first, fields)
