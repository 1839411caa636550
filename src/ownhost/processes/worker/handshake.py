"""A TLS handshake in a worker: between a connection's way out of the mailbox and its requests."""

from __future__ import annotations

import contextlib
import ssl
from socket import MSG_DONTWAIT, SocketType

from ownhost.http.message import HTTPError
from ownhost.http.openssl import OpenSSLError
from ownhost.http.tls import INTERNAL_ERROR, TLSSocket
from ownhost.modules.reqtimeout import TOO_LONG
from ownhost.processes.mailbox import LONGEST_HOST, Handover
from ownhost.processes.worker.client import guarded
from ownhost.processes.worker.connection import Connection
from ownhost.processes.worker.conversation import LAST_MOMENT
from ownhost.processes.worker.http2 import Http2Connection
from ownhost.processes.worker.service import Service
from ownhost.processes.worker.shared import Shared
from ownhost.request import bugs
from ownhost.request.request import Level

_IN_CLEAR = "AH01996: SSL handshake failed: HTTP spoken on HTTPS port"


class Handshake:
    """A client that does not speak HTTP yet."""

    def __init__(self, worker: Shared, sock: SocketType, handover: Handover, service: Service) -> None:
        self.worker = worker
        self.raw = sock
        self.tls: TLSSocket | None = None
        self.handover = handover
        self.service = service
        self.reading = False  # whether the client is watched for bytes
        self.writing = False  # whether for room, too

    @guarded
    def begin(self) -> None:
        """Answer the client's first message."""
        if not self.worker.load_is_watched:
            self.worker.watch_load()
        encryption = self.service.encryption
        try:
            if encryption is None:
                refusal = self.worker.slice.refused.get(self.handover.server)
                raise OpenSSLError(refusal or "SSLEngine is off")
            self.tls = encryption.wrap(self.raw)
        except OpenSSLError as error:
            self.log(Level.ERROR, f"there is no TLS for {self.handover.host or 'this address'}: {error}")
            with contextlib.suppress(OSError):
                self.raw.send(INTERNAL_ERROR, MSG_DONTWAIT)
            self.turn_away(self.raw)
        except OSError:
            pass  # the client has left
        else:
            self.go_on()

    @guarded
    def go_on(self) -> None:
        """Go on as far as the client's messages allow."""
        tls = self.tls
        assert tls is not None
        try:
            done = tls.handshake()
        except ssl.SSLError as error:
            self.failed(tls, error)
        except OSError:
            self.close()
        else:
            if done:
                self.done(tls)
            else:
                self.wait(tls)

    def wait(self, tls: TLSSocket) -> None:
        """Leave it to the event loop until the client sends more, or receives."""
        worker = self.worker
        if tls.wants_room != self.writing:
            self.writing = tls.wants_room
            if self.writing:
                worker.loop.add_writer(tls.fileno(), self.go_on)
            else:
                worker.loop.remove_writer(tls.fileno())
        if self.reading:
            return
        self.reading = True
        worker.adopt(self)
        worker.waiting.add(tls.fileno(), self.go_on)
        stage = self.service.read_timeout.handshake
        seconds = min(stage.deadline(0.0, 0), self.service.timeout)
        worker.deadlines.set(self, worker.loop.time() + seconds)

    @guarded
    def check_time(self) -> None:
        """RequestReadTimeout handshake=, or Timeout; or a stop that waits no longer."""
        if not self.worker.stopping:
            self.log(Level.INFO, TOO_LONG.format("handshake"), "reqtimeout")
        self.close()

    def failed(self, tls: TLSSocket, error: ssl.SSLError) -> None:
        """The handshake has failed; OpenSSL has told the client why."""
        self.unwatch()
        if error.reason == "HTTP_REQUEST":
            self.answer_in_clear(tls)
            self.worker.forget(self)
            return
        self.log(Level.INFO, f"the handshake failed: {error.reason or error}")
        self.turn_away(tls.detach())

    def turn_away(self, raw: SocketType) -> None:
        """Close in two steps: a close with unread bytes would reset the connection, and lose the alert."""
        self.worker.lingering.close(raw)
        self.worker.forget(self)

    def answer_in_clear(self, tls: TLSSocket) -> None:
        """400, for HTTP on a TLS port."""
        connection = Connection(self.worker, tls.detach(), self.handover)
        connection.service = self.service
        note = "This address takes encrypted requests only: use https:// instead of http://."
        connection.happens(connection.talk.refused(HTTPError(400, _IN_CLEAR, module="ssl", note=note)))

    def done(self, tls: TLSSocket) -> None:
        """Go on with requests."""
        handover = self.handover
        if tls.asked_name[:LONGEST_HOST] != handover.host:
            self.log(Level.ERROR, f"the gate did not read {tls.asked_name!r} as the name of this handshake")
            self.close()
            return
        speaks = Http2Connection if tls.application_protocol == "h2" else Connection
        connection: Connection | Http2Connection = speaks(self.worker, tls, handover)
        connection.service = self.service
        connection.endpoints.secure, connection.endpoints.known = True, tls.facts
        if self.reading and isinstance(connection, Connection):
            connection.adopt_watch()
            self.reading = False
        self.unwatch()
        connection.begin()
        tls.finish()
        self.worker.forget(self)

    def log(self, level: Level, message: str, module: str = "ssl") -> None:
        """Write to the virtual host's error log."""
        client = f"{self.handover.client}:{self.handover.client_port}"
        self.service.error_log.log(level, module, message, client)

    def unwatch(self) -> None:
        """Stop watching it."""
        if self.writing:
            self.writing = False
            self.worker.loop.remove_writer(self.raw.fileno())
        if self.reading:
            self.reading = False
            self.worker.waiting.remove(self.raw.fileno())
        self.worker.deadlines.drop(self)

    def close_if_idle(self) -> None:
        """For a stop: a client within its handshake may finish, for a moment."""
        if self.reading:
            self.worker.deadlines.set(self, self.worker.loop.time() + LAST_MOMENT)

    def broke(self, error: Exception) -> None:
        """An unexpected exception."""
        bugs.report(lambda level, module, text: self.log(level, text, module), error)
        self.close()

    def close(self) -> None:
        """End it."""
        self.unwatch()
        if self.tls is not None:
            self.tls.close()
        self.worker.forget(self)
