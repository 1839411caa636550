"""When to start a worker: the policy, without the mechanism. Pure: the time is a parameter, and it holds no process.

An identity gets a worker when something waits for it, one more when its workers say that they are
busy, and never more than its limit. After an early death the next start waits a moment. If an
identity's workers keep dying, only that identity is throttled: each early death in a row doubles
the wait.

All owners depend on neutral processes: one that was killed, or has served, is replaced at once, and
none is missing for longer than a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field

EARLY_DEATH = 10.0  # seconds: a worker that fails sooner than this counts against its identity
FIRST_WAIT = 0.25  # seconds before the start after one early death
LONGEST_WAIT = 60.0  # seconds
LONGEST_OF_NEUTRAL = 1.0  # seconds: the longest time without a gate or the logger
BUSY_INTERVAL = 0.25  # seconds between two extra workers


@dataclass(slots=True)
class SpawnPolicy:
    """One identity's workers, as numbers. Times are monotonic seconds."""

    limit: int
    stays: float = 0.0  # the least seconds that a process stays: one that leaves earlier has not done its work
    neutral: bool = False  # all owners depend on it, and no owner can end it
    workers: int = 0  # alive, or being forked
    early_deaths: int = 0  # in a row
    not_before: float = 0.0  # no start before this time
    last_extra: float = field(default=-BUSY_INTERVAL)

    @property
    def throttled(self) -> bool:
        """Whether the identity's processes keep dying: one death does not count."""
        return self.early_deaths > 1

    def wanted(self, now: float) -> bool:
        """Whether to start a worker now, when something waits and no worker is there."""
        return self.workers == 0 and now >= self.not_before

    def busy(self, now: float) -> bool:
        """Whether to start one more, when a worker says that it cannot keep up."""
        if not 0 < self.workers < self.limit or now < max(self.not_before, self.last_extra + BUSY_INTERVAL):
            return False
        self.last_extra = now
        return True

    def started(self) -> None:
        """A worker is being started."""
        self.workers += 1

    def ended(self, now: float, lived: float, failed: bool, *, killed: bool = False) -> None:
        """A worker ended, `lived` seconds after its start; `failed` unless it left by itself. `killed`: from outside.

        An owner may kill his own processes as often as he likes: only his own identity waits then.
        """
        self.workers -= 1
        if self.neutral:
            early = not killed and lived < LONGEST_OF_NEUTRAL
        else:
            early = lived < EARLY_DEATH and (failed or lived < self.stays)
        if early:
            self.broken(now)
        else:
            self.early_deaths = 0
            self.not_before = now

    def dismissed(self) -> None:
        """A worker ended as it was told."""
        self.workers -= 1

    def broken(self, now: float) -> None:
        """An early death, or something that counts as one: what the workers share was broken."""
        longest = LONGEST_OF_NEUTRAL if self.neutral else LONGEST_WAIT
        self.not_before = now + min(FIRST_WAIT * 2 ** min(self.early_deaths, 16), longest)
        self.early_deaths += 1
