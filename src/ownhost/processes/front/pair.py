"""A front's end of a pair, over which a worker answers one request after another; and the pairs that are kept."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable
from select import EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from socket import MSG_DONTWAIT, MSG_NOSIGNAL
from typing import Protocol

from ownhost.processes.descriptors import refuse_descriptors
from ownhost.processes.mailbox import Handover
from ownhost.processes.relay.pool import KEPT, MOST_KEPT
from ownhost.processes.relay.records import MOST, Asked, Conversation, Kind, State

SEND = int(MSG_DONTWAIT | MSG_NOSIGNAL)
WATCHED = int(EPOLLIN | EPOLLRDHUP | EPOLLET)
WATCHED_BOTH = WATCHED | int(EPOLLOUT)
ROOM = int(EPOLLOUT)
ENDED = ~int(EPOLLIN | EPOLLOUT)  # all events except these mean an end


class Watcher(Protocol):
    """Watches descriptors: the front."""

    def watch(self, descriptor: int, handler: Callable[[int], None], events: int) -> None:
        """Register a handler for a descriptor's events."""

    def change(self, descriptor: int, events: int) -> None:
        """Watch a descriptor for other events."""

    def discard(self, sock: socket.SocketType) -> None:
        """Close a socket that was watched."""


class Asker(Protocol):
    """The connection whose request goes over a pair."""

    def go_on(self) -> None:
        """There is something to read on it, or room. Never raises."""

    def refuse(self) -> None:
        """No worker takes the request."""


class Letter:
    """A pair's other end, on its way to a worker (delivery.Parcel)."""

    __slots__ = ("pair", "since", "sock")

    def __init__(self, sock: socket.socket, pair: Pair) -> None:
        self.sock = sock
        self.pair = pair
        self.since = 0.0

    def fileno(self) -> int:
        return self.sock.fileno()

    def handover(self) -> Handover:
        return Handover(self.pair.server, relay=True, front=True)

    def kept(self) -> None:
        """Only its request waits for it, and has its own time limit."""

    def taken(self) -> None:
        self.sock.close()


class Pair:
    """A pair with a worker of a virtual host's own identity."""

    __slots__ = (
        "_pairs",
        "_watcher",
        "asker",
        "blocked",
        "closed",
        "ended",
        "input_ends",
        "letter",
        "may_read",
        "out",
        "records",
        "server",
        "since",
        "sock",
    )

    def __init__(self, watcher: Watcher, pairs: Pairs, server: int) -> None:
        """Raises OSError if none can be made."""
        self.sock, theirs = socket.socketpair()
        refuse_descriptors(self.sock)
        refuse_descriptors(theirs)
        self.letter = Letter(theirs, self)
        self.server = server
        self.records = Conversation()
        self.asker: Asker | None = None  # whose request it has; None while it is kept
        self.out = b""  # of records: not sent yet
        self.blocked = False  # it is watched for room
        self.input_ends = False  # the client sends no more: to be told, after all bytes
        self.may_read = self.ended = self.closed = False
        self.since = 0.0  # since when it is kept
        self._watcher = watcher
        self._pairs = pairs  # the pairs that it may be kept with
        watcher.watch(self.sock.fileno(), self.on_event, WATCHED)

    def on_event(self, events: int) -> None:
        """A record has come, or there is room."""
        if events & ROOM:
            self.flush()
        if events & ~ROOM:
            self.may_read = True
            self.ended = self.ended or bool(events & ENDED)
        if self.asker is not None:
            self.asker.go_on()
        elif events & ~ROOM:  # nothing may come on it now
            self._pairs.drop(self)

    def ask(self, asked: Asked) -> None:
        """Ask whether a worker takes a request."""
        self.out += self.records.says(Kind.REQUEST, asked.to_bytes())

    def say(self, data: bytes) -> None:
        """Send some of what follows the head, unless the worker is done without it."""
        if self.records.state not in (State.ANSWERED, State.TUNNELLED):
            return
        for start in range(0, len(data), MOST):
            self.out += self.records.says(Kind.BODY, data[start : start + MOST])

    def flush(self) -> None:
        """Send while there is room. If the other end is gone, reading shows it."""
        if self.out:
            try:
                self.out = self.out[self.sock.send(self.out, SEND) :]
            except BlockingIOError:
                pass
            except OSError:
                self.out, self.may_read, self.ended = b"", True, True
        if bool(self.out) is not self.blocked:
            self.blocked = not self.blocked
            self._watcher.change(self.sock.fileno(), WATCHED_BOTH if self.blocked else WATCHED)
        if self.input_ends and not self.out:
            self.input_ends = False
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)

    @property
    def is_idle(self) -> bool:
        """Whether it can carry another request."""
        return self.records.state is State.IDLE and not self.ended and not self.out

    def close(self) -> None:
        """Close it: the worker learns that its answer is not wanted."""
        self.letter.sock.close()
        if not self.closed:
            self.closed = True
            self._watcher.discard(self.sock)


class Pairs:
    """Pairs that are kept for further requests, by virtual host; oldest first. At most `most` are kept in all."""

    def __init__(self, most: int) -> None:
        self._kept: dict[int, deque[Pair]] = {}
        self._count = 0
        self._most = most
        self._closed = False

    def __bool__(self) -> bool:
        return self._count > 0

    def take(self, server: int) -> Pair | None:
        """The one that was used last."""
        kept = self._kept.get(server)
        if not kept:
            return None
        self._count -= 1
        return kept.pop()

    def keep(self, pair: Pair, now: float) -> None:
        """Keep one for the next request, if it can be asked on it."""
        others = self._kept.get(pair.server, ())
        if self._closed or not pair.is_idle or self._count >= self._most or len(others) >= MOST_KEPT:
            pair.close()
            return
        pair.since = now
        self._count += 1
        self._kept.setdefault(pair.server, deque()).append(pair)

    def drop(self, pair: Pair) -> None:
        """A record or the end has come on a kept one."""
        self._kept[pair.server].remove(pair)
        self._count -= 1
        pair.close()

    def expire(self, now: float) -> None:
        """Close those that were not used for a while."""
        for server, kept in list(self._kept.items()):
            while kept and kept[0].since <= now - KEPT:
                kept.popleft().close()
                self._count -= 1
            if not kept:
                del self._kept[server]

    def close(self) -> None:
        """Close all."""
        self._closed = True
        for kept in self._kept.values():
            for pair in kept:
                pair.close()
        self._kept.clear()
        self._count = 0
