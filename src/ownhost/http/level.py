"""The levels of error log messages."""

from __future__ import annotations

from enum import IntEnum


class Level(IntEnum):
    """Levels of the error log, with the names of Apache's LogLevel (lower is more severe)."""

    EMERG = 0
    ALERT = 1
    CRIT = 2
    ERROR = 3
    WARN = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7
    TRACE1 = 8
    TRACE2 = 9
    TRACE3 = 10
    TRACE4 = 11
    TRACE5 = 12
    TRACE6 = 13
    TRACE7 = 14
    TRACE8 = 15
