"""A virtual host's TLS in a worker: the context, made from its keys when the first client comes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from socket import SocketType

from ownhost.config.model import VirtualHost
from ownhost.http import openssl
from ownhost.http.openssl import OpenSSLError
from ownhost.http.tls import TLSSocket, make_context
from ownhost.modules.ssl.directives import SSL_STRICT_SNI, policy_of
from ownhost.processes.keyfiles import named, read_credentials, unreadable
from ownhost.processes.slices import TLSGiven
from ownhost.processes.tickets import until_tomorrow
from ownhost.request.given_files import GivenFiles

AGAIN = 10.0  # seconds between two attempts to read unusable keys


class Encryption:
    """The TLS context of one virtual host's connections."""

    def __init__(
        self, server: VirtualHost, given: TLSGiven, descriptors: Sequence[int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.server = server.id
        self.policy = policy_of(server)
        self.strict = server.settings[SSL_STRICT_SNI]
        self._given = given
        self._settings = server.settings
        self._files = GivenFiles.numbered(given.opened, descriptors)
        self._failed: OpenSSLError | None = None
        self._not_before = 0.0
        self._loop = loop
        self._context: ssl.SSLContext | None = None

    def wrap(self, sock: SocketType) -> TLSSocket:
        """A client's socket, under TLS from now on. Raises OpenSSLError if there are no usable keys."""
        if self._given.problem:
            raise OpenSSLError(self._given.problem)
        if self._context is None:
            self._context = self._try()
        return TLSSocket(self._context, sock, self.server)

    def _try(self) -> ssl.SSLContext:
        """Make the context. A failure costs only an attempt now and then, however many clients come."""
        now = self._loop.time()
        if self._failed is not None and now < self._not_before:
            raise self._failed
        try:
            return self._make()
        except OpenSSLError as error:
            self._failed, self._not_before = error, now + AGAIN
            raise

    def _make(self) -> ssl.SSLContext:
        try:
            credentials = read_credentials(self._settings, self._files)
        except OSError as error:
            raise OpenSSLError(unreadable(named(self._settings), error)[1]) from None
        context = make_context(self.policy, credentials, self._given.protocols, self._given.secret.keys())
        self._files.close()
        if self.policy.tickets:
            self._loop.call_later(until_tomorrow(), self._renew, context)
        return context

    def _renew(self, context: ssl.SSLContext) -> None:
        """A new day, new keys for tickets."""
        openssl.set_ticket_keys(context, self._given.secret.keys())
        self._loop.call_later(until_tomorrow(), self._renew, context)
