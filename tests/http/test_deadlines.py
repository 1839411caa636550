"""Deadlines of many who wait, with one timer."""

from __future__ import annotations

from clock import Clock
from ownhost.http.deadlines import Deadlines

COARSE = 0.1


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


def test_moments_come_in_order_never_early_and_once(clock: Clock) -> None:
    deadlines, heard = Deadlines(clock, COARSE), list[tuple[str, float]]()
    start = clock.now
    moments = {"late": start + 0.4, "soon": start + 0.1, "dropped": start + 0.2}
    for name, moment in moments.items():
        whom = Timed(deadlines, heard, name)
        deadlines.set(whom, moment)
        assert deadlines.moment(whom) == moment
        if name == "dropped":
            deadlines.drop(whom)
            deadlines.drop(whom)
            assert deadlines.moment(whom) == float("inf")
    clock.go_on(clock.now + 0.4 + 2 * COARSE)
    assert [name for name, _ in heard] == ["soon", "late"]
    assert all(when >= moments[name] for name, when in heard)


def test_a_moment_set_anew_replaces_the_one_before(clock: Clock) -> None:
    deadlines, heard = Deadlines(clock, COARSE), list[tuple[str, float]]()
    sooner, later = (Timed(deadlines, heard, name) for name in ("sooner", "later"))
    start = clock.now
    deadlines.set(sooner, start + 5)
    deadlines.set(sooner, start + 0.05)
    deadlines.set(later, start + 0.05)
    deadlines.set(later, start + 5)
    clock.go_on(clock.now + 0.05 + 2 * COARSE)
    assert [name for name, _ in heard] == ["sooner"]


def test_who_is_told_may_set_another_moment_or_drop_somebody(clock: Clock) -> None:
    deadlines, heard = Deadlines(clock, COARSE), list[tuple[str, float]]()
    again, victim = Timed(deadlines, heard, "again"), Timed(deadlines, heard, "victim")
    again.again = 0.05
    start = clock.now
    deadlines.set(again, start + 0.05)
    deadlines.set(victim, start + 0.05)
    again_checks = again.check_time

    def check_and_drop() -> None:
        deadlines.drop(victim)
        again_checks()

    again.check_time = check_and_drop  # type: ignore[method-assign]
    clock.go_on(clock.now + 0.1 + 3 * COARSE)
    assert [name for name, _ in heard] == ["again", "again"]


def test_many_share_one_timer(clock: Clock) -> None:
    deadlines, heard = Deadlines(clock, COARSE), list[tuple[str, float]]()
    for number in range(1_000):
        deadlines.set(Timed(deadlines, heard, str(number)), 0.05 + number / 10_000)
    clock.go_on(0.15 + 2 * COARSE)
    assert [name for name, _ in heard] == [str(number) for number in range(1_000)]
    assert clock.most == 1
    assert all(0.05 + int(name) / 10_000 <= when <= 0.05 + int(name) / 10_000 + COARSE for name, when in heard)
    assert 1 < len({when for _, when in heard}) < 5, "looks are few"
