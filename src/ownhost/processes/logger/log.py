"""One log: a file, a terminal, or a program's standard input. What it does not take yet waits, and nothing blocks."""

from __future__ import annotations

import os

from ownhost.processes.logwriter import LONGEST_LINE, LOST, MOST_WAITING


def cut(line: bytes) -> bytes:
    """A line with its newline, no longer than one may be."""
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 4] + b"...\n"


class Log:
    """One log. While lines wait for it (`waiting`), its senders are not heard; what is lost is counted, and said."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.waiting = bytearray()
        self.lost = 0  # lines, since the log last said so
        self.within = False  # the last byte written did not end its line
        self.torn = False  # that line's rest is lost

    def write(self, lines: bytes) -> None:
        """Write whole lines, or keep them until `flush`."""
        if len(self.waiting) + len(lines) > MOST_WAITING:
            self.lost += lines.count(b"\n")
        else:
            self.waiting += lines
            self.flush()

    def flush(self) -> None:
        """Write what waits, as far as it is taken."""
        if self._push() and self.lost:
            lost, self.lost = self.lost, 0
            self.waiting += LOST % lost
            if not self._push() and not self.waiting:
                self.lost = lost

    def _push(self) -> bool:
        """Whether all is written. What a full disk refuses is dropped; a line that it tore ends there."""
        if self.torn and self.waiting:
            self.waiting[:0] = b"\n"
            self.torn = False
        while self.waiting:
            try:
                written = os.write(self.fd, self.waiting)
            except InterruptedError:
                continue
            except BlockingIOError:
                return False
            except OSError:
                self.lost += self.waiting.count(b"\n")
                self.waiting.clear()
                self.torn = self.within
                return False
            self.within = self.waiting[written - 1] != ord("\n")
            del self.waiting[:written]
        return True
