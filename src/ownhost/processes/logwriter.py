"""Writing log lines from a worker or a gate: whole lines, many at a time, never waiting.

The same code writes to a file opened for appending, to a pipe and to the logger's socket: one write is one
batch of whole lines, and none is torn, whoever else writes there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

BATCH = 32_768  # bytes per write: a message that the logger takes, a pipe takes, a file takes
LONGEST_LINE = 16_384  # bytes
MOST_WAITING = 262_144  # bytes kept while the other end does not take them
RETRY = (errno.EAGAIN, errno.EINTR, errno.ENOBUFS)


class LogWriter:
    """Collects lines and writes them when the event loop's turn is over (`schedule`)."""

    __slots__ = ("dropped", "due", "fd", "lines", "schedule", "size")

    def __init__(self, fd: int, schedule: Callable[[Callable[[], None]], object]) -> None:
        self.fd = fd
        self.schedule = schedule
        self.lines: list[bytes] = []
        self.size = 0  # bytes in `lines`
        self.dropped = 0
        self.due = False

    def write(self, line: str) -> None:
        """Take one line, its newline included."""
        data = line.encode("utf-8", "surrogateescape")
        if len(data) > LONGEST_LINE:
            data = data[: LONGEST_LINE - 4] + b"...\n"
        if self.size + len(data) > MOST_WAITING:
            self.dropped += 1
            return
        self.lines.append(data)
        self.size += len(data)
        if not self.due:
            self.due = True
            self.schedule(self.flush)

    def flush(self) -> None:
        """Write what there is. What the other end does not take now waits for the next line."""
        self.due = False
        while self.lines:
            count, batch = self._batch()
            try:
                written = os.write(self.fd, batch)
            except OSError as error:
                if error.errno not in RETRY:
                    self._drop(count)  # the logger is gone, the disk is full: there is nobody to tell
                    continue
                return
            if written < len(batch):
                # A disk that fills up tears a line; begin the next one on a line of its own.
                self.lines[:count] = [b"\n" + batch[written:]]
                self.size = sum(map(len, self.lines))
                return
            self._drop(count, lost=False)
        if self.dropped:
            lost, self.dropped = self.dropped, 0
            self.write(f"({lost} lines are lost: the log was not taken in time)\n")

    def _batch(self) -> tuple[int, bytes]:
        """As many whole lines as go into one write."""
        size = 0
        for count, line in enumerate(self.lines):
            if size + len(line) > BATCH and count:
                return count, b"".join(self.lines[:count])
            size += len(line)
        return len(self.lines), b"".join(self.lines)

    def _drop(self, count: int, lost: bool = True) -> None:
        self.size -= sum(map(len, self.lines[:count]))
        del self.lines[:count]
        if lost:
            self.dropped += count
