"""Who a name is: what is asked of resolvers, and what becomes of a question that none of them answers."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from ownhost.identity.accounts import Found
from ownhost.processes.messages import Message, ProtocolError, Resolve, Resolved
from ownhost.processes.supervisor import resolving
from ownhost.processes.supervisor.children import Child
from ownhost.processes.supervisor.resolving import Resolving

ALICE, BOB = 1, 2  # numbers of identities
GAMES = Found("games", 5, 60, (60, 61))


class Resolvers:
    """Resolvers that do nothing, and what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Resolve]] = []
        self.dismissed: list[int] = []
        self.started: list[Any] = []
        self.heard: list[Found | None] = []
        self.resolving = Resolving(self, self.start)  # type: ignore[arg-type]

    def start(self, number: int) -> Child:
        self.started.append(SimpleNamespace(number=number, stopping=False))
        return self.started[-1]  # type: ignore[no-any-return]

    def tell(self, child: Child, message: Message) -> None:
        assert isinstance(message, Resolve)
        self.asked.append((child.number, message))

    def dismiss(self, child: Child) -> None:
        self.dismissed.append(child.number)

    def ask(self, number: int, user: str = "games") -> None:
        self.resolving.ask(number, user, "#60", self.heard.append)

    def say(self, child: Any, serial: int, found: Found = GAMES) -> None:
        said = Resolved(serial, found.name, found.uid, found.gid, list(found.groups))
        self.resolving.on_resolved(child, said)


def test_each_identity_has_one_resolver_for_all_its_questions() -> None:
    async def main() -> None:
        resolvers = Resolvers()
        for number in (ALICE, BOB, ALICE):
            resolvers.ask(number)
        assert [one.number for one in resolvers.started] == [ALICE, BOB]
        assert [number for number, _ in resolvers.asked] == [ALICE, BOB, ALICE]
        assert resolvers.asked[0][1] == Resolve(1, "games", "#60")
        resolvers.say(resolvers.started[0], 3)
        resolvers.say(resolvers.started[0], 3)
        assert resolvers.heard == [GAMES], "each answer is heard once"

    asyncio.run(main())


def test_a_resolver_answers_nobody_elses_question() -> None:
    async def main() -> None:
        resolvers = Resolvers()
        resolvers.ask(ALICE)
        resolvers.ask(BOB)
        resolvers.say(resolvers.started[0], 2)
        resolvers.say(resolvers.started[0], 77)
        assert resolvers.heard == []

    asyncio.run(main())


def test_what_a_resolver_had_not_answered_when_it_ended_has_no_answer() -> None:
    async def main() -> None:
        resolvers = Resolvers()
        for number in (ALICE, BOB, ALICE):
            resolvers.ask(number)
        first = resolvers.started[0]
        resolvers.resolving.gone(first)
        assert resolvers.heard == [None, None], "bob's goes on"
        resolvers.resolving.policies[ALICE].not_before = time.monotonic() + 60
        resolvers.ask(ALICE)
        assert resolvers.heard == [None] * 3, "for a while there is no other"
        resolvers.resolving.policies[ALICE].not_before = 0.0
        resolvers.ask(ALICE)
        assert [one.number for one in resolvers.started] == [ALICE, BOB, ALICE]
        resolvers.resolving.gone(first)
        assert len(resolvers.heard) == 3, "that was about the one before"

    asyncio.run(main())


def test_a_resolver_that_was_told_to_leave_is_asked_nothing_more() -> None:
    async def main() -> None:
        resolvers = Resolvers()
        resolvers.ask(ALICE)
        resolvers.resolving.leave(ALICE)
        resolvers.resolving.leave(BOB)
        assert resolvers.dismissed == [ALICE]
        resolvers.ask(ALICE)
        assert len(resolvers.started) == 2
        assert resolvers.heard == [None], "there is nobody left whom the answer is for"
        resolvers.resolving.gone(resolvers.started[0])
        resolvers.say(resolvers.started[1], 2)
        assert resolvers.heard == [None, GAMES]

    asyncio.run(main())


@pytest.mark.parametrize(
    "found",
    [
        Found("x" * 257, 5, 60),
        Found("games\n[core:notice] made up", 5, 60),
        Found("games", 5, 60, tuple(range(60, 4_157))),
    ],
)
def test_a_resolver_that_says_what_no_message_has_room_for_breaks_the_protocol(found: Found) -> None:
    async def main() -> None:
        resolvers = Resolvers()
        resolvers.ask(ALICE)
        with pytest.raises(ProtocolError):
            resolvers.say(resolvers.started[0], 1, found)
        assert resolvers.heard == []

    asyncio.run(main())


def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "DEADLINE", 0.0)

    async def main() -> None:
        resolvers = Resolvers()
        heard = asyncio.get_running_loop().create_future()
        resolvers.resolving.ask(ALICE, "slow", "#60", heard.set_result)
        assert await heard is None
        resolvers.say(resolvers.started[0], 1)
        assert not resolvers.resolving.asked, "what comes late is for nobody"

    asyncio.run(main())
