"""A virtual host's TLS in a worker: the context, made of its keys when the first client comes."""

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
from ownhost.processes.keyfiles import read_credentials
from ownhost.processes.slices import TLSGiven
from ownhost.processes.tickets import until_tomorrow


class Encryption:
    """What one virtual host's connections are encrypted with."""

    def __init__(
        self, server: VirtualHost, given: TLSGiven, descriptors: Sequence[int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.server = server.id
        self.policy = policy_of(server)
        self.strict = server.settings[SSL_STRICT_SNI]
        self._given = given
        self._files = given.files.mapped(descriptors.__getitem__)
        self._loop = loop
        self._context: ssl.SSLContext | None = None

    def wrap(self, sock: SocketType) -> TLSSocket:
        """A client's socket, under TLS from now on. Raises OpenSSLError where there are no keys that fit."""
        if self._given.problem:
            raise OpenSSLError(self._given.problem)
        if self._context is None:
            self._context = self._make()
        return TLSSocket(self._context, sock, self.server)

    def _make(self) -> ssl.SSLContext:
        try:
            credentials = read_credentials(self._files)
        except OSError as error:
            raise OpenSSLError(f"its keys cannot be read: {error.strerror}") from None
        context = make_context(self.policy, credentials, self._given.protocols, self._given.secret.keys())
        self._files.close()
        if self.policy.tickets:
            self._loop.call_later(until_tomorrow(), self._renew, context)
        return context

    def _renew(self, context: ssl.SSLContext) -> None:
        """A new day, new keys for tickets."""
        openssl.set_ticket_keys(context, self._given.secret.keys())
        self._loop.call_later(until_tomorrow(), self._renew, context)
