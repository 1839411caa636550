"""Programs' standard error: cut into messages, each of them a line of the error log, whatever a program writes."""

from __future__ import annotations

from typing import Protocol

from ownhost.request.request import Level, Request

LONGEST = 8_192  # bytes of a line, as in Apache: a longer one continues in the next


class Lines:
    """Bytes in pieces of any size -> lines without their ends. It keeps less than LONGEST."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are now complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) >= LONGEST:
            lines.append(self._rest[:LONGEST])
            self._rest = self._rest[LONGEST:]
        return [text(piece) for line in lines for piece in _pieces(line)]

    def end(self) -> list[str]:
        """The end: the rest of a line."""
        rest, self._rest = self._rest, b""
        return [text(rest)] if rest else []


def _pieces(line: bytes) -> list[bytes]:
    return [line[start : start + LONGEST] for start in range(0, len(line), LONGEST)] or [line]


def text(line: bytes) -> str:
    """A line as the error log takes it; bytes that are not UTF-8 are escaped there."""
    return line.removesuffix(b"\r").decode("utf-8", "surrogateescape")


class Complaints(Protocol):
    """Takes what a FastCGI program sends for the error log (STDERR) during a request."""

    def take(self, data: bytes) -> None:
        """Some of it."""

    def pause(self) -> None:
        """The program sends something else."""

    def end(self) -> None:
        """The end."""


class LineComplaints:
    """Each line is a message of a module."""

    def __init__(self, request: Request, module: str) -> None:
        self.request = request
        self.module = module
        self.lines = Lines()

    def take(self, data: bytes) -> None:
        """Log the lines that are complete."""
        for line in self.lines.feed(data):
            self.request.log(Level.ERROR, self.module, line)

    def pause(self) -> None:
        """A line may go on."""

    def end(self) -> None:
        """Log the rest."""
        for line in self.lines.end():
            self.request.log(Level.ERROR, self.module, line)


class RecordComplaints:
    """Each record of another server is a message, in the words of Apache's mod_proxy_fcgi."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def take(self, data: bytes) -> None:
        """Log it."""
        for piece in _pieces(data):
            said = piece.decode("utf-8", "surrogateescape")
            self.request.log(Level.ERROR, "proxy_fcgi", f"AH01071: Got error '{said}'")

    def pause(self) -> None:
        """Nothing is buffered."""

    def end(self) -> None:
        """Nothing is buffered."""
