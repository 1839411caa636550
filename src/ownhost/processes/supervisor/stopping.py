"""The end of the server, in its order: what hands something on ends before those that get it.

It has begun with the first signal that asks for it. A graceful one finishes what is begun; an immediate one does not,
and may follow on a graceful one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from ownhost.processes.messages import Stop
from ownhost.processes.supervisor.children import Children

STOP_TIMEOUT = 2.0  # seconds that an immediate stop waits for processes to be gone
LAST_LINES = 1.0  # seconds of them in which workers and gates may write what they have to say
ORDER = ("gate", "front", "worker", "launcher", "logger")  # launchers tidy up; the logger hears all
TIDY = ("launcher", "logger")  # they are told to stop even where all others are ended


class Stage(Enum):
    """How far it has come."""

    SERVING = auto()
    FINISHING = auto()  # nothing new begins
    ENDING = auto()  # nothing is finished, either


class Stopping:
    """Ends processes. `have_mail`: whether anything waits for a worker; `finish` ends the loop with an exit status."""

    def __init__(self, children: Children, have_mail: Callable[[], bool], finish: Callable[[int], None]) -> None:
        self.stage = Stage.SERVING
        self.children = children
        self.have_mail = have_mail
        self.finish = finish

    @property
    def has_begun(self) -> bool:
        """Whether nothing new begins."""
        return self.stage is not Stage.SERVING

    @property
    def is_ending(self) -> bool:
        """Whether nothing is finished, either."""
        return self.stage is Stage.ENDING

    def now(self) -> None:
        """End every process, once its last lines are written."""
        self.stage = Stage.ENDING
        loop = asyncio.get_running_loop()
        loop.call_later(STOP_TIMEOUT, self.finish, 0)
        loop.call_later(LAST_LINES, self._kill_the_rest)
        for child in self.children:
            if child.role not in TIDY:
                child.stopping = True
                end = self.children.kill if child.role == "program" else self.children.dismiss
                end(child)
        self.go_on()

    def _kill_the_rest(self) -> None:
        for child in self.children:
            if child.role not in TIDY:
                self.children.kill(child)

    def gracefully(self, timeout: float) -> None:
        """Finish what is begun, within so many seconds; 0 is for ever. Nobody listens any more."""
        self.stage = Stage.FINISHING
        if timeout:
            asyncio.get_running_loop().call_later(timeout, self.finish, 0)
        self.go_on()

    def go_on(self) -> None:
        """Tell the first role in the order that is still there to stop. To be called again when a process has ended."""
        roles = {child.role for child in self.children}
        for role in ORDER:
            if role in roles:
                self._tell(role)
                return
            if role == "worker" and not self.is_ending and self.have_mail():
                return  # a worker comes
        self.finish(0)

    def _tell(self, role: str) -> None:
        for child in self.children.of(role):
            if not child.stopping:
                child.stopping = True
                self.children.tell(child, Stop())
        if role == "launcher":  # an owner could have stopped his own
            asyncio.get_running_loop().call_later(STOP_TIMEOUT, self.finish, 0)
