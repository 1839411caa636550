"""One log: a file, a terminal, or a program's standard input.

Lines that it does not take yet wait, and nothing blocks.
"""

from __future__ import annotations

import os

from ownhost.processes.logwriter import LONGEST_LINE, LOST, MOST_WAITING


def cut(line: bytes) -> bytes:
    """A line with its newline, not longer than the limit."""
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 4] + b"...\n"


class Log:
    """One log.

    While lines wait for it (`waiting`), its senders are not read. Lost lines are counted, and
    reported in it.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.waiting = bytearray()
        self.lost = 0  # lines, since the last report in the log
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
        """Write waiting lines, as far as possible."""
        if self._push() and self.lost:
            lost, self.lost = self.lost, 0
            self.waiting += LOST % lost
            if not self._push() and not self.waiting:
                self.lost = lost

    def _push(self) -> bool:
        """Whether all is written. Lines that a full disk refuses are dropped; a torn line ends there."""
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
