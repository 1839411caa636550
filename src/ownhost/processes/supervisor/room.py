"""Room for workers: how many there may be over all identities, who waits for room, who makes it.

Otherwise an owner of a thousand names, or a client that asks each name once, would start a worker
for each. Pure: the time is a parameter, and it holds no process.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

WAIT = 10.0  # seconds for room: as long as a gate lets a connection wait

OF_A_WORKER = 8 << 20  # bytes of an almost idle worker: half of the machine's memory is for workers
LEAST, PIDS_EACH = 64, 8

Worker = TypeVar("Worker")


def sensible(memory: int, pids: int, descriptors: int) -> int:
    """How many workers a machine has room for: bytes of memory, pids, and open files that the supervisor has left.

    A worker is one process, and may have a launcher and programs. The supervisor has a few
    descriptors for it.
    """
    return max(LEAST, min(memory // 2 // OF_A_WORKER, pids // PIDS_EACH, descriptors // 8))


@dataclass(slots=True)
class Room:
    """Identities that wait for room, in order, and since when. Times are monotonic seconds."""

    most: int
    workers: int = 0  # alive, or being forked
    waiting: dict[int, float] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether one more would be too many."""
        return self.workers >= self.most

    def wait(self, identity: int, now: float) -> None:
        """Note that an identity needs a worker as soon as there is room."""
        self.waiting.setdefault(identity, now)

    def next(self) -> int | None:
        """The identity that has waited longest, if there is room now. It does not wait any more."""
        if self.is_full or not self.waiting:
            return None
        identity = next(iter(self.waiting))
        del self.waiting[identity]
        return identity

    def give_up(self, now: float) -> list[int]:
        """The identities that have waited too long. They do not wait any more."""
        found = [identity for identity, since in self.waiting.items() if now - since > WAIT]
        for identity in found:
            del self.waiting[identity]
        return found


def longest_idle(idle: Iterable[tuple[Worker, float]], many: int) -> list[Worker]:
    """The workers that should leave first, from the idle times of all (seconds; 0: at work); at most `many`."""
    found = sorted((one for one in idle if one[1] > 0), key=lambda one: -one[1])
    return [worker for worker, _ in found[: max(0, many)]]
