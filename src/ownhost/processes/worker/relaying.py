"""Requests for another identity of the virtual host: this worker has the client, and is a relay's front.

The supervisor makes the pair: it knows which identity a name is, and whether the virtual host may
name it. It sends this worker's end; the other one is in a mailbox by then.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque

from ownhost.http.message import Head, HTTPError
from ownhost.identity.identity import Assignment
from ownhost.processes.messages import Channel, Relay
from ownhost.processes.relay.pool import Pool
from ownhost.processes.relay.records import Asked, Origin
from ownhost.processes.relay.stream import RelayLost, RelayStream
from ownhost.request.request import Endpoints
from ownhost.request.site import Site

AT_ONCE = 32  # unanswered questions to the supervisor; the rest waits here
MAX_WAIT = 10.0  # seconds until a request that no worker takes is answered 503
AGAIN = 0.05  # seconds until a full mailbox is tried again
MAX_MOVES = 4  # of one request between identities, before it gets 500
REMEMBERED_FOR = 2.0  # seconds that a refusal is remembered: accounts may appear
MOST_REMEMBERED = 1_024

Target = tuple[int, Assignment]  # the id of a virtual host, and the assignment of a request


class Refused(Exception):
    """No identity may serve a request with this assignment. The message says why, for the error log."""


class FullMailbox(Exception):
    """The identity for a request has too many that wait."""


class Relays:
    """A worker's pairs, and its questions to the supervisor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: Channel) -> None:
        self.loop = loop
        self.channel = channel
        self.pool: Pool[Target] = Pool(loop, self.obtain)
        self._asked: dict[int, asyncio.Future[socket.socket]] = {}  # by serial number
        self._waiting: deque[asyncio.Future[None]] = deque()  # the next ones to ask
        self._refused: dict[Target, tuple[str, float]] = {}  # why, and until when it is remembered
        self._serial = 0

    async def find_target(self, site: Site, asked: Asked, assignment: Assignment) -> tuple[Target, RelayStream] | None:
        """Find the worker for a request that names alone give to another identity; None if it is this worker after all.

        Raises HTTPError: 500 if no identity may or will serve it, 503.
        """
        server = site.virtual_host.id
        try:
            async with asyncio.timeout(MAX_WAIT):
                for _ in range(MAX_MOVES):
                    target = server, assignment
                    stream, whose = await self.pool.ask(target, asked)
                    if whose is None:
                        return target, stream
                    self.pool.keep(target, stream)
                    assignment = Assignment(whose.user or None, whose.group or None, whose.nice)
                    if site.is_mine(assignment):
                        return None
        except Refused as refused:
            raise HTTPError(500, str(refused), module="mpm_itk") from None
        except TimeoutError:
            raise HTTPError(503, f"the worker of {describe(assignment)} takes no request") from None
        except RelayLost as lost:
            raise HTTPError(503, f"the worker of {describe(assignment)} took no request: {lost}") from None
        except OSError as error:
            raise HTTPError(503, f"the supervisor cannot be asked: {error.strerror}") from None
        raise HTTPError(500, f"a request was passed on {MAX_MOVES} times and belongs nowhere")

    async def obtain(self, target: Target) -> RelayStream:
        """A new pair with the identity that serves a virtual host as that. Raises Refused, TimeoutError, OSError."""
        reason, until = self._refused.get(target, ("", 0.0))
        if time.monotonic() < until:
            raise Refused(reason)
        while True:
            try:
                return RelayStream(self.loop, await self._ask(target))
            except FullMailbox:
                await asyncio.sleep(AGAIN)
            except Refused as refused:
                if len(self._refused) >= MOST_REMEMBERED:
                    self._refused.clear()
                self._refused[target] = str(refused), time.monotonic() + REMEMBERED_FOR
                raise

    async def _ask(self, target: Target) -> socket.socket:
        while len(self._asked) >= AT_ONCE:
            turn = self.loop.create_future()
            self._waiting.append(turn)
            await turn
        self._serial += 1
        serial = self._serial
        answer: asyncio.Future[socket.socket] = self.loop.create_future()
        self._asked[serial] = answer
        server, who = target
        try:
            self.channel.send(Relay(serial, server, who.user or "", who.group or "", who.nice))
        except BlockingIOError:
            self._done(serial)
            raise FullMailbox from None
        except OSError:
            self._done(serial)
            raise
        return await answer  # `take` or `refuse` sets it, even if the asker has given up

    def take(self, serial: int, sock: socket.socket) -> None:
        """The supervisor has made a pair."""
        answer = self._done(serial)
        if answer is None or answer.done():
            sock.close()
        else:
            answer.set_result(sock)

    def refuse(self, serial: int, reason: str) -> None:
        """The supervisor has made none: the reason, or "" for a full mailbox."""
        answer = self._done(serial)
        if answer is not None and not answer.done():
            answer.set_exception(Refused(reason) if reason else FullMailbox())

    def _done(self, serial: int) -> asyncio.Future[socket.socket] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        return self._asked.pop(serial, None)


def describe(assignment: Assignment) -> str:
    """An assignment, for the log."""
    return f"user {assignment.user or '(User)'}, group {assignment.group or '(Group)'}"


def asked_of(ends: Endpoints, head: Head, handled: int, raw: bytes) -> Asked:
    """The record for a target: a client's request, after `handled` others.

    `raw` is the request's head in HTTP/1.
    """
    tls = ends.tls.to_text() if ends.tls is not None else ""
    spoken = head.protocol if head.major > 1 else ""
    here = ends.client, ends.client_port, ends.local, ends.local_port
    return Asked.of(Origin(*here, tls, spoken, ends.peer, ends.peer_port), handled, raw)
