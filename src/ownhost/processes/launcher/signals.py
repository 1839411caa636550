"""Signals in an event loop that any process of the same uid may flood.

With asyncio's own way, the C library's handler writes each signal into a pipe, and warns if that is
full. The warning takes a lock that the interpreter may hold at that moment. So processes that end
faster than a loop can collect would stop it for ever, in a futex and with SIGCHLD blocked. Here the
pipe only wakes the loop, which a full one does, too, and handlers are Python's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping

Handlers = Mapping[signal.Signals, Callable[[], object]]


def handle(loop: asyncio.AbstractEventLoop, handlers: Handlers) -> None:
    """Have a loop call a handler soon after its signal: once for any number of signals."""
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
