"""The head of a program's response (RFC 3875, section 6; Apache's ap_scan_script_header_err).

    head = [status-line] *(field newline) newline
    status-line = "HTTP/1." DIGIT SP 3DIGIT [SP reason] newline      ; not from CGI programs: see Dialect
    field = name ":" *blank value *blank [newline 1*blank value]     ; folded in Dialect.HTTP only
    value = *(HTAB / %x20-7E / %x80-FF)
    newline = LF / CR LF

Fed in pieces of any size; what is behind the head comes out again, as it came in.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from enum import Enum

from ownhost.http.dates import parse_date
from ownhost.http.hops import end_to_end

MAX_HEAD = 65_536  # bytes
LONGEST_REMEMBERED = 1_024  # bytes
_END = re.compile(rb"(?:^|\n)\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] +([0-9]{3})(?: [\t -~\x80-\xff]*)?")
_PHP_STATUS_LINE = re.compile(rb"[Hh][Tt][Tt][Pp]/[0-9.]+ +([0-9]{3})(?: [\t -~\x80-\xff]*)?")  # as scripts write it
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t -~\x80-\xff]*)")
_STATUS = re.compile(r"([2-5][0-9][0-9])(?:[\t ].*)?")
_INTERIM = re.compile(rb"1(?!01)[0-9][0-9]")  # but not a switch of protocols
_LENGTH = re.compile(r"[0-9]{1,18}")
# Fields that the server sets itself, or that have their own place in a Head.
_OURS = ("status", "content-length", "date", "server")
_DATED = "last-modified"

Fields = list[tuple[str, str]]


class Dialect(Enum):
    """Where a program puts its status."""

    CGI = "cgi"  # in Status; without it, the program has not set one
    HTTP = "http"  # in a status line, as in HTTP: nph- programs, servers that speak uwsgi
    PHP = "php"  # in a status line if a script has written one; else in Status, which php-fpm always sends (`apps.php`)


class MalformedHead(Exception):
    """A program's response has no proper head: why, in Apache's words."""

    def about(self, script: str) -> str:
        """The message for the error log about a program of this name."""
        return f"malformed header from script '{script}': {self}"


class NoHead(MalformedHead):
    """It ended before its head did."""

    def about(self, script: str) -> str:
        """The message for the error log about a program of this name."""
        return f"End of script output before headers: {script}"


@dataclass(frozen=True, slots=True)
class ProgramHead:
    """The head of a program's response. Texts are as in a request's head: ISO 8859-1.

    `fields` are without Date, Server, Content-Length and those of a connection; they are cached,
    and must not be changed. A CGI program's Last-Modified is not among them; its meaning is in
    `modified`. A `local_redirect` is a path of this server, perhaps with a query: its response
    replaces the program's.
    """

    status: int
    fields: Fields
    says_status: bool = True  # the program has set it itself
    modified: int | None = None  # seconds since the epoch
    content_length: int | None = None  # None if there is none, or an invalid one
    chunked: bool = False  # the body is in the chunked transfer coding
    local_redirect: str = ""


class HeadParser:
    """Finds and reads the head.

    Invariant: the head, the body and whether there is an error don't depend on how the bytes were cut.
    """

    def __init__(self, dialect: Dialect = Dialect.CGI, *, status: int = 200, limit: int = MAX_HEAD) -> None:
        self.head: ProgramHead | None = None  # until it is complete
        self.interims: list[ProgramHead] = []  # 1xx that came before it
        self.dialect = dialect
        self.status = status  # if the program sets none
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take bytes, and return those of the body. Raises MalformedHead."""
        if self.head is not None:
            return data
        searched = max(0, len(self._buffer) - 2)  # the end's first bytes may be there already
        self._buffer += data
        while self.head is None:
            match = _END.search(self._buffer, searched)
            end = len(self._buffer) if match is None else match.end()
            if end > self._limit:
                raise MalformedHead(f"its fields are longer than {self._limit} bytes")
            if match is None:
                return b""
            read = _read_remembered if end <= LONGEST_REMEMBERED else _read
            head = read(bytes(self._buffer[:end]), self.dialect, self.status)
            del self._buffer[:end]
            searched = 0
            if head.status >= 200:
                self.head = head
            else:
                self.interims.append(head)
        body = bytes(self._buffer)
        self._buffer.clear()
        return body

    def close(self) -> None:
        """The program's output has ended. Raises MalformedHead if the head is incomplete."""
        if self.head is None:
            for line in self._buffer.split(b"\n")[:-1]:
                _field(bytes(line.removesuffix(b"\r")))
            raise NoHead("its output ended")


def _read(data: bytes, dialect: Dialect, status: int) -> ProgramHead:
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")][:-2]
    if dialect is Dialect.HTTP or (dialect is Dialect.PHP and lines and lines[0][:5].upper() == b"HTTP/"):
        return _after_status_line(lines, dialect)
    fields = [_field(line) for line in lines]
    if dialect is Dialect.PHP:
        said = _status(fields)
        return _head(status if said in (None, 200) else said, fields)
    return _cgi(fields, status)


def _after_status_line(lines: list[bytes], dialect: Dialect) -> ProgramHead:
    form = _STATUS_LINE if dialect is Dialect.HTTP else _PHP_STATUS_LINE
    match = form.fullmatch(lines[0]) if lines else None
    interim = match is not None and dialect is Dialect.HTTP and _INTERIM.fullmatch(match[1])
    if match is None or not (interim or _STATUS.fullmatch(match[1].decode())):
        raise MalformedHead(f"expected a status line, not {_shown(lines)}")
    rest = _unfolded(lines[1:]) if dialect is Dialect.HTTP else lines[1:]
    return _head(int(match[1]), [_field(line) for line in rest])


def _unfolded(lines: list[bytes]) -> list[bytes]:
    """Lines, each joined with its continuation lines (RFC 9112, 5.2)."""
    found: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and found:
            found[-1] += b" " + line.strip(b" \t")
        else:
            found.append(line)
    return found


# Most of a program's responses have the same head.
_read_remembered = functools.lru_cache(256)(_read)


def _field(line: bytes) -> tuple[str, str]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise MalformedHead(f"Bad header: {_shown([line])}")
    name, value = match[1].decode(), match[2].decode("latin-1").rstrip("\t ")
    if name.lower() == "content-type":  # Apache writes the type itself in lower case
        type_, semicolon, parameters = value.partition(";")
        value = f"{type_.lower()}{semicolon}{parameters}"
    return name, value


def _shown(lines: list[bytes]) -> str:
    """The start of the first line, for the log."""
    return lines[0][:30].decode("utf-8", "surrogateescape") if lines else "nothing"


def _status(fields: Fields) -> int | None:
    """The last Status."""
    said = [value for name, value in fields if name.lower() == "status"]
    if not said:
        return None
    match = _STATUS.fullmatch(said[-1])
    if match is None:
        raise MalformedHead(f"Invalid status line: {said[-1][:30]}")
    return int(match[1])


def _cgi(fields: Fields, default_status: int) -> ProgramHead:
    """The head of a CGI program.

    With status 200, Location means another page of this server, or a redirect (RFC 3875, 6.2). Of
    several dates in Last-Modified fields, in any form, the latest counts; an invalid one is not
    sent.
    """
    said = _status(fields)
    status = default_status if said is None else said
    location = next((value for name, value in fields if name.lower() == "location"), "")
    if status == 200 and location.startswith("/"):
        return ProgramHead(200, [], local_redirect=location)
    head = _head(
        302 if status == 200 and location else status, [field for field in fields if field[0].lower() != _DATED]
    )
    dates = [parse_date(value) or 0 for name, value in fields if name.lower() == _DATED]
    latest = max(dates, default=0)
    return replace(head, says_status=said is not None, modified=latest if latest > 0 else None)


def _head(status: int, fields: Fields) -> ProgramHead:
    lengths = {value for name, value in fields if name.lower() == "content-length"}
    length = lengths.pop() if len(lengths) == 1 else ""
    chunked = any(name.lower() == "transfer-encoding" and value.lower() == "chunked" for name, value in fields)
    return ProgramHead(
        status,
        end_to_end(fields, but=_OURS),
        content_length=int(length) if _LENGTH.fullmatch(length) and not chunked else None,
        chunked=chunked,
    )
