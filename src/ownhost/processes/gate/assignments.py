"""Which identity an assignment comes to, as a gate knows it: from its slice, or from what the supervisor answered.

What the configuration writes down is in the slice. A name that an expression gave is asked of the supervisor, once,
and remembered briefly: accounts come to be, and change.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ownhost.identity.identity import Assignment
from ownhost.processes.messages import Named, Whose
from ownhost.processes.slices import GateSlice
from ownhost.request.routing import is_word

MAX_REMEMBERED = 8_192  # answers
MAX_ASKED = 64  # questions under way: more would not fit into the channel, and wait
REMEMBERED_FOR = 2.0  # seconds that an answer is remembered

Name = tuple[int, Assignment]  # whom a server's request is to be served as: server id, and what it says


class Assignments:
    """What is known, and what is being asked."""

    def __init__(self, slice_: GateSlice, send: Callable[[Whose], object]) -> None:
        self.slice = slice_
        self.send = send
        self.answers: dict[Name, tuple[int | str, float]] = {}  # a number or why there is none, and until when
        self.asked: set[Name] = set()
        self.to_ask: deque[Name] = deque()

    def look_up(self, name: Name) -> int | str | None:
        """An identity's number, why there is none, or None: `ask`."""
        server, assignment = name
        listed = self.slice.routes[server].get(assignment, self.slice.refusals[server].get(assignment))
        if listed is not None:
            return listed
        answer, until = self.answers.get(name, (None, 0.0))
        if answer is not None and time.monotonic() < until:
            return answer
        if not all(part is None or is_word(part) for part in (assignment.user, assignment.group)):
            return "that cannot be the name of a user or a group"
        return None

    def ask(self, name: Name) -> None:
        """Have the supervisor say who that is; `take` has the answer."""
        if len(self.asked) >= MAX_ASKED:
            self.to_ask.append(name)
            return
        self.asked.add(name)
        server, assignment = name
        self.send(Whose(server, assignment.user or "", assignment.group or "", assignment.nice))

    def take(self, answer: Named) -> Name:
        """Remember an answer; gives what was asked."""
        name = (answer.server, Assignment(answer.user or None, answer.group or None, answer.nice))
        if len(self.answers) >= MAX_REMEMBERED:
            self.answers.clear()
        found = answer.reason if answer.identity < 0 else answer.identity
        self.answers[name] = (found, time.monotonic() + REMEMBERED_FOR)
        self.asked.discard(name)
        if self.to_ask:
            self.ask(self.to_ask.popleft())
        return name
