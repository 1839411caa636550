"""The end of the server, in order: processes that pass something on end before those that get it.

It begins with the first signal that asks for it. A graceful stop finishes active requests. An
immediate one does not, and may follow a graceful one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from ownhost.processes.messages import Stop
from ownhost.processes.supervisor.children import Children

STOP_TIMEOUT = 2.0  # seconds that an immediate stop waits for processes to end
LAST_LINES = 1.0  # seconds of these in which workers and gates may write their last lines
ORDER = ("gate", "front", "worker", "launcher", "logger")  # launchers clean up; the logger reads all
TIDY = ("launcher", "logger")  # they are told to stop even after all others have ended


class Stage(Enum):
    """The stages of a stop."""

    SERVING = auto()
    FINISHING = auto()  # nothing new begins
    ENDING = auto()  # active requests are not finished, either


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
        """Whether active requests are not finished, either."""
        return self.stage is Stage.ENDING

    def now(self) -> None:
        """End every process, after its last lines are written."""
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
        """Finish active requests, within so many seconds; 0 is for ever. No process listens any more."""
        self.stage = Stage.FINISHING
        if timeout:
            asyncio.get_running_loop().call_later(timeout, self.finish, 0)
        self.go_on()

    def go_on(self) -> None:
        """Tell the first remaining role in the order to stop. Call it again when a process has ended."""
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
