"""The servers behind this one, as the configuration names them.

    url = ["unix:" path "|"] scheme "://" [host] [":" port] ["/" ...]
    scheme = "http" / "https" / "ws" / "wss" / "fcgi" / "scgi" / "uwsgi"

Where there is a socket's path, host and port are only what the other server is told.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from ownhost.config.arguments import choice_of, either, number, seconds
from ownhost.config.directive import ArgumentError
from ownhost.http.wire import to_bytes

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "fcgi": 8000, "scgi": 4000, "uwsgi": 3031}
SPEAK_HTTP = frozenset(("http", "https", "ws", "wss"))
ENCRYPTED = frozenset(("https", "wss"))
_WEBSOCKET = frozenset(("ws", "wss"))
_URL = re.compile(
    r"(?:unix:(?P<socket>[^|]*)\|)?(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<authority>[^/?#]*)(?P<path>/.*)?)?",
    re.DOTALL,
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^][:@\s]*)(?::(?P<port>[0-9]{1,5}))?")
# What Apache leaves as it is in a path (ap_proxy_canonenc), and in what is encoded already.
_PLAIN = "~$-_.+!*'(),;:@&=/"
_ENCODED = string.punctuation


@dataclass(frozen=True, slots=True)
class Parameters:
    """How a server behind this one is talked to: ProxyPass's key=value. None is what the protocol or server says."""

    timeout: float | None = None  # seconds without a byte; None is ProxyTimeout
    connection_timeout: float | None = None  # None is `timeout`
    retry: float = 0.0  # seconds that one which could not be reached is left alone
    reuse: bool | None = None  # whether connections are kept; None: with HTTP alone, as in Apache
    maximum: int = 0  # connections of one process at a time; 0: no limit
    upgrade: str = ""  # the protocol that a client may switch to there; "ANY" is every one


DEFAULTS = Parameters()
RETRY = 60.0  # where ProxyPass names a server and does not say it; what only a rule or a handler names is always tried


@dataclass(frozen=True, slots=True)
class Backend:
    """Another server, and what it is asked for."""

    scheme: str
    host: str  # lower case, brackets kept on an IPv6 address
    port: int
    socket: str = ""  # the path of a unix socket; "" is TCP
    path: str = ""  # as text: "/..." or ""
    query: str | None = None  # as in a head
    is_encoded: bool = False  # the path is, already
    parameters: Parameters = DEFAULTS

    @property
    def authority(self) -> str:
        """Host and port, as in a URL."""
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """Path and query as they stand in a HTTP request: ASCII."""
        path = quote(to_bytes(self.path or "/"), safe=_ENCODED if self.is_encoded else _PLAIN)
        return path if self.query is None else f"{path}?{quote(self.query.encode('latin-1'), safe=_ENCODED)}"

    @property
    def reuses(self) -> bool:
        """Whether a connection is kept for the next request."""
        reuse = self.parameters.reuse
        return self.scheme in SPEAK_HTTP if reuse is None else reuse


def parse_url(text: str) -> Backend:
    """The server that a URL names, and the path there. Raises ArgumentError."""
    match = _URL.fullmatch(text)
    scheme = match["scheme"].lower() if match else ""
    if match is None or (match["authority"] is None and match["socket"] is None):
        raise ArgumentError(f"expected a URL such as http://host:port/ or unix:/path|fcgi://localhost/, not {text!r}")
    if scheme not in DEFAULT_PORTS:
        raise ArgumentError(
            f"{scheme}:// is not supported; expected {either([f'{name}://' for name in DEFAULT_PORTS])}"
        )
    socket = match["socket"]
    if socket is not None and not socket.startswith("/"):
        raise ArgumentError(f"expected the absolute path of a socket behind unix:, not {socket!r}")
    authority = _AUTHORITY.fullmatch(match["authority"] or "")
    if authority is None or not (authority["host"] or socket):
        raise ArgumentError(f"expected a host, and perhaps a port, not {match['authority']!r}")
    port = number(authority["port"], 1, 65535) if authority["port"] else DEFAULT_PORTS[scheme]
    host = authority["host"].lower() or "localhost"
    upgrade = Parameters(upgrade="websocket") if scheme in _WEBSOCKET else DEFAULTS
    return Backend(scheme, host, port, socket or "", match["path"] or "", parameters=upgrade)


_BOOLEAN = choice_of({"On": True, "Off": False})
_KNOWN: dict[str, tuple[str, Any]] = {
    "timeout": ("timeout", seconds),
    "connectiontimeout": ("connection_timeout", seconds),
    "retry": ("retry", seconds),
    "disablereuse": ("reuse", lambda word: not _BOOLEAN(word)),
    "enablereuse": ("reuse", _BOOLEAN),
    "max": ("maximum", lambda word: number(word, 0)),
    "upgrade": ("upgrade", lambda word: "" if word.upper() == "NONE" else word),
}
# These tune what is otherwise here: leaving them out changes no answer.
_WITHOUT_EFFECT = frozenset(
    (
        *("acquire", "addressttl", "flushpackets", "flushwait", "iobuffersize", "keepalive"),
        *("min", "ping", "receivebuffersize", "smax", "ttl"),
    )
)


def parse_parameters(words: Sequence[str], base: Parameters = DEFAULTS) -> Parameters:
    """ProxyPass's key=value. Raises ArgumentError."""
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
    return replace(base, **changes)  # type: ignore[arg-type]
