"""Deadlines of many who wait, with one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from ownhost.http.deadlines import Deadlines

Loop = asyncio.AbstractEventLoop
COARSE = 0.1


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = uvloop.new_event_loop()
    yield made
    made.close()


class Timed:
    """Somebody with a deadline."""

    def __init__(self, deadlines: Deadlines, heard: list[tuple[str, float]], name: str) -> None:
        self.deadlines, self.heard, self.name = deadlines, heard, name
        self.again = 0.0  # seconds until the next moment, once

    def check_time(self) -> None:
        now = self.deadlines._loop.time()
        self.heard.append((self.name, now))
        if self.again:
            self.deadlines.set(self, now + self.again)
            self.again = 0.0


def wait(loop: Loop, seconds: float) -> None:
    loop.run_until_complete(asyncio.sleep(seconds))


def test_moments_come_in_order_never_early_and_once(loop: Loop) -> None:
    deadlines, heard = Deadlines(loop, COARSE), list[tuple[str, float]]()
    start = loop.time()
    moments = {"late": start + 0.4, "soon": start + 0.1, "dropped": start + 0.2}
    for name, moment in moments.items():
        whom = Timed(deadlines, heard, name)
        deadlines.set(whom, moment)
        assert deadlines.moment(whom) == moment
        if name == "dropped":
            deadlines.drop(whom)
            deadlines.drop(whom)
            assert deadlines.moment(whom) == float("inf")
    wait(loop, 0.4 + 2 * COARSE)
    assert [name for name, _ in heard] == ["soon", "late"]
    assert all(when >= moments[name] - 0.002 for name, when in heard)


def test_a_moment_set_anew_replaces_the_one_before(loop: Loop) -> None:
    deadlines, heard = Deadlines(loop, COARSE), list[tuple[str, float]]()
    sooner, later = (Timed(deadlines, heard, name) for name in ("sooner", "later"))
    start = loop.time()
    deadlines.set(sooner, start + 5)
    deadlines.set(sooner, start + 0.05)
    deadlines.set(later, start + 0.05)
    deadlines.set(later, start + 5)
    wait(loop, 0.05 + 2 * COARSE)
    assert [name for name, _ in heard] == ["sooner"]


def test_who_is_told_may_set_another_moment_or_drop_somebody(loop: Loop) -> None:
    deadlines, heard = Deadlines(loop, COARSE), list[tuple[str, float]]()
    again, victim = Timed(deadlines, heard, "again"), Timed(deadlines, heard, "victim")
    again.again = 0.05
    start = loop.time()
    deadlines.set(again, start + 0.05)
    deadlines.set(victim, start + 0.05)
    again_checks = again.check_time

    def check_and_drop() -> None:
        deadlines.drop(victim)
        again_checks()

    again.check_time = check_and_drop  # type: ignore[method-assign]
    wait(loop, 0.1 + 3 * COARSE)
    assert [name for name, _ in heard] == ["again", "again"]


class Clock(asyncio.AbstractEventLoop):
    """A loop with timers alone, whose time goes on when it is told so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []
        self.most = 0  # timers at a time

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def call_later(self, delay, callback, *args, context=None):  # type: ignore[no-untyped-def]
        handle = asyncio.TimerHandle(self.now + delay, callback, args, self, context)
        self.timers.append(handle)
        self.most = max(self.most, sum(not timer.cancelled() for timer in self.timers))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing is kept of one: it says itself that it is cancelled."""

    def go_on(self, until: float) -> None:
        """Have time go on, and all timers that are due."""
        while self.timers:
            timer = min(self.timers, key=lambda timer: timer.when())
            if timer.when() > until:
                break
            self.timers.remove(timer)
            if not timer.cancelled():
                self.now = max(self.now, timer.when())
                timer._run()
        self.now = until


def test_many_share_one_timer() -> None:
    clock, heard = Clock(), list[tuple[str, float]]()
    deadlines = Deadlines(clock, COARSE)
    for number in range(1_000):
        deadlines.set(Timed(deadlines, heard, str(number)), 0.05 + number / 10_000)
    clock.go_on(0.15 + 2 * COARSE)
    assert [name for name, _ in heard] == [str(number) for number in range(1_000)]
    assert clock.most == 1
    assert all(0.05 + int(name) / 10_000 <= when <= 0.05 + int(name) / 10_000 + COARSE for name, when in heard)
    assert 1 < len({when for _, when in heard}) < 5, "looks are few"
