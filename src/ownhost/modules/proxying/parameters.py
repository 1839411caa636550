"""Parameters of servers behind this one: the key=value of ProxyPass, ProxySet and <Proxy>.

As in Apache, parameters belong to a prefix of a URL (a worker), wherever they are set. So a rule's
or a handler's URL has them, too. A socket's path is not a part of the prefix:
`unix:/run/a.sock|fcgi://app/` is fcgi://app/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ownhost.config.arguments import choice_of, either, number, seconds
from ownhost.config.directive import ArgumentError


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a server behind this one. None is the default of the protocol or of this server."""

    timeout: float | None = None  # seconds without a byte; None is ProxyTimeout
    connection_timeout: float | None = None  # None is `timeout`
    retry: float = 0.0  # seconds for which an unreachable one is not tried
    reuse: bool | None = None  # whether connections are kept; None: only for HTTP, as in Apache
    maximum: int = 0  # connections of one process at a time; 0: no limit
    upgrade: str = ""  # the protocol to which a client may switch; "ANY" is every one
    receive_buffer: int | None = None  # bytes of the kernel's (SO_RCVBUF); None is ProxyReceiveBufferSize
    keepalive: bool = False  # whether the kernel checks that idle ones still exist (SO_KEEPALIVE)
    disabled: bool = False  # whether it must not be asked at all


DEFAULTS = Parameters()
RETRY = 60.0  # where a server is named and this is not said; what only a rule or a handler names is always tried

Changes = tuple[tuple[str, Any], ...]  # names and values of Parameters


@dataclass(frozen=True, slots=True)
class Worker:
    """The parameters of all URLs with this prefix."""

    start: str
    changes: Changes

    @classmethod
    def at(cls, url: str, changes: Changes) -> Worker:
        """The parameters of a URL and all below it."""
        return cls(_start(url), changes)


def without_socket(url: str) -> str:
    """A URL without the path of a Unix socket before it."""
    return url.partition("|")[2] if url[:5].lower() == "unix:" else url


def _start(url: str) -> str:
    """The form in which workers are compared: no socket, and a path, perhaps only "/"."""
    url = without_socket(url)
    return f"{url}/" if _NO_PATH.fullmatch(url) else url


_NO_PATH = re.compile(r"[^:/]+://[^/]+")


def parameters_for(url: str, base: Parameters, workers: Iterable[Worker]) -> Parameters:
    """The parameters of the longest prefix of a URL that has any; the last line counts."""
    url = _start(url)
    found = [one for one in workers if url.startswith(one.start)]
    if not found:
        return base
    longest = max(len(one.start) for one in found)
    changes = dict(change for one in found if len(one.start) == longest for change in one.changes)
    return replace(base, **{"retry": RETRY, **changes})


_BOOLEAN = choice_of({"On": True, "Off": False})


def _buffer(word: str) -> int:
    size = number(word, 0)
    if 0 < size < 512:
        raise ArgumentError(f"expected at least 512 bytes, or 0 for the system's own, not {word!r}")
    return size


def _disabled(word: str) -> bool:
    """The letters of status=: D and S take a server out of service; the others are for balancers."""
    sign, letters = (word[0], word[1:]) if word[0] in "+-" else ("+", word)
    if not letters or set(letters.upper()) - set("DSIRHEN"):
        raise ArgumentError(f"expected some of D, S, I, R, H, E and N, perhaps behind + or -, not {word!r}")
    return sign == "+" and not set(letters.upper()).isdisjoint("DS")


_KNOWN: dict[str, tuple[str, Any]] = {
    "timeout": ("timeout", seconds),
    "connectiontimeout": ("connection_timeout", seconds),
    "retry": ("retry", seconds),
    "disablereuse": ("reuse", lambda word: not _BOOLEAN(word)),
    "enablereuse": ("reuse", _BOOLEAN),
    "max": ("maximum", lambda word: number(word, 0)),
    "upgrade": ("upgrade", lambda word: "" if word.upper() == "NONE" else word),
    "receivebuffersize": ("receive_buffer", _buffer),
    "keepalive": ("keepalive", _BOOLEAN),
    "status": ("disabled", _disabled),
}
# These tune what Ownhost does differently, or are for balancers: ignoring them changes no response.
_WITHOUT_EFFECT = frozenset(
    (
        *("acquire", "addressttl", "flusher", "flushpackets", "flushwait", "iobuffersize", "lbset", "loadfactor"),
        *("min", "ping", "redirect", "responsefieldsize", "route", "smax", "ttl"),
    )
)


def parse_parameters(words: Sequence[str]) -> Changes:
    """Words of the form key=value. Raises ArgumentError."""
    changes: dict[str, object] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.lower()
        if not equals or not value:
            raise ArgumentError(f"expected key=value, not {word!r}")
        if key in _WITHOUT_EFFECT:
            continue
        if key not in _KNOWN:
            raise ArgumentError(f"the parameter {key} is not supported; expected {either(sorted(_KNOWN))}")
        name, parse = _KNOWN[key]
        changes[name] = parse(value)
    return tuple(changes.items())
