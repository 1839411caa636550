"""A virtual host in service: the site, its limits and its logs, as a worker's connections use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ownhost.config.model import VirtualHost
from ownhost.http.limits import (
    KEEP_ALIVE,
    KEEP_ALIVE_TIMEOUT,
    LIMIT_REQUEST_BODY,
    MAX_KEEP_ALIVE_REQUESTS,
    TIMEOUT,
    head_limits,
)
from ownhost.http.message import Head, Response
from ownhost.modules.core_server import server_token
from ownhost.modules.log_config import AccessLog
from ownhost.modules.reqtimeout import REQUEST_READ_TIMEOUT
from ownhost.processes.logwriter import LogWriter
from ownhost.request import resolve
from ownhost.request.errorlog import ERROR_LOG, ErrorLog, LogTarget
from ownhost.request.site import Site

if TYPE_CHECKING:
    pass

BODILESS = frozenset((204, 304))  # RFC 9110, 6.4.1; 1xx never come this way


class Service:
    """One virtual host, with everything that doesn't change between requests worked out."""

    def __init__(self, server: VirtualHost, writers: dict[LogTarget, LogWriter]) -> None:
        settings = server.settings
        self.server = server
        self.site = Site(server)
        self.fixed = resolve.is_fixed(server)
        self.limits = head_limits(settings)
        self.timeout = settings[TIMEOUT]
        self.keep_alive = settings[KEEP_ALIVE]
        self.keep_alive_timeout = settings[KEEP_ALIVE_TIMEOUT]
        self.max_requests = settings[MAX_KEEP_ALIVE_REQUESTS]
        self.body_limit = settings[LIMIT_REQUEST_BODY]
        self.read_timeout = settings[REQUEST_READ_TIMEOUT]
        self.token = server_token(settings)
        self.error_log = ErrorLog(server, writers[settings[ERROR_LOG]].write)
        self.access_log = AccessLog(server, lambda target: writers[target].write)

    def keeps(self, head: Head, response: Response, handled: int) -> bool:
        """Whether the connection stays open after this response (RFC 9112, 9.3), `handled` requests into it."""
        return (
            head.keep_alive
            and self.keep_alive
            and not response.close
            and (self.max_requests == 0 or handled + 1 < self.max_requests)
        )

    def keep_alive_field(self, head: Head, handled: int) -> str | None:
        """The Keep-Alive field, for clients that asked: what is left to them. As Apache's ap_set_keepalive."""
        if head.minor > 0 and "keep-alive" not in head.values.get("connection", "").lower():
            return None
        left = f", max={self.max_requests - handled - 1}" if self.max_requests else ""
        return f"timeout={self.keep_alive_timeout:.0f}{left}"
