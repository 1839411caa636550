"""Senders of lines, and what they may write: an identity's processes speak for its own virtual hosts only.

The decisions are here, without a socket: a message in, whole lines of a log out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ownhost.config.model import VirtualHost
from ownhost.processes.budget import Budget
from ownhost.processes.logger.log import cut
from ownhost.processes.logwriter import IS_LOST, LONGEST_LINE
from ownhost.request.errorformat import Format
from ownhost.request.errorlog import ERROR_LOG_FORMAT
from ownhost.request.errorrecord import RecordError, decode, entry_of

_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")  # of ASCII, and those beyond it, in UTF-8


@dataclass(slots=True, eq=False)
class Speaker:
    """An identity, or the gates: all its senders share one budget."""

    name: str
    servers: frozenset[int]
    budget: Budget
    starved: bool = False  # it has had to wait for its budget since the last report of lost lines


@dataclass(slots=True)
class Heard:
    """The result of a message."""

    lines: bytes = b""
    lost: int = 0  # lines that the sender had to drop
    refused: int = 0  # lines that the sender may not write


def is_clean(data: bytes) -> bool:
    """Whether `clean` would leave it unchanged, as far as a quick check can tell."""
    return len(data) <= LONGEST_LINE and data.endswith(b"\n") and _CONTROL.search(data) is None


def clean(data: bytes) -> list[bytes]:
    """Whole lines without control characters, from any bytes."""
    lines = _CONTROL.sub(b"?", data).split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [cut(line + b"\n") for line in lines]


def _count_lost(data: bytes) -> tuple[bytes, int]:
    """A message without the sender's notes about dropped lines, and the number of these lines."""
    if not data.startswith(IS_LOST):
        return data, 0
    note, _, rest = data.partition(b"\n")
    number = note.removeprefix(IS_LOST)
    return rest, int(number) if number.isdigit() and len(number) < 10 else 0


@dataclass(slots=True)
class AccessLines:
    """Lines as their sender made them.

    `starts` are the allowed beginnings: those of its own virtual hosts, if the log's formats begin
    with a constant from the configuration, such as %v. If one begins with anything else, there are
    none.
    """

    starts: tuple[bytes, ...] = ()

    def hear(self, data: bytes, _pid: int, _now: float) -> Heard:
        """The lines that the sender may write."""
        data, lost = _count_lost(data)
        if not self.starts and is_clean(data):
            return Heard(data, lost)
        lines = clean(data)
        own = [line for line in lines if line.startswith(self.starts)] if self.starts else lines
        return Heard(b"".join(own), lost, len(lines) - len(own))


@dataclass(slots=True)
class ErrorLines:
    """Records (`errorrecord`), which become lines in the virtual host's format here."""

    may: Collection[int]  # ids of the sender's virtual hosts
    servers: Mapping[int, VirtualHost]
    formats: dict[int, Format] = field(default_factory=dict)  # by server id; those of all senders

    def hear(self, data: bytes, pid: int, now: float) -> Heard:
        """Lines with the time, and with their sender's pid."""
        data, lost = _count_lost(data)
        heard = Heard(lost=lost)
        lines = []
        for line in filter(None, data.split(b"\n")):
            try:
                record = decode(line)
            except RecordError:
                heard.refused += 1
                continue
            if record.server not in self.may or record.server not in self.servers:
                heard.refused += 1
                continue
            server = self.servers[record.server]
            format_ = self.formats.get(server.id)
            if format_ is None:
                format_ = self.formats[server.id] = Format(server.settings[ERROR_LOG_FORMAT])
            text = format_.line(entry_of(record, now, pid, server))
            lines.append(cut(text.encode("utf-8", "surrogateescape")))
        heard.lines = b"".join(lines)
        return heard
