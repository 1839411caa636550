"""Turns: how many requests an identity's programs serve at the same time, over all of its programs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Sequence

from ownhost.processes.descriptors import close_all
from ownhost.processes.orders import MAX_WORD


class Lease:
    """One request's use of a program, from the worker's order until one side closes the socket between them."""

    def __init__(self, descriptor: int, turns: Turns) -> None:
        self.sock = socket.socket(fileno=descriptor)
        self.sock.setblocking(False)
        self.turns = turns
        self.answered = self.wanted = False

    def answer(self, **said: str) -> None:
        """Answer the worker, once: with what it may use, or with `error`, why it may not."""
        with contextlib.suppress(OSError):
            self.sock.send(json.dumps(said).encode())
        self.answered = True
        if self.turns.waiting and self in self.turns.taken:
            self.want_back()

    def want_back(self) -> None:
        """Others wait: ask the worker not to keep this for its next request."""
        if self.answered and not self.wanted:
            self.wanted = True
            self.answer(wanted="back")

    def when_left(self, do: Callable[[], None]) -> None:
        """Register a function for when the worker closes its end, or sends something."""
        self.turns.loop.add_reader(self.sock.fileno(), do)

    def hear(self) -> bytes | None:
        """The worker's message (`orders`); b"" if it has closed its end, None if there is none."""
        try:
            return self.sock.recv(MAX_WORD, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def close(self) -> None:
        """The request is finished."""
        if self.sock.fileno() >= 0:
            self.turns.loop.remove_reader(self.sock.fileno())
            self.sock.close()
            self.turns.over(self)


class Turns:
    """At most `limit` at the same time; `queue` more wait, in order; any more are refused."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, queue: int) -> None:
        self.loop = loop
        self.limit = limit
        self.queue = queue
        self.taken: set[Lease] = set()
        self.waiting: dict[Lease, tuple[Callable[[Lease], None], Sequence[int]]] = {}

    def take(self, descriptor: int, begin: Callable[[Lease], None], descriptors: Sequence[int]) -> None:
        """Begin what a worker requested, now or later. If it never begins, its descriptors are closed."""
        lease = Lease(descriptor, self)
        if len(self.taken) < self.limit:
            self.taken.add(lease)
            begin(lease)
        elif len(self.waiting) < self.queue:
            self.waiting[lease] = begin, descriptors
            lease.when_left(lease.close)
            for other in self.taken:
                other.want_back()
        else:
            close_all(descriptors)
            lease.answer(error=f"MaxRequestWorkers {self.limit} are at work, and {self.queue} more wait")
            lease.close()

    def over(self, lease: Lease) -> None:
        """A lease is closed: the next requests begin."""
        self.taken.discard(lease)
        if lease in self.waiting:
            close_all(self.waiting.pop(lease)[1])
        while self.waiting and len(self.taken) < self.limit:
            following = next(iter(self.waiting))
            begin, _ = self.waiting.pop(following)
            self.loop.remove_reader(following.sock.fileno())
            self.taken.add(following)
            begin(following)
