"""Room for workers: who waits, who leaves first, and how many a machine has room for."""

from __future__ import annotations

from ownhost.processes.supervisor.room import LEAST, OF_A_WORKER, WAIT, Room, longest_idle, sensible

GIB = 1 << 30


def test_there_is_room_up_to_the_bound() -> None:
    room = Room(2)
    for _ in range(2):
        assert not room.is_full
        room.workers += 1
    assert room.is_full


def test_who_has_waited_longest_is_next_and_only_when_there_is_room() -> None:
    room = Room(1, workers=1)
    for identity, now in ((7, 1.0), (5, 2.0), (7, 3.0)):
        room.wait(identity, now)
    assert room.next() is None
    room.workers -= 1
    assert room.next() == 7
    room.workers += 1
    assert room.next() is None
    assert list(room.waiting) == [5]


def test_who_has_waited_too_long_is_given_up() -> None:
    room = Room(1, workers=1)
    room.wait(3, 10.0)
    room.wait(4, 12.0)
    assert room.give_up(10.0 + WAIT) == []
    assert room.give_up(11.0 + WAIT) == [3]
    assert list(room.waiting) == [4]


def test_the_longest_idle_leave_first_and_none_that_is_at_work() -> None:
    workers = [("a", 3.0), ("busy", 0.0), ("b", 9.0), ("c", 5.0)]
    assert longest_idle(workers, 2) == ["b", "c"]
    assert longest_idle(workers, 9) == ["b", "c", "a"]
    assert longest_idle(workers, 0) == []


def test_what_a_machine_has_least_of_is_what_counts() -> None:
    assert sensible(16 * GIB, 4_194_304, 500_000) == 16 * GIB // 2 // OF_A_WORKER
    assert sensible(512 * GIB, 32_768, 500_000) == 4_096
    assert sensible(16 * GIB, 4_194_304, 1_024) == 128
    assert sensible(GIB // 4, 32_768, 500_000) == LEAST
