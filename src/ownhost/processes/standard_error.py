"""A program's standard error, until the last process with it has closed it: line by line, whatever it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from ownhost.apps.complaints import Lines

SIZE = 16_384  # bytes of one turn: a flood does not delay others


class StandardError:
    """The reading end of a pipe, which it owns; `say` gets each line, and `ended` this object after the last one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reading: int,
        say: Callable[[str], None],
        ended: Callable[[StandardError], object] = lambda _: None,
    ) -> None:
        self.loop = loop
        self.reading = reading
        self.say = say
        self.ended = ended
        self.lines = Lines()
        os.set_blocking(reading, False)
        loop.add_reader(reading, self.read)

    def read(self) -> bool:
        """Read what is there, within one turn. Returns whether there may be more."""
        try:
            data = os.read(self.reading, SIZE)
        except BlockingIOError:
            return False
        for line in self.lines.feed(data) if data else self.lines.end():
            self.say(line)
        if not data:
            self.loop.remove_reader(self.reading)
            os.close(self.reading)
            self.ended(self)
        return bool(data)

    def drain(self) -> None:
        """Take all that is there, as this process ends."""
        while self.read():
            pass
