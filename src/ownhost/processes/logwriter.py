"""Writing log lines from a worker or a gate: whole lines, many at a time, without blocking.

The same code writes to a file opened for appending, to a pipe and to the logger's socket. One write
is one batch of whole lines, and none is torn, even if other processes write there. Lines that the
other end does not take in time are dropped, and counted. A file gets a line about it. The logger is
told (`tell_logger`), and writes whose lines they were.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Callable

from ownhost.processes.budget import Budget

BATCH = 32_768  # bytes per write: a message that the logger takes, a pipe takes, a file takes
LONGEST_LINE = 16_384  # bytes
MOST_WAITING = 262_144  # bytes kept while the other end takes none
PATIENCE = 1.0  # seconds for the other end to take the last lines
TRY_AGAIN = 0.1  # seconds
NOTE_EVERY = 1.0  # seconds
LOST = b"(%d lines are lost: the log was not taken in time)\n"
IS_LOST = b"\0"  # begins the note to the logger about lost lines: no line begins with it
RETRY = (errno.EAGAIN, errno.EINTR, errno.ENOBUFS)


def is_loggers(fd: int) -> bool:
    """Whether the logger writes a log: then its descriptor is a socket."""
    return stat.S_ISSOCK(os.fstat(fd).st_mode)


def say_lost(lines: int) -> bytes:
    """A log's own line about lost lines."""
    return LOST % lines


def tell_logger(lines: int) -> bytes:
    """The note to the logger about them."""
    return IS_LOST + b"%d\n" % lines


class LogWriter:
    """Collects lines and writes them when the event loop's turn is over (`schedule`).

    `later` calls a function in so many seconds: with it, lines that the other end does not take are
    tried again. Lines beyond `budget`, if there is one, are dropped. `note` makes the line about
    lost lines. `to_logger`: the other end is the logger's.
    """

    __slots__ = (
        "budget",
        "due",
        "fd",
        "later",
        "lines",
        "longest",
        "lost",
        "next_note",
        "note",
        "retrying",
        "schedule",
        "size",
        "to_logger",
        "torn",
    )

    def __init__(
        self,
        fd: int,
        schedule: Callable[[Callable[[], None]], object],
        later: Callable[[float, Callable[[], None]], object] | None = None,
        *,
        to_logger: bool = False,
    ) -> None:
        self.fd = fd
        self.schedule = schedule
        self.later = later
        self.to_logger = to_logger
        self.longest = BATCH if to_logger else LONGEST_LINE  # bytes of a line; the logger cuts its lines itself
        self.note: Callable[[int], bytes] = tell_logger if to_logger else say_lost
        self.budget: Budget | None = None
        self.lines: list[bytes] = []
        self.size = 0  # bytes in `lines`
        self.lost = 0  # lines, since the last report in the log
        self.torn = False  # the last write ended within a line, whose rest is lost
        self.next_note = 0.0  # monotonic seconds
        self.due = False
        self.retrying = False

    def write(self, line: str) -> None:
        """Take one line, its newline included."""
        data = line.encode("utf-8", "surrogateescape")
        if len(data) > self.longest:
            data = data[: self.longest - 4] + b"...\n"
        if self.size + len(data) > MOST_WAITING or not self._affords(len(data)):
            self.lost += 1
            self._try_again()
            return
        self.lines.append(data)
        self.size += len(data)
        if not self.due:
            self.due = True
            self.schedule(self.flush)

    def _affords(self, size: int) -> bool:
        """Whether the budget has so many bytes. They are spent then."""
        if self.budget is None:
            return True
        now = time.monotonic()
        if self.budget.wait(now):
            return False
        self.budget.spend(size)
        return True

    def flush(self) -> None:
        """Write the lines. Those that the other end does not take now wait for the next line."""
        self.due = False
        written = False
        while self.lines:
            count, batch = self._batch()
            try:
                rest = batch[os.write(self.fd, batch) :]
            except OSError as error:
                if error.errno in RETRY:
                    self._try_again()
                    return
                self._remove(count)  # the disk is full, or the logger is gone: there is no one to tell
                self.lost += count
                continue
            written = True
            self._remove(count)
            self.torn = bool(rest)
            if rest:  # the disk is almost full; another process's line may follow the torn one by now
                self.lost += rest.count(b"\n")
        if self.lost and (written or self.budget is not None):
            self._say_what_is_lost()

    def finish(self) -> None:
        """Write the rest at the end of the process; the other end gets a moment for it."""
        end = time.monotonic() + PATIENCE
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        self.flush()
        while self.lines and (left := end - time.monotonic()) > 0:
            poll.poll(left * 1_000)
            self.flush()

    def _try_again(self, wait: float = TRY_AGAIN) -> None:
        if self.later is not None and not self.retrying:
            self.retrying = True
            self.later(wait, self._again)

    def _again(self) -> None:
        self.retrying = False
        self.flush()

    def _say_what_is_lost(self) -> None:
        """Report lost lines, with a limited rate."""
        now = time.monotonic()
        if now < self.next_note:
            self._try_again(self.next_note - now)
            return
        note = self.note(self.lost)
        try:
            os.write(self.fd, b"\n" + note if self.torn else note)
        except OSError as error:
            if error.errno in RETRY and self.later is not None:
                self.lines.append(note)
                self.size += len(note)
                self.lost, self.next_note = 0, now + NOTE_EVERY
                self._try_again()
        else:
            self.lost, self.torn, self.next_note = 0, False, now + NOTE_EVERY

    def _batch(self) -> tuple[int, bytes]:
        """As many whole lines as go into one write, and how many they are."""
        size = count = 0
        for line in self.lines:
            if size + len(line) > BATCH and count:
                break
            size += len(line)
            count += 1
        batch = b"".join(self.lines[:count])
        return count, b"\n" + batch if self.torn else batch

    def _remove(self, count: int) -> None:
        self.size -= sum(map(len, self.lines[:count]))
        del self.lines[:count]
