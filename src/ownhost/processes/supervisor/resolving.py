"""Who a name is: asked of resolvers, as the databases of users may be far away, and the supervisor waits for nobody.

Each identity whose requests name users has a resolver of its own, for as long as it has workers. So a name that takes
long, or any number of them, holds up that identity alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from ownhost.identity.accounts import Found
from ownhost.processes.messages import Message, ProtocolError, Resolve, Resolved
from ownhost.processes.supervisor.children import Child, Children
from ownhost.processes.supervisor.policy import SpawnPolicy

DEADLINE = 5.0  # seconds that an answer may take
LONGEST_NAME = 256  # characters: LOGIN_NAME_MAX
MOST_GROUPS = 4_096  # of one user; whoever is forked with them is told of all in one message

Answer = Callable[[Found | None], None]  # None: the databases do not answer


class Resolving:
    """The resolvers, by identity number, and what they are asked. `start` starts one."""

    def __init__(self, children: Children, start: Callable[[int], Child]) -> None:
        self.children = children
        self.start = start
        self.resolvers: dict[int, Child] = {}
        self.policies: dict[int, SpawnPolicy] = defaultdict(partial(SpawnPolicy, limit=1, neutral=True))
        self.asked: dict[int, tuple[int, Answer]] = {}  # by serial: for which identity, and who is to hear of it
        self.serial = 0

    def ask(self, number: int, user: str, group: str, answer: Answer) -> None:
        """Have a user and a group looked up for an identity. `answer` is called once, perhaps at once."""
        resolver = self._resolver(number)
        if resolver is None:
            answer(None)
            return
        self.serial += 1
        self.asked[self.serial] = number, answer
        asyncio.get_running_loop().call_later(DEADLINE, self._answer, self.serial, None)
        self.children.tell(resolver, Resolve(self.serial, user, group))

    def _resolver(self, number: int) -> Child | None:
        """The one of an identity. None for a moment after one that has failed."""
        if number not in self.resolvers and time.monotonic() >= self.policies[number].not_before:
            self.policies[number].started()
            self.resolvers[number] = self.start(number)
        return self.resolvers.get(number)

    def on_resolved(self, child: Child, said: Message) -> None:
        """There is an answer. A resolver speaks for its own identity alone. Raises ProtocolError."""
        assert isinstance(said, Resolved)
        if len(said.name) > LONGEST_NAME or not said.name.isprintable() or len(said.groups) > MOST_GROUPS:
            raise ProtocolError(f"a user called {said.name[:40]!r} with {len(said.groups)} groups")
        number, _ = self.asked.get(said.serial, (None, None))
        if number == child.number:
            self._answer(said.serial, Found(said.name, said.uid, said.gid, tuple(said.groups)))

    def _answer(self, serial: int, found: Found | None) -> None:
        _, answer = self.asked.pop(serial, (0, None))
        if answer is not None:
            answer(found)

    def leave(self, number: int) -> None:
        """An identity has no worker left: nobody asks for it, until there is one again."""
        resolver = self.resolvers.pop(number, None)
        if resolver is not None:
            resolver.stopping = True
            self.children.dismiss(resolver)
            self._give_up(number)

    def gone(self, child: Child) -> None:
        """A resolver has ended. Where nobody asked it to, what it has not answered nobody will."""
        if self.resolvers.get(child.number) is not child:
            return
        del self.resolvers[child.number]
        self._give_up(child.number)

    def _give_up(self, number: int) -> None:
        for serial in [serial for serial, (asker, _) in self.asked.items() if asker == number]:
            self._answer(serial, None)
