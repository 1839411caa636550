"""When workers start: on demand, more when busy, slower when they keep dying."""

from __future__ import annotations

from ownhost.processes.supervisor.policy import BUSY_INTERVAL, FIRST_WAIT, LONGEST_OF_NEUTRAL, LONGEST_WAIT, SpawnPolicy


def test_one_worker_on_demand() -> None:
    policy = SpawnPolicy(limit=2)
    assert policy.wanted(0.0)
    policy.started()
    assert not policy.wanted(0.0)


def test_one_more_when_busy_up_to_the_limit() -> None:
    policy = SpawnPolicy(limit=2)
    assert not policy.busy(0.0), "nobody is there who could be busy"
    policy.started()
    assert policy.busy(0.0)
    policy.started()
    assert not policy.busy(10.0), "the limit"


def test_extra_workers_take_their_time() -> None:
    policy = SpawnPolicy(limit=9)
    policy.started()
    assert policy.busy(1.0)
    policy.started()
    assert not policy.busy(1.0 + BUSY_INTERVAL / 2)
    assert policy.busy(1.0 + BUSY_INTERVAL)


def test_early_deaths_double_the_wait_up_to_a_bound() -> None:
    policy = SpawnPolicy(limit=1)
    now, waits = 0.0, []
    for _ in range(12):
        policy.started()
        policy.ended(now, lived=0.1, failed=True)
        assert not policy.wanted(now)
        waits.append(policy.not_before - now)
        now = policy.not_before
        assert policy.wanted(now)
    assert waits[:3] == [FIRST_WAIT, FIRST_WAIT * 2, FIRST_WAIT * 4]
    assert max(waits) == LONGEST_WAIT


def test_who_dies_once_does_not_keep_dying() -> None:
    policy = SpawnPolicy(limit=1)
    throttled = []
    for now in (0.0, 1.0, 2.0):
        policy.started()
        policy.ended(now, lived=0.1, failed=True)
        throttled.append(policy.throttled)
    assert throttled == [False, True, True]


def test_a_good_life_ends_the_throttle() -> None:
    policy = SpawnPolicy(limit=1)
    for _ in range(2):
        policy.started()
        policy.ended(0.0, lived=0.1, failed=True)
    assert policy.throttled
    policy.started()
    policy.ended(100.0, lived=99.0, failed=True)
    assert not policy.throttled
    assert policy.wanted(100.0)


def test_leaving_before_any_work_can_be_done_is_an_early_death() -> None:
    policy = SpawnPolicy(limit=1, stays=5.0)
    for _ in range(2):
        policy.started()
        policy.ended(1.0, lived=1.0, failed=False)
    assert policy.throttled
    policy.started()
    policy.ended(20.0, lived=6.0, failed=False)
    assert not policy.throttled


def test_what_all_workers_share_may_be_spoiled() -> None:
    policy = SpawnPolicy(limit=1)
    policy.started()
    for now in (100.0, 200.0):
        policy.broken(now)
    policy.dismissed()
    assert policy.workers == 0
    assert policy.throttled
    assert not policy.wanted(200.0 + FIRST_WAIT)
    assert policy.wanted(200.0 + 2 * FIRST_WAIT)


def test_leaving_when_idle_is_no_death() -> None:
    policy = SpawnPolicy(limit=1)
    policy.started()
    policy.ended(1.0, lived=1.0, failed=False)
    assert not policy.throttled
    assert policy.wanted(1.0)


def test_one_that_leaves_before_it_can_have_served_is_an_early_death() -> None:
    """As a hostile worker or launcher may: it is started for a request, and leaves."""
    policy = SpawnPolicy(limit=1, stays=5.0)
    for now in (0.0, 1.0):
        policy.started()
        policy.ended(now, lived=0.1, failed=False)
    assert policy.throttled
    assert not policy.wanted(1.0)


def test_one_that_was_told_to_leave_is_no_death() -> None:
    policy = SpawnPolicy(limit=1, stays=5.0)
    policy.started()
    policy.dismissed()
    assert policy.wanted(0.0)


def test_a_neutral_process_that_was_killed_or_has_served_is_replaced_at_once() -> None:
    policy = SpawnPolicy(limit=1, neutral=True)
    for now, lived, killed in ((0.0, 0.1, True), (1.0, 30.0, False), (2.0, 0.0, True)):
        policy.started()
        policy.ended(now, lived, failed=True, killed=killed)
        assert policy.wanted(now), (lived, killed)


def test_no_neutral_process_is_missing_for_longer_than_a_second() -> None:
    policy = SpawnPolicy(limit=1, neutral=True)
    for now in range(2_000):
        policy.started()
        policy.ended(now, lived=0.0, failed=now % 2 == 0)
        assert not policy.wanted(now)
        assert policy.wanted(now + LONGEST_OF_NEUTRAL)


def test_an_owners_process_that_was_killed_waits_as_one_that_failed() -> None:
    policy = SpawnPolicy(limit=1)
    policy.started()
    policy.ended(0.0, lived=0.1, failed=True, killed=True)
    assert not policy.wanted(0.0)
    assert policy.wanted(FIRST_WAIT)
