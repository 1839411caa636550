"""A virtual host in service: the site, its limits and its logs, as a worker's connections use them."""

from __future__ import annotations

import time
from collections.abc import Callable

from ownhost.config.model import VirtualHost
from ownhost.http import framing
from ownhost.http.limits import (
    KEEP_ALIVE,
    KEEP_ALIVE_TIMEOUT,
    MAX_KEEP_ALIVE_REQUESTS,
    TIMEOUT,
    head_limits,
)
from ownhost.http.message import FileBody, Head, Response
from ownhost.identity.assignment import MAX_CLIENTS_VHOST
from ownhost.identity.identity import Assignment
from ownhost.modules.log_config import AccessLog
from ownhost.modules.mod_http2 import stream_limits
from ownhost.modules.reqtimeout import REQUEST_READ_TIMEOUT
from ownhost.modules.ssl.requests import SSL_VHOST_SNI_POLICY
from ownhost.processes.logwriters import LogWriters
from ownhost.processes.scoreboard import Clients
from ownhost.processes.worker.encryption import Encryption
from ownhost.processes.worker.sending import Sending
from ownhost.request.exchange import Exchange
from ownhost.request.hosts import SERVER_ALIASES, SERVER_NAME, STRICT_HOST_CHECK
from ownhost.request.names import server_token
from ownhost.request.site import Site

BODILESS = frozenset((204, 304))  # RFC 9110, 6.4.1; 1xx never come this way


class Service:
    """One virtual host, with everything computed that is the same for all requests."""

    def __init__(
        self,
        server: VirtualHost,
        is_mine: Callable[[Assignment], bool],
        writers: LogWriters,
        at_turn_end: Callable[[Callable[[], None]], object],
        clients: Clients | None = None,
        encryption: Encryption | None = None,
    ) -> None:
        settings = server.settings
        self.site = Site(server, is_mine, at_turn_end)
        self.clients = clients  # where they are counted, if they are
        self.encryption = encryption  # of connections made for it
        self.max_clients = settings[MAX_CLIENTS_VHOST]
        self.limits = head_limits(settings)
        self.timeout = settings[TIMEOUT]
        self.keep_alive = settings[KEEP_ALIVE]
        self.keep_alive_timeout = settings[KEEP_ALIVE_TIMEOUT]
        self.max_requests = settings[MAX_KEEP_ALIVE_REQUESTS]
        self.read_timeout = settings[REQUEST_READ_TIMEOUT]
        self.streams = stream_limits(settings)
        self.token = server_token(settings)
        self.checks_hosts = settings[STRICT_HOST_CHECK]
        self.error_log = writers.error_log(server)
        self.access_log = AccessLog(server, lambda target: writers.access[target].write)

    def is_named(self, host: str) -> bool:
        """Whether the configuration has a name for this virtual host.

        A name that only a wildcard covers does not count.
        """
        settings = self.site.settings
        return host == settings[SERVER_NAME].host or host in settings[SERVER_ALIASES]

    def shares_connections_of(self, other: Service) -> bool:
        """Whether requests for this virtual host may come on a TLS connection made for another one."""
        one, two = self.encryption, other.encryption
        return (
            one is not None
            and two is not None
            and one.policy == two.policy
            and one.policy.verify == "none"
            and self.site.settings[SSL_VHOST_SNI_POLICY] != "strict"
        )

    def keeps(self, head: Head, response: Response, handled: int) -> bool:
        """Whether the connection stays open after this response (RFC 9112, 9.3), `handled` requests into it."""
        return (
            head.keep_alive
            and self.keep_alive
            and not response.close
            and (head.knows_chunks or framing.body_length(response) is not None)  # else only the end ends the body
            and (self.max_requests == 0 or handled + 1 < self.max_requests)
        )

    def frame(self, sending: Sending, handled: int) -> bytes:
        """The first bytes of a response: its head, and its body if that is bytes. The rest is in `sending`."""
        request, response = sending.request.head, sending.response
        body = response.body
        if not response.prepared:
            response.prepared = framing.prepare(response, self.token)
        end = self._end(request, handled) if sending.keep else framing.CLOSE
        if isinstance(body, bytes):
            content = body if request.method != "HEAD" and response.status not in BODILESS else b""
            sending.head = head = framing.head_bytes(response, end) if request.major else b""
            return head + content
        if request.method == "HEAD" or response.status in BODILESS:
            body.close()
        elif isinstance(body, FileBody):
            sending.file = body
        else:
            sending.stream = body
            if body.length is None and request.knows_chunks:
                end = framing.CHUNKED + end
        sending.head = framing.head_bytes(response, end) if request.major else b""  # HTTP/0.9 has no heads
        return sending.head

    def _end(self, head: Head, handled: int) -> bytes:
        """The end of a head after which the connection stays open: Keep-Alive only for clients that
        asked, as in Apache.
        """
        connection = head.values.get("connection")
        if head.knows_chunks and (connection is None or "keep-alive" not in connection.lower()):
            return framing.STAY
        left = f", max={self.max_requests - handled - 1}" if self.max_requests else ""
        return framing.keep_alive_end(f"timeout={self.keep_alive_timeout:.0f}{left}")

    def record(self, sending: Sending, handled: int, aborted: bool) -> None:
        """Write the access log's line of a response that was sent, `handled` requests into its connection."""
        if not self.access_log.logs:
            return
        request, response = sending.request, sending.response
        head = request.head
        line = sending.line
        self.access_log.record(
            Exchange(
                request=request if line is None else None,
                response=response,
                endpoints=request.endpoints,
                request_line=head.request_line if line is None else line,
                started=request.time,
                duration=time.time() - request.time,
                first_status=response.first_status or response.status,
                body_bytes=max(0, sending.sent - len(sending.head)) if sending.content < 0 else sending.content,
                bytes_in=sending.head_in + sending.received,
                bytes_out=sending.sent,
                keep_alive_requests=handled,
                kept_alive=sending.keep,
                aborted=aborted,
                head_sent=sending.head,
            )
        )
