"""Who starts a worker while there is room, and who waits or leaves when there is none."""

from __future__ import annotations

import pytest

from clock import Clock
from ownhost.processes.messages import Leave, Mailbox, Shut
from ownhost.processes.supervisor.admission import LOOK_AGAIN, SAY_AGAIN, Admission
from ownhost.processes.supervisor.children import PATIENCE
from ownhost.processes.supervisor.room import WAIT, Room
from processes.offspring import Offspring


class Door:
    """Room for two workers, and what is done about it."""

    def __init__(self, offspring: Offspring) -> None:
        self.offspring = offspring
        self.attended: list[int] = []
        self.welcomed: list[int] = []
        self.warned: list[str] = []
        self.admission = Admission(
            Room(2),
            offspring,  # type: ignore[arg-type]
            self.attended.append,
            self.welcomed.append,
            self.warned.append,
        )

    @property
    def asked_to_leave(self) -> list[int]:
        return [child.number for child, message, _ in self.offspring.told if message == Leave()]


@pytest.fixture
def door(offspring: Offspring, clock: Clock) -> Door:
    """Two workers are there: one has a connection, one has none for a while."""
    clock.now = 100.0
    made = Door(offspring)
    for number in (1, 2):
        assert made.admission.admit(number)
    offspring.bear("worker", 1)
    offspring.bear("worker", 2, idle_since=90.0)
    return made


def test_who_finds_no_room_has_an_idle_worker_leave(door: Door) -> None:
    assert door.admission.is_full
    assert not door.admission.admit(3)
    assert door.asked_to_leave == [2]
    assert door.warned == ["MaxWorkers 2 are there: others wait until one can leave"]
    door.admission.left()
    assert door.welcomed == [3]
    assert not door.admission.is_full


def test_one_leaves_for_each_who_waits_and_is_asked_again_later(door: Door, clock: Clock) -> None:
    door.admission.wait(3)
    door.admission.wait(3)
    clock.go_on(clock.now + 3 * LOOK_AGAIN)
    assert door.asked_to_leave == [2]
    clock.go_on(clock.now + PATIENCE + LOOK_AGAIN)
    assert door.asked_to_leave == [2, 2], "it had something to do, and has no more"


def test_who_has_waited_for_too_long_is_attended_like_everybody_else(door: Door, clock: Clock) -> None:
    door.admission.wait(3)
    clock.go_on(clock.now + WAIT)
    assert door.attended == []
    clock.go_on(clock.now + 2 * LOOK_AGAIN)
    assert door.attended == [3]
    assert all(timer.when() <= clock.now for timer in clock.timers), "nobody waits, and nobody looks"


def test_the_log_is_told_now_and_then(door: Door, clock: Clock) -> None:
    for _ in range(3):
        door.admission.wait(3)
    assert len(door.warned) == 1
    clock.now += SAY_AGAIN
    door.admission.wait(4)
    assert len(door.warned) == 2


def test_gates_and_fronts_are_told_of_mailboxes(door: Door, offspring: Offspring) -> None:
    told = [offspring.bear("gate"), offspring.bear("gate", 1), offspring.bear("front")]
    door.admission.shut(7)
    door.admission.open(7, 55)
    assert offspring.told == [(child, Shut(7), ()) for child in told] + [(child, Mailbox(7), (55,)) for child in told]
