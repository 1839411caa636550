"""Pairs that are kept for further requests, by their target. The caller says how new ones are made."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from ownhost.processes.relay.records import Asked, NamedIdentity
from ownhost.processes.relay.stream import RelayLost, RelayStream

Key = TypeVar("Key", bound=Hashable)

KEPT = 2.0  # seconds that an unused pair is kept
TARGET_KEEPS = 10.0  # seconds after which its other end would close it
MOST_KEPT = 64  # unused ones, for one key
MOST_IN_ALL = 512


class Pool(Generic[Key]):
    """Unused pairs. `obtain` makes a new one, or raises."""

    def __init__(self, loop: asyncio.AbstractEventLoop, obtain: Callable[[Key], Awaitable[RelayStream]]) -> None:
        self._loop = loop
        self._obtain = obtain
        self._kept: dict[Key, deque[tuple[RelayStream, float]]] = {}  # and since when, oldest first
        self._count = 0
        self._looking = False

    async def ask(self, key: Key, asked: Asked) -> tuple[RelayStream, NamedIdentity | None]:
        """Ask the target with a key to take a request: a pair, and the identity that it names
        instead; None if it takes it.

        If the other end of a kept pair has left, that is not an answer: nothing of the request was
        taken. Raises RelayLost.
        """
        while (kept := self._take(key)) is not None:
            try:
                return kept, await kept.ask(asked)
            except RelayLost:
                kept.close()
            except BaseException:
                kept.close()
                raise
        fresh = await self._obtain(key)
        try:
            return fresh, await fresh.ask(asked)
        except BaseException:
            fresh.close()
            raise

    def keep(self, key: Key, stream: RelayStream) -> None:
        """Keep a pair for the next request, if it can carry one."""
        kept = self._kept.setdefault(key, deque())
        if not stream.is_idle or len(kept) >= MOST_KEPT or self._count >= MOST_IN_ALL:
            stream.close()
            return
        kept.append((stream, self._loop.time()))
        self._count += 1
        if not self._looking:
            self._looking = True
            self._loop.call_later(KEPT, self._look)

    def close(self) -> None:
        """Close all."""
        for kept in self._kept.values():
            for stream, _ in kept:
                stream.close()
        self._kept.clear()
        self._count = 0

    def _take(self, key: Key) -> RelayStream | None:
        """The one that was used last, and seems to be open still."""
        kept = self._kept.get(key)
        while kept:
            stream, _ = kept.pop()
            self._count -= 1
            if stream.is_idle:
                return stream
            stream.close()
        return None

    def _look(self) -> None:
        old = self._loop.time() - KEPT
        for key, kept in list(self._kept.items()):
            while kept and kept[0][1] <= old:
                kept.popleft()[0].close()
                self._count -= 1
            if not kept:
                del self._kept[key]
        self._looking = bool(self._kept)
        if self._looking:
            self._loop.call_later(KEPT / 2, self._look)
