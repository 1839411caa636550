"""The error log: its place (ErrorLog), its level (LogLevel), the form of its lines (ErrorLogFormat)."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from ownhost.config.arguments import number, single, words
from ownhost.config.directive import (
    SECTIONS,
    SERVER_ONLY,
    SERVERS,
    ArgumentError,
    Call,
    Directive,
    Setting,
    declare,
)
from ownhost.config.model import VirtualHost
from ownhost.request import errorformat
from ownhost.request.errorrecord import recorder
from ownhost.request.request import Level, Request

LEVELS = {level.name.lower(): level for level in Level}


@dataclass(frozen=True, slots=True)
class LogTarget:
    """The place of a log: a file, or a program's standard input ("pipe"; "shell" if a shell runs the program)."""

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
    """The value of LogLevel: a level for all (None: not set), and those of single modules ("rewrite", without mod_)."""

    default: Level | None = None
    modules: dict[str, Level] = field(default_factory=dict)

    def of(self, module: str) -> Level:
        """The level up to which this module's messages are kept."""
        return self.modules.get(module, Level.WARN if self.default is None else self.default)


def parse_levels(call: Call) -> Levels:
    """LogLevel's arguments: `level`, `module:level`, several. Raises ArgumentError."""
    levels = Levels()
    for word in words(1)(call):
        module, colon, name = word.rpartition(":")
        level = LEVELS.get(name.lower())
        if level is None:
            raise ArgumentError(f"expected a level from emerg to debug or trace1 to trace8, not {name!r}")
        if colon and not module:
            raise ArgumentError(f"expected a module in front of the colon in {word!r}")
        said = Levels(modules={_module_name(module): level}) if colon else Levels(level)
        levels = merge_levels(levels, said)
    return levels


def merge_levels(before: Levels | None, after: Levels) -> Levels:
    """Merge a later, or inner, LogLevel. A level for all cancels those of single modules."""
    if before is None or after.default is not None:
        return after
    return Levels(before.default, before.modules | after.modules)


def _module_name(word: str) -> str:
    """The short name by which messages name a module: mod_rewrite.c, rewrite_module and rewrite are the same."""
    return re.sub(r"^mod_|\.c$|_module$", "", word.lower())


def parse_error_log_format(call: Call) -> str:
    """The format of the error log's lines. Raises ArgumentError."""
    found = words(1, 2)(call)
    if len(found) == 2:
        if found[0].lower() not in ("connection", "request"):
            raise ArgumentError(f"expected connection or request in front of the format, not {found[0]!r}")
        raise ArgumentError(f"ErrorLogFormat {found[0]} is not supported; expected only the format of the lines")
    errorformat.compile_format(found[0])
    return found[0]


def parse_log_file_mode(call: Call) -> int:
    """An octal number with which the owner may read and write, and no one may execute. Raises ArgumentError."""
    word = single(call)
    mode = int(word, 8) if word and set(word) <= set("01234567") else -1
    if mode & ~0o666 or mode & 0o600 != 0o600:
        raise ArgumentError(f"expected an octal mode such as 0640, with 6 for root and no x, not {word!r}")
    return mode


def parse_rate_limit(call: Call) -> tuple[float, float]:
    """Bytes a second, and how many may come at once: by default eight seconds' worth. Off: no limit."""
    found = words(1, 2)(call)
    if [word.lower() for word in found] == ["off"]:
        return inf, inf
    rate = number(found[0], 1, MOST_BYTES)
    return float(rate), float(number(found[1], 1, MOST_BYTES) if len(found) == 2 else 8 * rate)


MOST_BYTES = 1 << 40
LOG_RATE_LIMIT: Setting[tuple[float, float]] = Setting("LogRateLimit", (float(1 << 20), float(8 << 20)))
LOG_FILE_MODE: Setting[int | None] = Setting("LogFileMode", None)  # None: what the umask leaves of 0666
ERROR_LOG: Setting[LogTarget] = Setting("ErrorLog", LogTarget("file", "/dev/stderr"))
ERROR_LOG_FORMAT: Setting[str] = Setting("ErrorLogFormat", errorformat.DEFAULT)
LOG_LEVEL: Setting[Levels] = Setting("LogLevel", Levels(), merge_levels)

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
        name="LogFileMode",
        module="ownhost",
        syntax="octal-mode",
        where=SERVERS,
        help=("The mode of new error logs and access logs. By default it is what the umask leaves of 0666."),
        parse=parse_log_file_mode,
        setting=LOG_FILE_MODE,
    )
)
declare(
    Directive(
        name="LogRateLimit",
        module="ownhost",
        syntax="bytes-per-second [burst-bytes]|Off",
        where=SERVER_ONLY,
        default="1048576 8388608",
        help=(
            "How much each identity may write to logs that it shares with others, and each of its "
            "processes to its own error log. More than that is dropped, and counted in the error "
            "log. Ownhost's own directive."
        ),
        parse=parse_rate_limit,
        setting=LOG_RATE_LIMIT,
    )
)
declare(
    Directive(
        name="LogLevel",
        module="core",
        syntax="[module:]level [module:level] ...",
        where=SECTIONS,
        default="warn",
        help="The least severe messages that the error log takes.",
        parse=parse_levels,
        setting=LOG_LEVEL,
        fold=merge_levels,
    )
)
declare(
    Directive(
        name="ErrorLogFormat",
        module="core",
        syntax="format",
        where=SERVERS,
        default=f'"{errorformat.DEFAULT}"',
        help="The format of a line of the error log.",
        parse=parse_error_log_format,
        setting=ERROR_LOG_FORMAT,
        words=(errorformat.CODES,),
    )
)


class ErrorLog:
    """A server's error log. It keeps the messages that LogLevel allows, and passes whole lines to `write`.

    `shared`: several identities write it, so `write` gets records, from which the logger makes
    lines.
    """

    def __init__(self, server: VirtualHost, write: Callable[[str], None], *, shared: bool = False) -> None:
        self.server = server
        self.levels = server.settings[LOG_LEVEL]
        format_ = errorformat.Format(server.settings[ERROR_LOG_FORMAT])
        self.line = recorder(format_) if shared else format_.line
        self.write = write
        self.pid = os.getpid()

    def log(
        self,
        level: Level,
        module: str,
        message: str,
        client: str = "",
        request: Request | None = None,
        pid: int = 0,
    ) -> None:
        """Log one message; `client` is "" or ADDRESS:PORT, `pid` 0 for this process. Notices always go through."""
        here = request is not None and LOG_LEVEL in request.settings  # a section may set its own
        levels = request.settings[LOG_LEVEL] if request is not None and here else self.levels
        if level <= levels.of(module) or level == Level.NOTICE:
            self.write(self.made(level, module, message, client, request, pid))

    def made(
        self,
        level: Level,
        module: str,
        message: str,
        client: str = "",
        request: Request | None = None,
        pid: int = 0,
    ) -> str:
        """The line or record of a message, whatever LogLevel says."""
        entry = errorformat.Entry(time.time(), level, module, pid or self.pid, self.server, message, client, request)
        return self.line(entry)
