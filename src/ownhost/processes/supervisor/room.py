"""Room for workers: how many there may be over all identities, who waits for room, who makes it.

An owner of a thousand names, or a client that asks each name once, would else start a worker for each. Pure: it is
given the time, and holds no process.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

WAIT = 10.0  # seconds for room: as long as a gate lets a connection wait

OF_A_WORKER = 8 << 20  # bytes, with little to do: half of the machine's memory is for workers
LEAST, PIDS_EACH = 64, 8

Worker = TypeVar("Worker")


def sensible(memory: int, pids: int, descriptors: int) -> int:
    """How many workers a machine has room for: bytes of memory, pids, and open files that the supervisor has left.

    A worker is one process, and may come with a launcher and programs. The supervisor has a handful of descriptors
    for it.
    """
    return max(LEAST, min(memory // 2 // OF_A_WORKER, pids // PIDS_EACH, descriptors // 8))


@dataclass(slots=True)
class Room:
    """Who waits for room: identities in their order, each since when. Times are monotonic seconds."""

    most: int
    workers: int = 0  # alive, or being forked
    waiting: dict[int, float] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether one more would be too many."""
        return self.workers >= self.most

    def wait(self, identity: int, now: float) -> None:
        """An identity is to have a worker as soon as there is room."""
        self.waiting.setdefault(identity, now)

    def next(self) -> int | None:
        """The identity that has waited longest, if there is room now: it waits no more."""
        if self.is_full or not self.waiting:
            return None
        identity = next(iter(self.waiting))
        del self.waiting[identity]
        return identity

    def give_up(self, now: float) -> list[int]:
        """The identities that have waited too long: they wait no more."""
        found = [identity for identity, since in self.waiting.items() if now - since > WAIT]
        for identity in found:
            del self.waiting[identity]
        return found


def longest_idle(idle: Iterable[tuple[Worker, float]], many: int) -> list[Worker]:
    """Of workers and for how long each is idle (seconds; 0: it is not), those that leave first; `many` at most."""
    found = sorted((one for one in idle if one[1] > 0), key=lambda one: -one[1])
    return [worker for worker, _ in found[: max(0, many)]]
