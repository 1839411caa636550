"""The servers behind this one, as the configuration names them.

    url = ["unix:" path "|"] scheme "://" [host] [":" port] ["/" ...] / "unix:" path "|" scheme ":"
    scheme = "http" / "https" / "ws" / "wss" / "fcgi" / "scgi" / "uwsgi"

With a socket's path, host and port are only what the other server is told.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from urllib.parse import quote

from ownhost.config.arguments import either, number
from ownhost.config.directive import ArgumentError
from ownhost.http.wire import to_bytes
from ownhost.modules.proxying.parameters import DEFAULTS, Parameters

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "fcgi": 8000, "scgi": 4000, "uwsgi": 3031}
SPEAK_HTTP = frozenset(("http", "https", "ws", "wss"))
ENCRYPTED = frozenset(("https", "wss"))
_WEBSOCKET = frozenset(("ws", "wss"))
_URL = re.compile(
    r"(?:unix:(?P<socket>[^|]*)\|)?(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<authority>[^/?#]*)(?P<path>/.*)?)?",
    re.DOTALL,
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^][:@\s]*)(?::(?P<port>[0-9]{1,5}))?")
# Characters that Apache leaves in a path (ap_proxy_canonenc), and in an encoded path.
_PLAIN = "~$-_.+!*'(),;:@&=/"
_ENCODED = string.punctuation


@dataclass(frozen=True, slots=True)
class Backend:
    """Another server, and the path and query for it."""

    scheme: str
    host: str  # lower case, brackets kept on an IPv6 address
    port: int
    socket: str = ""  # the path of a unix socket; "" is TCP
    path: str = ""  # as text: "/..." or ""
    query: str | None = None  # as in a head
    is_encoded: bool = False  # whether the path is encoded already
    parameters: Parameters = DEFAULTS

    @property
    def authority(self) -> str:
        """Host and port, as in a URL."""
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """Path and query as in an HTTP request: ASCII."""
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
