"""Keys of session tickets change each day, and earlier ones cannot be found again."""

from __future__ import annotations

import time

import pytest

from ownhost.http.openssl import TICKET_KEY_SIZE
from ownhost.processes.tickets import LIFETIME, TicketSecret, today, until_tomorrow

DAY = 20_000


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which can be changed: noon of a day."""
    made = [(DAY + 0.5) * LIFETIME]
    monkeypatch.setattr(time, "time", lambda: made[0])
    return made


def test_a_key_is_todays_alone(now: list[float]) -> None:
    secret = TicketSecret.new()
    keys, before = secret.keys(), secret.secret
    assert len(keys) == TICKET_KEY_SIZE
    assert secret.keys() == keys
    now[0] += until_tomorrow() - 1
    assert (secret.keys(), today()) == (keys, DAY)
    now[0] += 1
    assert secret.keys() != keys
    assert (secret.secret != before, secret.day) == (True, DAY + 1)


def test_who_slept_for_days_comes_to_the_same_key(now: list[float]) -> None:
    """All workers have it, whenever they were started."""
    awake = TicketSecret.new()
    asleep = TicketSecret(awake.secret, awake.day)
    for _ in range(3):
        now[0] += LIFETIME
        awake.keys()
    assert asleep.keys() == awake.keys()


def test_each_secret_is_another(now: list[float]) -> None:
    assert TicketSecret.new().keys() != TicketSecret.new().keys()
