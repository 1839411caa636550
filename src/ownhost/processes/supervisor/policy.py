"""When to start a process: the policy, apart from the doing. Pure: it is given the time, and holds no process.

An identity has a worker when something waits for it, one more when its workers say that they are busy, and never
more than its limit. After an early death the next start waits a moment. An identity whose workers keep dying is
throttled, alone: each early death in a row doubles the wait. No other identity notices.

Neutral processes are everybody's: who has killed one cannot make others wait, and none waits longer than a second.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from enum import Enum, auto

EARLY_DEATH = 10.0  # seconds: a process that fails sooner than this counts against its identity
FIRST_WAIT = 0.25  # seconds before the start after one early death
LONGEST_WAIT = 60.0  # seconds
DOUBLINGS = 16  # of the first wait: more than the longest takes
LONGEST_OF_NEUTRAL = 1.0  # seconds: so long at most is a gate or the logger missing
BUSY_INTERVAL = 0.25  # seconds between two extra workers


class End(Enum):
    """How a process ended."""

    TOLD = auto()  # as it was told
    LEFT = auto()  # by itself, with status 0
    KILLED = auto()  # from outside
    FAILED = auto()

    @classmethod
    def of(cls, status: int, *, told: bool) -> End:
        """Of a process that ended so: `status` as os.waitstatus_to_exitcode gives it."""
        if told:
            return cls.TOLD
        if status == 0:
            return cls.LEFT
        return cls.KILLED if status in (-signal.SIGKILL, -signal.SIGTERM) else cls.FAILED


@dataclass(slots=True)
class SpawnPolicy:
    """The processes of one kind that an identity has, as numbers. Times are monotonic seconds.

    One that leaves by itself before `leaves_after` has not served anybody: that is an early death, too. Else a process
    that is started and leaves could be had as often as somebody likes.
    """

    limit: int
    leaves_after: float = EARLY_DEATH
    neutral: bool = False
    workers: int = 0  # alive, or being forked
    early_deaths: int = 0  # in a row
    not_before: float = 0.0  # no start before this time
    last_extra: float = field(default=-BUSY_INTERVAL)

    @property
    def throttled(self) -> bool:
        """Whether the processes keep dying: one death is no habit."""
        return self.early_deaths > 1

    def wanted(self, now: float) -> bool:
        """Whether to start a worker now that something waits and nobody is there to take it."""
        return self.workers == 0 and now >= self.not_before

    def busy(self, now: float) -> bool:
        """Whether to start one more, now that a worker says that it cannot keep up."""
        if not 0 < self.workers < self.limit or now < max(self.not_before, self.last_extra + BUSY_INTERVAL):
            return False
        self.last_extra = now
        return True

    def started(self) -> None:
        """A process is being started."""
        self.workers += 1

    def ended(self, now: float, lived: float, end: End) -> None:
        """A process ended, `lived` seconds after its start."""
        self.workers -= 1
        if not self._is_early(lived, end):
            self.early_deaths = 0
            self.not_before = now
            return
        longest = LONGEST_OF_NEUTRAL if self.neutral else LONGEST_WAIT
        self.not_before = now + min(FIRST_WAIT * 2 ** min(self.early_deaths, DOUBLINGS), longest)
        self.early_deaths += 1

    def _is_early(self, lived: float, end: End) -> bool:
        match end:
            case End.TOLD:
                return False
            case End.LEFT:
                return lived < min(self.leaves_after, EARLY_DEATH)
            case End.KILLED:
                return not self.neutral and lived < EARLY_DEATH
            case End.FAILED:
                return lived < (LONGEST_OF_NEUTRAL if self.neutral else EARLY_DEATH)
