"""nsswitch.conf(5): the libraries that know hosts and users, loaded before a process can no longer load code.

glibc loads them at the first look-up. By then, a worker is under a filter, so the forkserver loads
them for all.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from pathlib import Path

FILE = Path("/etc/nsswitch.conf")
DATABASES = ("hosts", "passwd", "group", "initgroups")

_LINE = re.compile(r"^\s*(\w+)\s*:([^#\n]*)", re.MULTILINE)
_ACTION = re.compile(r"\[[^]]*\]")  # [NOTFOUND=return]


def services(text: str) -> list[str]:
    """The services that an nsswitch.conf names for the look-ups of workers, each once. Pure."""
    found: dict[str, None] = {}
    for database, value in _LINE.findall(text):
        if database in DATABASES:
            found.update(dict.fromkeys(re.findall(r"\w+", _ACTION.sub(" ", value))))
    return list(found)


def load() -> None:
    """Load the libraries of all services. Those that glibc has built in, or that are missing, need no loading."""
    with contextlib.suppress(OSError):
        for service in services(FILE.read_text("utf-8", "replace")):
            with contextlib.suppress(OSError):
                ctypes.CDLL(f"libnss_{service}.so.2")
