"""A handshake in a worker whose client is slow to take what it is told."""

from __future__ import annotations

import contextlib
import socket
import ssl

from certificates import Authority
from h2_pair import Pair
from ownhost.http.tls import Credentials, TLSPolicy, TLSSocket, make_context
from ownhost.http.tls import Pair as KeyPair
from ownhost.processes.mailbox import Handover
from ownhost.processes.worker.handshake import Handshake
from waiting import soon, turns

SMALL = 4_608  # bytes, about the least that a socket holds


class Client:
    """A TLS client that takes bytes when the test says so."""

    def __init__(self, authority: Authority, sock: socket.socket) -> None:
        context = ssl.create_default_context(cadata=authority.pem)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="site.test")
        self.sock = sock
        sock.setblocking(False)

    def handshake(self) -> bool:
        """Take what is there, and answer."""
        with contextlib.suppress(BlockingIOError):
            self.incoming.write(self.sock.recv(1_000_000))
        try:
            self.tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        self.sock.send(self.outgoing.read() or b"")
        return done


class LongChain:
    """What a virtual host is encrypted with: more certificates than a small socket takes."""

    strict = False

    def __init__(self, authority: Authority) -> None:
        made = authority.issue("site.test")
        pair = KeyPair((made.chain + authority.pem * 40).encode(), made.secret.encode())
        self.context = make_context(TLSPolicy(), Credentials((pair,)))
        self.policy = TLSPolicy()

    def wrap(self, sock: socket.SocketType) -> TLSSocket:
        return TLSSocket(self.context, sock, 0)


def test_a_client_may_have_answered_before_it_is_seen_that_it_took_all(pair: Pair) -> None:
    authority = Authority()
    pair.service.encryption = LongChain(authority)  # type: ignore[assignment]
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    handover = Handover(0, "192.0.2.1", 4242, "127.0.0.1", 80, "site.test", encrypted=True)
    handover.server = pair.service.site.virtual_host.id

    async def work() -> None:
        with theirs:
            client = Client(authority, theirs)
            client.handshake()
            begun = Handshake(pair.worker, socket.SocketType(fileno=ours.detach()), handover, pair.service)
            begun.begin()
            assert begun.tls is not None
            assert begun.writing, "all of it went at once"
            # What the event loop does, but for telling the handshake that there is room: it is done in the same turn.
            while not client.handshake():
                assert not begun.tls.handshake()
            begun.go_on()
            client.tls.write(b"GET /a.txt HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n")
            theirs.send(client.outgoing.read())
            answer = b""
            while not answer.endswith(b"hello"):
                await turns()
                try:
                    client.incoming.write(theirs.recv(100_000))
                    answer += client.tls.read(100_000)
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue
            assert answer.startswith(b"HTTP/1.1 200 ")
        await soon(lambda: not pair.worker.connections)

    pair.run(work())
