"""PHP's errors: as php-fpm sends them with a response, and as it writes them on its standard error.

php-fpm says each message twice: in the request's FCGI_STDERR, where the request is known, and on
standard error, among anything that scripts and their programs write there. The first is logged, as
mod_php would. In the second, the same messages are left out (`Echoes`).

Sources: php-fpm 8.2 (fpm_main.c, zlog.c), mod_php 8.2 (sapi_apache2.c).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from ownhost.request.request import Level, Request

SAID = "PHP message: "  # the beginning of a message
MOST = 65_536  # bytes of messages that are kept until they are complete
MOST_HELD = 1_000  # lines
_BETWEEN = re.compile(r"; (?=PHP message: )|(?<=\n)(?=PHP message: )")
_BEFORE = re.compile(f"(?={SAID})")
# As main.c gives them to a SAPI: all others are notice, as error_log() is.
_LEVELS = {
    "Fatal error": Level.ERROR,
    "Recoverable fatal error": Level.ERROR,
    "Parse error": Level.ERROR,
    "Warning": Level.WARN,
    "Notice": Level.NOTICE,
    "Strict Standards": Level.INFO,
    "Deprecated": Level.INFO,
}
_KIND = re.compile(rf"PHP ({'|'.join(_LEVELS)}):  ")
_OWN = re.compile(r"\[[0-9]{2}-[A-Z][a-z]{2}-[0-9]{4} [0-9:.]+\] (DEBUG|NOTICE|WARNING|ERROR|ALERT): (.*)", re.DOTALL)
_OWN_LEVELS = {
    "DEBUG": Level.DEBUG,
    "NOTICE": Level.NOTICE,
    "WARNING": Level.WARN,
    "ERROR": Level.ERROR,
    "ALERT": Level.ALERT,
}


def level_of(message: str) -> Level:
    """The level at which mod_php logs a message."""
    kind = _KIND.match(message)
    return _LEVELS[kind[1]] if kind else Level.NOTICE


def of_line(line: str) -> tuple[Level, str]:
    """The kind of a line of php-fpm's standard error: its own words, a message of PHP's, or anything."""
    own = _OWN.fullmatch(line)
    if own:
        return _OWN_LEVELS[own[1]], own[2]
    if line.startswith(SAID):
        message = line.removeprefix(SAID)
        return level_of(message), message
    return Level.ERROR, line


def _parts(line: str) -> list[str]:
    """A line, cut before a message that begins within it."""
    return [part for part in _BEFORE.split(line) if part] or [line]


class PHPComplaints:
    """The messages of one request (complaints.Complaints). `repeat` is told what standard error has, too."""

    def __init__(self, request: Request, repeat: Callable[[str], None]) -> None:
        self.request = request
        self.repeat = repeat
        self.kept = b""

    def take(self, data: bytes) -> None:
        """Keep it until it is complete: only what follows a message shows its end."""
        self.kept += data
        if len(self.kept) >= MOST:
            self.pause()

    def pause(self) -> None:
        """The messages so far are complete: PHP ends a record before it sends something else."""
        if not self.kept:
            return
        said, self.kept = self.kept.decode("utf-8", "surrogateescape"), b""
        messages = [message.removesuffix("\n") for message in _BETWEEN.split(said.removeprefix("; "))]
        for message in messages:
            shown = message.removeprefix(SAID)
            self.request.log(level_of(shown), "php", shown)
        self.repeat("\n".join(messages))

    def end(self) -> None:
        """The end."""
        self.pause()


class Echoes:
    """The lines of php-fpm's standard error that no response had (`say`).

    A message is held back until the worker has said (`hear`) that it was in a response; so are
    lines after it, which may be the rest of it. If that never comes, it belongs to no request, and
    is said after all (`settle`).
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.held: list[str] = []
        self.heard: Counter[str] = Counter()  # lines that are yet to come

    @property
    def waits(self) -> bool:
        """Whether `settle` would do anything."""
        return bool(self.held or self.heard)

    def take(self, line: str) -> None:
        """A line of standard error. Text before a message on its line did not end in a newline."""
        for part in _parts(line):
            if self.heard[part] > 0:
                self.heard -= Counter((part,))
            elif self.held or part.startswith(SAID):
                self.held.append(part)
            else:
                self.say(part)
        if len(self.held) > MOST_HELD:
            self.settle()

    def hear(self, messages: str) -> None:
        """Messages that were in a response."""
        for part in (part for line in messages.split("\n") for part in _parts(line)):
            if part in self.held:
                self.held.remove(part)
            elif self.heard.total() < MOST_HELD:
                self.heard[part] += 1
        if not any(line.startswith(SAID) for line in self.held):
            self._say_held()

    def settle(self) -> None:
        """Wait no longer."""
        self._say_held()
        self.heard.clear()

    def _say_held(self) -> None:
        held, self.held = self.held, []
        for line in held:
            self.say(line)
