"""Children of a supervisor that are no processes: what they are told is noted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ownhost.http.bucket import Bucket
from ownhost.processes.heartbeat import Watched, new_page, own_page
from ownhost.processes.messages import TO_SUPERVISOR, Channel, Message, channel_pair
from ownhost.processes.supervisor.children import Child


class Offspring:
    """In the place of `Children`."""

    def __init__(self) -> None:
        self.born: list[Child] = []
        self.others: list[Channel] = []  # the processes' ends
        self.told: list[tuple[Child, Message, tuple[int, ...]]] = []
        self.killed: list[Child] = []

    def bear(self, role: str, number: int = 0, *, busy_since: float = 0.0, idle_since: float = 0.0) -> Child:
        """A process, and what its page says."""
        page = new_page()
        heartbeat = own_page(page)
        heartbeat.busy_since, heartbeat.idle_since = busy_since, idle_since
        ours, theirs = channel_pair()
        ours.setblocking(False)
        child = Child(role, number, Channel(ours, TO_SUPERVISOR[role]), Watched(page), 0.0, pid=100 + len(self.born))
        child.bucket = Bucket(1.0, 2.0)
        self.born.append(child)
        self.others.append(Channel(theirs, []))
        return child

    def __iter__(self) -> Iterator[Child]:
        return iter([child for child in self.born if not child.gone])

    def of(self, role: str) -> list[Child]:
        return [child for child in self if child.role == role]

    def tell(self, child: Child, message: Message, descriptors: Sequence[int] = ()) -> None:
        self.told.append((child, message, tuple(descriptors)))

    def kill(self, child: Child) -> None:
        child.doomed = True
        self.killed.append(child)

    def close(self) -> None:
        for end in (*(child.channel for child in self.born), *self.others):
            end.close()
