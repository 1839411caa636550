"""Looking up names: resolvers do it, as the databases of users may be far away, and the supervisor must not block.

Each identity whose requests name users has a resolver of its own, as long as it has workers. So
slow names, or any number of them, delay only that identity.
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
MOST_GROUPS = 4_096  # groups of one user; a fork order has all of them in one message

Answer = Callable[[Found | None], None]  # None: the databases do not answer


class Resolving:
    """The resolvers, by identity number, and their questions. `start` starts one."""

    def __init__(self, children: Children, start: Callable[[int], Child]) -> None:
        self.children = children
        self.start = start
        self.resolvers: dict[int, Child] = {}
        self.policies: dict[int, SpawnPolicy] = defaultdict(partial(SpawnPolicy, limit=1, neutral=True))
        self.asked: dict[int, tuple[int, Answer]] = {}  # by serial: the identity, and the function that gets the answer
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
        """The resolver of an identity. None for a moment after one that has failed."""
        if number not in self.resolvers and time.monotonic() >= self.policies[number].not_before:
            self.policies[number].started()
            self.resolvers[number] = self.start(number)
        return self.resolvers.get(number)

    def on_resolved(self, child: Child, said: Message) -> None:
        """An answer has come. A resolver speaks only for its own identity. Raises ProtocolError."""
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
        """An identity has no worker left: it will have no questions until there is one again."""
        resolver = self.resolvers.pop(number, None)
        if resolver is not None:
            resolver.stopping = True
            self.children.dismiss(resolver)
            self._give_up(number)

    def gone(self, child: Child) -> None:
        """A resolver has ended. If that was not intended, its questions get no answer."""
        if self.resolvers.get(child.number) is not child:
            return
        del self.resolvers[child.number]
        self._give_up(child.number)

    def _give_up(self, number: int) -> None:
        for serial in [serial for serial, (asker, _) in self.asked.items() if asker == number]:
            self._answer(serial, None)
