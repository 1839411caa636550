"""Checks of passwords: each in a thread, as a hash is meant to be slow, and its outcome remembered for some seconds.

A browser sends the password with each request for a page and its images. A check follows from the
password and the hash alone, so nothing makes an outcome wrong. It is kept under a keyed digest, in
this process only.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from ownhost.modules.passwords.hashes import verify

KEPT = 30.0  # seconds for which an outcome is remembered
MOST = 4_096  # outcomes
THREADS = 2


class Check(NamedTuple):
    """The question whether a password has a hash."""

    password: bytes
    known: bytes  # the hash


class Checks:
    """The checks of this process. `verify` decides one; `clock` gives seconds."""

    def __init__(
        self, verify: Callable[[bytes, bytes], bool] = verify, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.verify = verify
        self.clock = clock
        self.key = secrets.token_bytes(32)
        self.lock = threading.Lock()
        self.outcomes: dict[bytes, tuple[float, bool]] = {}  # until when, and which; the oldest first
        self.running: dict[bytes, Future[bool]] = {}
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")

    def outcome(self, check: Check) -> bool | None:
        """The outcome of a check, if it is remembered."""
        with self.lock:
            until, right = self.outcomes.get(self._digest(check), (0.0, False))
        return right if until > self.clock() else None

    def decide(self, check: Check) -> bool:
        """Check a password at once: whatever else this thread does waits."""
        right = self.outcome(check)
        if right is None:
            right = self.verify(*check)
            self._remember(self._digest(check), right)
        return right

    async def wait(self, check: Check) -> None:
        """Have a password checked in a thread. Who asks the same meanwhile waits for the same check."""
        digest = self._digest(check)
        future = self.running.get(digest)
        if future is None:
            future = self.running[digest] = self.threads.submit(self.verify, *check)
            future.add_done_callback(functools.partial(self._done, digest))
        # Clients may leave, and the check is others', too.
        await asyncio.shield(asyncio.wrap_future(future))

    def _done(self, digest: bytes, future: Future[bool]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._remember(digest, future.result())
        self.running.pop(digest, None)

    def _remember(self, digest: bytes, right: bool) -> None:
        with self.lock:
            self.outcomes.pop(digest, None)
            while len(self.outcomes) >= MOST:
                del self.outcomes[next(iter(self.outcomes))]
            self.outcomes[digest] = (self.clock() + KEPT, right)

    def _digest(self, check: Check) -> bytes:
        head = len(check.password).to_bytes(8, "big")
        return hashlib.blake2b(head + check.password + check.known, key=self.key, digest_size=32).digest()


@functools.cache
def checks() -> Checks:
    """Those of this process, made at the first use: a key that was made before a fork would be several processes'."""
    return Checks()
