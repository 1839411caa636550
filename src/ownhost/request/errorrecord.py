"""A message of the error log on its way to the logger: what the sender may say, and nothing else.

A log that several identities write has a writer of its own (the logger). The logger knows the time,
the sender, and each virtual host's ErrorLogFormat, and makes the line. So no sender can forge
these.

A record is a JSON array on one line: server id, level, module, client, message, values of the
format's codes that only a request has. Anything else is a RecordError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from ownhost.config.model import VirtualHost
from ownhost.request.errorformat import Entry, Format
from ownhost.request.request import Level

MOST = 32_768  # bytes of a record with its newline: the size of one message to the logger
LONGEST = 16_384  # characters of a message
_CLIENT = re.compile(r"[0-9A-Za-z.:%_-]{0,100}")
_MODULE = re.compile(r"[0-9A-Za-z_-]{1,40}")


class RecordError(ValueError):
    """It is not a record."""


@dataclass(frozen=True, slots=True)
class Record:
    """The content of a record. `values` are escaped already."""

    server: int
    level: Level
    module: str
    client: str
    message: str
    values: tuple[str, ...]

    def encode(self) -> str:
        """The record as a line with its newline.

        If a message is too long, its end is cut; if the values are, all are left out.
        """
        message, values = self.message[:LONGEST], self.values
        while True:
            line = json.dumps([self.server, int(self.level), self.module, self.client, message, values]) + "\n"
            if len(line) <= MOST or not message:
                return line
            message, values = message[: len(message) // 2], ("",) * len(values)


def decode(line: bytes) -> Record:
    """A line as a record. Raises RecordError."""
    try:
        server, level, module, client, message, values = json.loads(line)
        ok = type(server) is int and isinstance(message, str) and isinstance(values, list)
        if not (ok and _CLIENT.fullmatch(client) and _MODULE.fullmatch(module)):
            raise RecordError
        if not all(isinstance(value, str) and value.isprintable() for value in values):
            raise RecordError
        return Record(server, Level(level), module, client, message, tuple(values))
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordError(f"not a record: {line[:60]!r}") from error


def recorder(format_: Format) -> Callable[[Entry], str]:
    """A function from entries to their records, for a server that has this format."""
    return lambda entry: Record(
        entry.server.id, entry.level, entry.module, entry.client, entry.message, format_.values(entry)
    ).encode()


def entry_of(record: Record, now: float, pid: int, server: VirtualHost) -> Entry:
    """An entry from a record and what the log's writer knows: the time, the sender's pid, the server of that id."""
    return Entry(now, record.level, record.module, pid, server, record.message, record.client, None, record.values)
