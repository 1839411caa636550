"""Which processes stand still, and how much each may say."""

from __future__ import annotations

import math
import os
import struct

import pytest

from ownhost.processes.heartbeat import Watched, new_page, own_page
from ownhost.processes.supervisor.watchdog import INTERVAL, LATE, LONGEST, Watchdog
from ownhost.processes.supervisor.words import OF_OTHERS, RATES, bucket_of


@pytest.mark.parametrize("role", sorted(LONGEST))
def test_who_is_at_one_thing_for_too_long_stands_still(role: str) -> None:
    dog = Watchdog(0.0)
    assert dog.look(INTERVAL)
    assert not dog.is_stalled(role, 0.0)
    assert not dog.is_stalled(role, LONGEST[role])
    assert dog.is_stalled(role, LONGEST[role] + 0.1)


def test_a_program_is_never_said_to_stand_still() -> None:
    assert not Watchdog(0.0).is_stalled("program", 1e9)


def test_after_a_look_that_came_late_others_get_time() -> None:
    """The machine was stopped, perhaps: everybody's last word is old."""
    dog = Watchdog(0.0)
    now = INTERVAL + LATE + 0.1
    assert not dog.look(now)
    while now < dog.quiet_until - INTERVAL:
        now += INTERVAL
        assert not dog.look(now)
    assert dog.look(dog.quiet_until)


@pytest.mark.parametrize("role", ["worker", "gate", "logger"])
def test_who_says_more_than_its_bucket_has_waits_as_long_as_its_rate_says(role: str) -> None:
    rate, most = RATES.get(role, OF_OTHERS)
    bucket = bucket_of(role)
    assert not any(bucket.charge(1.0, 0.0) for _ in range(int(most)))
    now, words = 0.0, 0
    while now < 10.0:
        now += bucket.charge(1.0, now)
        words += 1
    assert words <= 10 * rate + 2
    assert bucket.charge(1.0, 1_000.0) == 0.0, "and is full again after a while"


def test_a_page_says_since_when() -> None:
    page = new_page()
    watched, own = Watched(page), own_page(page)
    os.close(page)
    assert (watched.busy_for(5.0), watched.idle_for(5.0)) == (0.0, 0.0)
    own.busy_since, own.idle_since = 2.0, 4.0
    assert (watched.busy_for(5.0), watched.idle_for(5.0)) == (3.0, 1.0)
    watched.close()
    assert watched.busy_for(5.0) == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_what_a_hostile_process_writes_is_taken_for_nothing(value: float) -> None:
    page = new_page()
    watched, own = Watched(page), own_page(page)
    own.busy_since = own.idle_since = value
    assert (watched.busy_for(5.0), watched.idle_for(5.0)) == (0.0, 0.0)
    with pytest.raises(PermissionError):  # it cannot take the page away from under its reader
        os.ftruncate(page, 0)
    os.pwrite(page, struct.pack("d", 1.0), 0)
    assert watched.busy_for(5.0) == 4.0
    os.close(page)
    watched.close()
