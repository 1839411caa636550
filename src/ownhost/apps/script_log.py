"""The ScriptLog: what a failing program was told and said (Apache's "Apache Tutorial: Dynamic Content with CGI").

It is opened for each entry, as the owner who serves. Apache's children do so, too, with their one
account.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import ctime

from ownhost.http.message import Content, HTTPError
from ownhost.http.wire import to_bytes
from ownhost.modules.mod_cgi import SCRIPT_LOG, SCRIPT_LOG_BUFFER, SCRIPT_LOG_LENGTH
from ownhost.request.request import Level, Request

MODE = 0o666  # less the umask
LONGEST = 65_536  # bytes of a program's output that are kept; a head may not be longer
MOST = 1_000  # lines of its standard error


@dataclass(slots=True)
class Transcript:
    """A program's output so far."""

    output: bytearray = field(default_factory=bytearray)
    errors: list[str] = field(default_factory=list)

    def say(self, data: bytes) -> None:
        """Keep some of its output."""
        self.output += data[: LONGEST - len(self.output)]

    def complain(self, line: str) -> None:
        """Keep a line of its standard error."""
        if len(self.errors) < MOST:
            self.errors.append(line)


def write_refused(request: Request, error: HTTPError) -> None:
    """Note that a program was not run."""
    _append(request, error, ("%error", error.reason.rpartition(": ")[2]))


def write_failed(request: Request, error: HTTPError, content: Content | None, heard: Transcript) -> None:
    """Write down all of a program's failure."""
    _append(request, error, _failure(request, content, heard))


def _failure(request: Request, content: Content | None, heard: Transcript) -> Iterator[str | bytes]:
    yield "%request"
    for name, value in request.head.fields:
        yield f"{name}: {value}"
    start = b"" if content is None else _start(content, request.settings[SCRIPT_LOG_BUFFER])
    if start:
        yield ""
        yield start
    yield "%response"
    if heard.output:
        yield "%stdout"
        yield bytes(heard.output)
    if heard.errors:
        yield "%stderr"
        yield from heard.errors


def _start(content: Content, most: int) -> bytes:
    start = b""
    for piece in content.pieces():
        start += piece
        if len(start) >= most:
            break
    return start[:most]


def _append(request: Request, error: HTTPError, lines: Iterable[str | bytes]) -> None:
    """Add an entry, unless there is no log or it is long enough."""
    name = request.settings[SCRIPT_LOG]
    if not name:
        return
    query = "" if request.query is None else f"?{request.query}"
    head = (
        f"%% [{ctime(request.time)}] {request.method} {request.uri}{query} {request.head.protocol}",
        f"%% {error.status} {request.filename}",
    )
    text = b"".join((line if isinstance(line, bytes) else to_bytes(line)) + b"\n" for line in (*head, *lines))
    try:
        log = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, MODE)
        try:
            if os.fstat(log).st_size <= request.settings[SCRIPT_LOG_LENGTH]:
                os.write(log, text)
        finally:
            os.close(log)
    except OSError as failure:
        request.log(Level.WARN, "cgi", f"cannot write to the ScriptLog {name}: {failure.strerror}")
