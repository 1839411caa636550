"""The end of the server: who is told to stop when, and what nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ownhost.processes.messages import Message, Stop
from ownhost.processes.supervisor import stopping
from ownhost.processes.supervisor.stopping import ORDER, Stage, Stopping

EVERY = ("gate", "gate", "front", "worker", "program", "resolver", "launcher", "logger")


class Processes:
    """Processes that do nothing, and what they were told."""

    def __init__(self, *roles: str) -> None:
        self.there = [SimpleNamespace(role=role, stopping=False) for role in roles]
        self.told: list[str] = []
        self.mail = False
        self.ended: list[int] = []
        self.stopping = Stopping(self, lambda: self.mail, self.ended.append)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.there))

    def of(self, role: str) -> list[Any]:
        return [one for one in self.there if one.role == role]

    def tell(self, child: Any, message: Message) -> None:
        assert message == Stop()
        self.told.append(f"stop {child.role}")

    def kill(self, child: Any) -> None:
        self.told.append(f"kill {child.role}")

    def dismiss(self, child: Any) -> None:
        self.told.append(f"dismiss {child.role}")

    def leave(self, role: str) -> list[str]:
        """All of a role end: what others are told then."""
        self.told.clear()
        for one in self.of(role):
            self.there.remove(one)
            self.stopping.go_on()
        return list(self.told)


async def graceful(processes: Processes) -> None:
    processes.stopping.gracefully(0)
    assert processes.told == ["stop gate", "stop gate"]
    assert processes.leave("gate") == ["stop front"]
    assert processes.leave("front") == ["stop worker"]
    processes.leave("program")
    assert processes.leave("worker") == ["stop launcher"]
    assert processes.leave("launcher") == ["stop logger"]
    assert processes.ended == []
    processes.leave("logger")
    assert processes.ended == [0], "nobody waits for a resolver"


def test_a_graceful_stop_ends_roles_in_their_order_and_each_is_told_once() -> None:
    processes = Processes(*EVERY)
    assert not processes.stopping.has_begun
    asyncio.run(graceful(processes))
    assert (processes.stopping.has_begun, processes.stopping.is_ending) == (True, False)


def test_what_waits_in_mailboxes_is_served_before_a_graceful_stop_goes_on() -> None:
    async def main() -> None:
        processes = Processes("launcher", "logger")
        processes.mail = True
        processes.stopping.gracefully(0)
        assert processes.told == []
        processes.there.append(SimpleNamespace(role="worker", stopping=False))
        processes.stopping.go_on()
        assert processes.told == ["stop worker"]
        processes.mail = False
        assert processes.leave("worker") == ["stop launcher"]

    asyncio.run(main())


def test_an_immediate_stop_ends_all_but_who_tidies_up() -> None:
    async def main() -> None:
        processes = Processes(*EVERY)
        processes.mail = True
        processes.stopping.now()
        assert processes.told == [
            "dismiss gate", "dismiss gate", "dismiss front", "dismiss worker", "kill program", "dismiss resolver",
        ]  # fmt: skip
        for role in ("gate", "front", "program", "resolver"):
            assert processes.leave(role) == []
        assert processes.leave("worker") == ["stop launcher"], "what waits in mailboxes is not served"
        assert processes.leave("launcher") == ["stop logger"]
        processes.leave("logger")
        assert processes.ended == [0]
        assert processes.stopping.stage is Stage.ENDING

    asyncio.run(main())


def test_an_immediate_stop_waits_for_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LAST_LINES", 0.0)
    monkeypatch.setattr(stopping, "STOP_TIMEOUT", 0.01)

    async def main() -> None:
        processes = Processes("gate", "worker", "logger")
        finished = asyncio.get_running_loop().create_future()
        processes.stopping.finish = finished.set_result
        processes.stopping.now()
        assert await finished == 0
        assert processes.told[2:] == ["kill gate", "kill worker"], "not the logger: it writes what is there"

    asyncio.run(main())


def test_the_order_has_each_role_once() -> None:
    assert len(set(ORDER)) == len(ORDER)
