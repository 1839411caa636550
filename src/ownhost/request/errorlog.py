"""The error log: where it goes (ErrorLog), what it takes (LogLevel), how a line looks.

A line is Apache 2.4's: [time] [module:level] [pid N] [client ADDRESS:PORT] message.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ownhost.config.arguments import single, words
from ownhost.config.directive import (
    SECTIONS,
    SERVERS,
    ArgumentError,
    Call,
    Directive,
    Setting,
    declare,
)
from ownhost.config.model import VirtualHost
from ownhost.request.request import Level

LEVELS = {level.name.lower(): level for level in Level}


@dataclass(frozen=True, slots=True)
class LogTarget:
    """Where lines go: a file, or a program's standard input ("pipe"; "shell" where a shell runs it)."""

    kind: str  # "file", "pipe" or "shell"
    value: str  # an absolute file name, or a command line


def parse_target(call: Call, word: str) -> LogTarget:
    """A log's place as ErrorLog, CustomLog and TransferLog name it. Raises ArgumentError."""
    if not word:
        raise ArgumentError("expected a file name or |program, not an empty word")
    if word.startswith("|"):
        command = word.removeprefix("||") if word.startswith("||") else word[1:]
        kind, command = ("shell", command[1:]) if command.startswith("$") else ("pipe", command)
        if not command.strip():
            raise ArgumentError("expected a program after |")
        return LogTarget(kind, command.strip())
    if word == "syslog" or word.startswith("syslog:"):
        raise ArgumentError("syslog is not supported yet; expected a file name or |program")
    return LogTarget("file", call.path(word))


@dataclass(frozen=True, slots=True)
class Levels:
    """What LogLevel says: a level for all, and others for single modules ("rewrite", without mod_)."""

    default: Level = Level.WARN
    modules: dict[str, Level] = field(default_factory=dict)

    def of(self, module: str) -> Level:
        """The level up to which this module's messages are kept."""
        return self.modules.get(module, self.default)


def parse_levels(call: Call) -> Levels:
    """LogLevel's arguments: `level`, `module:level`, several."""
    default, modules = None, {}
    for word in words(1)(call):
        module, colon, name = word.rpartition(":")
        level = LEVELS.get(name.lower())
        if level is None:
            raise ArgumentError(f"expected a level from emerg to debug or trace1 to trace8, not {name!r}")
        if not colon:
            default = level
        else:
            modules[_module_name(module)] = level
    return Levels(Level.WARN if default is None else default, modules)


def _module_name(word: str) -> str:
    """The short name by which messages name a module: mod_rewrite.c, rewrite_module and rewrite are the same."""
    return re.sub(r"^mod_|\.c$|_module$", "", word.lower())


ERROR_LOG: Setting[LogTarget] = Setting("ErrorLog", LogTarget("file", "/dev/stderr"))
LOG_LEVEL: Setting[Levels] = Setting("LogLevel", Levels())

declare(
    Directive(
        name="ErrorLog",
        module="core",
        syntax="file-path|syslog[:facility]",
        where=SERVERS,
        default="/dev/stderr",
        help="Where errors are logged: a file, or a program that reads them.",
        parse=lambda call: parse_target(call, single(call)),
        setting=ERROR_LOG,
    )
)
declare(
    Directive(
        name="LogLevel",
        module="core",
        syntax="[module:]level [module:level] ...",
        where=SECTIONS,
        default="warn",
        help="How much the error log takes.",
        parse=parse_levels,
        setting=LOG_LEVEL,
    )
)

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\v": "\\v", "\f": "\\f", "\\": "\\\\"}


def escape(text: str) -> str:
    """Text that cannot end its line or move a terminal's cursor, as Apache's ap_escape_errorlog_item."""
    return _UNPRINTABLE.sub(lambda match: _SHORT.get(match[0]) or f"\\x{ord(match[0]):02x}", text)


def format_line(now: float, level: Level, module: str, pid: int, client: str, message: str) -> str:
    """One line, its newline included. `client` is "" or ADDRESS:PORT."""
    local = time.localtime(now)
    stamp = time.strftime("%a %b %d %H:%M:%S", local) + f".{int(now % 1 * 1_000_000):06d}" + f" {local.tm_year}"
    who = f" [client {client}]" if client else ""
    return f"[{stamp}] [{module}:{level.name.lower()}] [pid {pid}]{who} {escape(message)}\n"


class ErrorLog:
    """A server's error log: keeps what LogLevel lets through, and hands whole lines to `write`."""

    def __init__(self, server: VirtualHost, write: Callable[[str], None]) -> None:
        self.levels = server.settings[LOG_LEVEL]
        self.write = write
        self.pid = os.getpid()

    def log(self, level: Level, module: str, message: str, client: str = "") -> None:
        """Log one message. Notices of the server itself always go through, as in Apache."""
        if level <= self.levels.of(module) or level == Level.NOTICE:
            self.write(format_line(time.time(), level, module, self.pid, client, message))
