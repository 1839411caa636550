"""Checks of passwords: what is remembered, for how long, and who waits for what."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from ownhost.modules.passwords import checks as subject
from ownhost.modules.passwords.checks import KEPT, Check, Checks

RIGHT, WRONG = Check(b"a", b"a"), Check(b"a", b"b")


class Counted(Checks):
    """Checks that are decided by equality, with a clock of the test's."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.count, self.now = 0, 1_000.0

        def verify(password: bytes, known: bytes) -> bool:
            self.count += 1
            before()
            return password == known

        super().__init__(verify, lambda: self.now)


def test_an_outcome_is_remembered_for_some_seconds() -> None:
    checks = Counted()
    assert checks.outcome(RIGHT) is None
    for _ in range(2):
        assert checks.decide(RIGHT)
        assert not checks.decide(WRONG)
    assert (checks.count, checks.outcome(RIGHT), checks.outcome(WRONG)) == (2, True, False)
    checks.now += KEPT
    assert checks.outcome(RIGHT) is None
    assert checks.decide(RIGHT)
    assert checks.count == 3


def test_no_password_is_kept() -> None:
    checks = Counted()
    checks.decide(Check(b"my password", b"my hash"))
    kept = repr((checks.outcomes, checks.running))
    assert "my" not in kept
    assert Counted().key != checks.key


def test_where_the_password_ends_counts() -> None:
    checks = Counted()
    checks.decide(Check(b"ab", b"ab"))
    assert checks.outcome(Check(b"a", b"bab")) is None


def test_few_outcomes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MOST", 3)
    checks = Counted()
    for count in range(5):
        checks.decide(Check(b"%d" % count, b""))
    assert [checks.outcome(Check(b"%d" % count, b"")) for count in range(5)] == [None, None, False, False, False]


async def _started(checks: Counted) -> None:
    async with asyncio.timeout(20):
        while not checks.count:
            await asyncio.sleep(0)


def test_who_asks_the_same_waits_for_the_same_check() -> None:
    go_on = threading.Event()
    checks = Counted(lambda: go_on.wait(20))

    async def ask() -> None:
        tasks = [asyncio.create_task(checks.wait(RIGHT)) for _ in range(5)]
        await _started(checks)  # the loop goes on while a thread is at work
        tasks[0].cancel()  # this client has left, others have not
        go_on.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert done[1:] == [None] * 4

    asyncio.run(ask())
    assert (checks.count, checks.outcome(RIGHT), checks.running) == (1, True, {})


def test_a_check_whose_client_has_left_is_remembered_all_the_same() -> None:
    go_on = threading.Event()
    checks = Counted(lambda: go_on.wait(20))

    async def ask() -> None:
        task = asyncio.create_task(checks.wait(WRONG))
        await _started(checks)
        task.cancel()
        go_on.set()
        await checks.wait(WRONG)

    asyncio.run(ask())
    assert (checks.count, checks.outcome(WRONG), checks.running) == (1, False, {})


def test_a_process_has_its_own() -> None:
    assert subject.checks() is subject.checks()
