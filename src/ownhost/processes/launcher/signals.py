"""Signals in an event loop that anybody of the same uid may flood with them.

asyncio's own way has the C library's handler write each signal into a pipe, and complain where that is full: by a lock
that the interpreter may hold just then. Whoever ends faster than a loop can collect would so stop it for ever, in
a futex and with SIGCHLD blocked. Here the pipe only wakes the loop, a full one does that, too, and handlers are
Python's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping

Handlers = Mapping[signal.Signals, Callable[[], object]]


def handle(loop: asyncio.AbstractEventLoop, handlers: Handlers) -> None:
    """Have a loop call a handler, soon, when its signal has come: once for any number of them."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    come: set[signal.Signals] = set()

    def wake() -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(reading, 4_096)
        while come:
            handlers[come.pop()]()

    def note(number: int, _frame: object) -> None:
        come.add(signal.Signals(number))

    for number in handlers:
        signal.signal(number, note)
        signal.siginterrupt(number, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    loop.add_reader(reading, wake)
