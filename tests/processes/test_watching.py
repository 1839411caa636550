"""Processes that stand still are ended, and replaced even where they do not die."""

from __future__ import annotations

from clock import Clock
from ownhost.processes.supervisor.children import Child
from ownhost.processes.supervisor.watchdog import DEATH, INTERVAL, LATE, LONGEST
from ownhost.processes.supervisor.watching import Watch
from processes.offspring import Offspring

SOON = 1.0


class Watched:
    """A watch over children, and what came of it."""

    def __init__(self, offspring: Offspring, clock: Clock) -> None:
        self.forgotten: list[Child] = []
        self.said: list[str] = []
        clock.now = SOON
        Watch(offspring, self.forgotten.append, self.said.append, clock.now).look()  # type: ignore[arg-type]


def test_who_stands_still_is_ended_and_replaced_if_it_does_not_die(offspring: Offspring, clock: Clock) -> None:
    gate = offspring.bear("gate", busy_since=SOON)
    offspring.bear("gate")  # it waits
    offspring.bear("worker", busy_since=SOON)  # a worker may be at one thing for longer
    watched = Watched(offspring, clock)
    clock.go_on(SOON + LONGEST["gate"])
    assert offspring.killed == []
    clock.go_on(SOON + LONGEST["gate"] + INTERVAL)
    assert offspring.killed == [gate]
    assert watched.said == [f"gate (pid {gate.pid}) has stood still for 11 s: it is ended"]
    assert watched.forgotten == []
    clock.go_on(clock.now + DEATH)
    assert watched.said[1:] == [f"gate (pid {gate.pid}) does not end, as the kernel holds it: it is replaced"]
    assert watched.forgotten == [gate]
    assert offspring.killed == [gate], "once is enough"


def test_who_dies_in_time_is_forgotten_by_nobody(offspring: Offspring, clock: Clock) -> None:
    gate = offspring.bear("gate", busy_since=SOON)
    watched = Watched(offspring, clock)
    clock.go_on(SOON + LONGEST["gate"] + INTERVAL)
    gate.gone = True
    clock.go_on(clock.now + DEATH)
    assert len(watched.said) == 1
    assert watched.forgotten == []


def test_a_look_that_comes_late_says_nothing_of_others(offspring: Offspring, clock: Clock) -> None:
    """The machine was stopped for a while, or this process was."""
    offspring.bear("gate", busy_since=SOON)
    Watched(offspring, clock)
    (timer,) = clock.timers
    clock.timers.clear()
    clock.now = SOON + LONGEST["gate"] + INTERVAL + LATE + 1.0
    timer._run()
    clock.go_on(clock.now + max(LONGEST.values()) - INTERVAL)
    assert offspring.killed == []
    clock.go_on(clock.now + 2 * INTERVAL)
    assert len(offspring.killed) == 1
