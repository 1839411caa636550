"""A message of the error log on its way to whoever writes the log: what the sender may say, and nothing else.

A log that several identities write has a writer of its own (the logger). It knows the time, who sends, and each virtual
host's ErrorLogFormat, and makes the line. So no sender can say what a line has of these.

A record is a JSON array on a line of its own: server id, level, module, client, message, values of the format's codes
that only a request has. What is none is a RecordError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from ownhost.config.model import VirtualHost
from ownhost.request.errorformat import Entry, Format
from ownhost.request.request import Level

MOST = 32_768  # bytes of a record, its newline included: what one message to the logger holds
LONGEST = 16_384  # characters of a message
_CLIENT = re.compile(r"[0-9A-Za-z.:%_-]{0,100}")
_MODULE = re.compile(r"[0-9A-Za-z_-]{1,40}")


class RecordError(ValueError):
    """It is no record."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a sender says. `values` are shown as they are: they are escaped already."""

    server: int
    level: Level
    module: str
    client: str
    message: str
    values: tuple[str, ...]

    def encode(self) -> str:
        """The record as a line with its newline. A message that is too long loses its end, values that are, all."""
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
    """A function from entries to the records of them, for a server that has this format."""
    return lambda entry: Record(
        entry.server.id, entry.level, entry.module, entry.client, entry.message, format_.values(entry)
    ).encode()


def entry_of(record: Record, now: float, pid: int, server: VirtualHost) -> Entry:
    """What a record says, with what the log's writer knows: the time, the sender's pid, the server of that id."""
    return Entry(now, record.level, record.module, pid, server, record.message, record.client, None, record.values)
