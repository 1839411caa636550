"""WSGIDaemonProcess and ASGIDaemonProcess: how the processes of Python applications run.

Source: mod_wsgi's manual, "WSGIDaemonProcess".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields

from ownhost.config.arguments import number
from ownhost.config.directive import ArgumentError, Call
from ownhost.config.known import suggestion
from ownhost.config.lexer import next_word

GLOBAL = "%{GLOBAL}"
_NAME = re.compile(r"([^\s=]+)=", re.ASCII)


@dataclass(frozen=True, slots=True)
class Daemon:
    """One group of processes. "" or None means not set."""

    name: str = ""
    user: str = ""
    group: str = ""
    processes: int | None = None
    home: str = ""
    python_home: str = ""
    python_path: str = ""
    display_name: str = ""
    maximum_requests: int | None = None
    request_timeout: int = 0
    inactivity_timeout: int = 0
    lang: str = ""
    locale: str = ""
    umask: str = ""


Daemons = dict[str, Daemon]

_NUMBERS = {"processes": 1, "maximum_requests": 0, "request_timeout": 0, "inactivity_timeout": 0}  # the least
_FOLDERS = ("home", "python_home")
_OBEYED = tuple(field.name.replace("_", "-") for field in fields(Daemon) if field.name != "name")
# Options for how mod_wsgi's processes talk to Apache and are watched. Here that is different, or
# the launcher does it.
_NO_EFFECT = """
    connect-timeout cpu-priority deadlock-timeout eviction-timeout graceful-timeout header-buffer-size
    interrupt-timeout listen-backlog proxy-buffer-size python-eggs queue-timeout receive-buffer-size
    response-buffer-size response-socket-timeout restart-interval send-buffer-size server-metrics shutdown-timeout
    socket-timeout socket-user stack-size startup-timeout switch-interval
"""
# Options that protect something, so that ignoring them would be dangerous.
_UNSUPPORTED = """
    chroot cpu-time-limit memory-limit script-group script-user supplementary-groups virtual-memory-limit
"""


def parse_daemon(call: Call) -> Daemons:
    """A name, and options."""
    if not call.args:
        raise ArgumentError("expected a name and perhaps options, got none")
    name, options = next_word(call.raw)
    if not name or name.startswith("%{") or "=" in name:
        raise ArgumentError(f"expected a name, not {name!r}")
    values: dict[str, str | int] = {"name": name}
    for key, value in cut_options(options, "an option such as processes=2"):
        found = _option(call, key, value)
        if found is not None:
            values[key.replace("-", "_")] = found
    return {name: Daemon(**values)}  # type: ignore[arg-type]


def _option(call: Call, key: str, value: str) -> str | int | None:
    """The value of an option; None for one without effect. Raises ArgumentError."""
    attribute = key.replace("-", "_")
    if key == "threads":
        if number(value, 0) != 1:
            call.notes.append(f"threads={value}: each process takes one request at a time; processes= says how many")
        return None
    if key in _NO_EFFECT.split():
        return None
    if key in _UNSUPPORTED.split():
        raise ArgumentError(f"{key}= is not supported")
    if key not in _OBEYED:
        raise ArgumentError(f"unknown option {key}={suggestion(key, _OBEYED)}")
    if attribute in _NUMBERS:
        return number(value, _NUMBERS[attribute])
    if key in ("user", "group") and not value:
        raise ArgumentError(f"expected a value for {key}=")
    if attribute in _FOLDERS and not value.startswith("/"):
        raise ArgumentError(f"{key}= must be an absolute folder, not {value!r}")
    if key == "umask" and not (value and set(value) <= set("01234567") and int(value, 8) <= 0o777):
        raise ArgumentError(f"umask= must be an octal number up to 777, not {value!r}")
    return value


def fold_daemons(before: Daemons | None, more: Daemons) -> Daemons:
    """Add one to the same scope. Raises ArgumentError for a name that exists."""
    for name in more:
        if before and name in before:
            raise ArgumentError(f"there is a group of processes called {name} already")
    return {**(before or {}), **more}


def merge_daemons(outer: Daemons, inner: Daemons) -> Daemons:
    """Those of the main server, and a virtual host's own."""
    return {**outer, **inner}


def cut_options(text: str, expected: str) -> Iterator[tuple[str, str]]:
    """The options in a text, split as mod_wsgi does: NAME=word. The word may be in quotes, the whole may not.

    Raises ArgumentError for an invalid one, with `expected` in the message.
    """
    while text:
        match = _NAME.match(text)
        if match is None:
            raise ArgumentError(f"expected {expected}, not {next_word(text)[0]!r}")
        value, text = next_word(text[match.end() :])
        yield match[1], value


def parse_options(text: str, known: tuple[str, ...]) -> dict[str, str]:
    """The options of a script alias: NAME=value. Raises ArgumentError."""
    found = {}
    expected = ", ".join(f"{name}=" for name in known)
    for key, value in cut_options(text, expected):
        if key not in known:
            raise ArgumentError(f"expected {expected}, not {key}=")
        if not value:
            raise ArgumentError(f"expected a value for {key}=")
        found[key] = value
    return found


def behind_two(text: str) -> str:
    """The rest of a text after two words: the options of a script alias."""
    return next_word(next_word(text)[1])[1]
