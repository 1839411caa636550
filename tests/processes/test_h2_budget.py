"""What a client may cost without getting anything done."""

from __future__ import annotations

import pytest

from ownhost.http.bucket import Bucket
from ownhost.http.h2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
)
from ownhost.processes.worker import h2_budget
from ownhost.processes.worker.h2_budget import Budget, Flood


def frame(kind: int, length: int = 0, flags: int = 0) -> Frame:
    return Frame(kind, flags, 1, length, b"")


def taken(budget: Budget, what: Frame, *, earning: int = 0) -> int:
    """How many of a frame are taken at one moment, where each has that many bytes sent."""
    for count in range(100_000):
        budget.sent(earning)
        try:
            budget.frame(what, 0.0)
        except Flood:
            return count
    raise AssertionError("no flood")


@pytest.mark.parametrize(
    ("kind", "burst"),
    [
        (PING, h2_budget.PINGS[0]),
        (SETTINGS, h2_budget.SETTINGS_FRAMES[0]),
        (RST_STREAM, h2_budget.RESETS[0]),
        (WINDOW_UPDATE, h2_budget.IDLE[0]),
        (PRIORITY, h2_budget.IDLE[0]),
        (DATA, h2_budget.IDLE[0]),
        (0x10, h2_budget.IDLE[0]),  # PRIORITY_UPDATE, as any other that is not known
    ],
)
def test_floods_end(kind: int, burst: int) -> None:
    assert taken(Budget(), frame(kind)) == burst


def test_tokens_come_back_with_time() -> None:
    bucket = Bucket(1.0, 2)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(1.0)
    assert not bucket.take(1.5)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]


def test_a_clock_that_has_run_for_long_gives_no_second_burst() -> None:
    bucket = Bucket(1.0, 2)
    assert [bucket.take(5_000.0) for _ in range(3)] == [True, True, False]


def test_a_rate_that_is_kept_is_never_too_much() -> None:
    budget = Budget()
    for second in range(1_000):
        for _ in range(int(h2_budget.PINGS[1])):
            budget.frame(frame(PING), float(second))


def test_content_and_requests_cost_nothing() -> None:
    budget = Budget()
    for _ in range(10_000):
        budget.frame(frame(HEADERS, 5, END_HEADERS), 0.0)
        budget.frame(frame(DATA, 1_000), 0.0)
        budget.frame(frame(DATA, 0, END_STREAM), 0.0)


def test_whoever_takes_content_may_open_its_windows() -> None:
    budget = Budget()
    for _ in range(10_000):
        budget.sent(16_384)
        for _ in range(4):
            budget.frame(frame(WINDOW_UPDATE, 4), 0.0)


def test_one_byte_for_each_window_update_is_a_flood() -> None:
    assert taken(Budget(), frame(WINDOW_UPDATE, 4), earning=1) < 2 * h2_budget.IDLE[0]


def test_what_is_earned_is_bounded() -> None:
    budget = Budget()
    budget.sent(1 << 40)
    assert taken(budget, frame(WINDOW_UPDATE, 4)) == 2 * h2_budget.IDLE[0]


def test_continuations_are_counted_per_field_section() -> None:
    budget = Budget()
    for _ in range(100):
        budget.frame(frame(HEADERS, 5), 0.0)
        budget.frame(frame(CONTINUATION, 5), 0.0)
        budget.frame(frame(CONTINUATION, 5, END_HEADERS), 0.0)
    budget.frame(frame(HEADERS, 5), 0.0)
    assert taken(budget, frame(CONTINUATION)) == h2_budget.MAX_HEADER_FRAMES - 1
