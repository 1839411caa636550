"""Writing log lines from a worker or a gate: whole lines, many at a time, never waiting.

The same code writes to a file opened for appending, to a pipe and to the logger's socket: one write is one
batch of whole lines, and none is torn, whoever else writes there. What the other end does not take in time is dropped,
and counted: a file has a line that says so, the logger is told (`tell_logger`) and says whose lines they were.
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
MOST_WAITING = 262_144  # bytes kept while the other end does not take them
PATIENCE = 1.0  # seconds that the other end gets for the last lines
TRY_AGAIN = 0.1  # seconds
NOTE_EVERY = 1.0  # seconds
LOST = b"(%d lines are lost: the log was not taken in time)\n"
IS_LOST = b"\0"  # begins what tells the logger how many lines are lost: no line begins with it
RETRY = (errno.EAGAIN, errno.EINTR, errno.ENOBUFS)


def is_loggers(fd: int) -> bool:
    """Whether a log is written by the logger: what is open is a socket then."""
    return stat.S_ISSOCK(os.fstat(fd).st_mode)


def say_lost(lines: int) -> bytes:
    """What a log itself says of lines that are lost."""
    return LOST % lines


def tell_logger(lines: int) -> bytes:
    """What the logger is told of them."""
    return IS_LOST + b"%d\n" % lines


class LogWriter:
    """Collects lines and writes them when the event loop's turn is over (`schedule`).

    `later` has something done in so many seconds: where it is there, what the other end does not take is tried again.
    What is more than `budget`, where there is one, is dropped. `note` is what is written of lines that are lost.
    `to_logger`: the other end is the logger's.
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
        self.lost = 0  # lines, since the log last said so
        self.torn = False  # what was written last ends within a line, whose rest is lost
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
        """Whether the budget has so many bytes, which are spent then."""
        if self.budget is None:
            return True
        now = time.monotonic()
        if self.budget.wait(now):
            return False
        self.budget.spend(size)
        return True

    def flush(self) -> None:
        """Write what there is. What the other end does not take now waits for the next line."""
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
                self._remove(count)  # the disk is full, the logger is gone: there is nobody to tell
                self.lost += count
                continue
            written = True
            self._remove(count)
            self.torn = bool(rest)
            if rest:  # the disk is full, almost; somebody else's line may stand behind the torn one by now
                self.lost += rest.count(b"\n")
        if self.lost and (written or self.budget is not None):
            self._say_what_is_lost()

    def finish(self) -> None:
        """Write the rest at the end of the process, for which the other end gets a moment."""
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
        """Say it, at most once in a while."""
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
