"""What handlers that run programs ask of the process that they run in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """What the kernel lets a program use, as setrlimit(2) takes it; None: as much as the server. (soft, hard)"""

    cpu: tuple[int, int] | None = None  # seconds
    memory: tuple[int, int] | None = None  # bytes
    processes: tuple[int, int] | None = None


class Line(Protocol):
    """A connection to an app that a request has left for the next one."""

    def is_free(self) -> bool:
        """Whether the app's process waits for that request, and for nothing else."""

    def is_taken(self) -> bool:
        """Whether the app's process has read all that was sent, or is gone."""

    def close(self) -> None:
        """There is no next one."""


class Lease(Protocol):
    """The use of an app, until it is closed."""

    path: str  # of the socket that it listens on
    line: Any  # a `Line`, of the program's kind, that a request before left with the lease; None for none

    def call(self, line: Line) -> None:
        """The request was sent on a line that is new, and waits for a process."""

    def repeat(self, messages: str) -> None:
        """An answer had messages that the app's standard error has, too: there they are left out."""

    def may_leave_line(self) -> bool:
        """Whether the process may wait on its line for the next request, as no other request waits for a process."""

    def close(self) -> None:
        """The request is through: the app is free for another."""

    def end(self) -> None:
        """The request came to no good end: the next one is to ask the launcher again."""

    def lost(self) -> None:
        """Nobody listens for the app any more: no request is to use a lease of it that is kept."""


class Execution(Protocol):
    """A program that runs for one request."""

    output: int  # descriptors to read from: standard output, and what is meant for the error log
    errors: int

    def close(self, *, heard_all: bool) -> None:
        """Nobody waits for it any more, and the descriptors are closed.

        Unless its output was heard to the end, it is ended with all that it started: whatever holds the output.
        """


class Launcher(Protocol):
    """Starts programs as the identity that serves. Methods raise HTTPError where that cannot be done."""

    async def lease(self, app: Any) -> Lease:
        """The use of an app (`apps.app.App`), started if need be. 503 where too many requests wait for it."""

    async def execute(
        self, command: Sequence[bytes], environment: Mapping[bytes, bytes], folder: str, stdin: int, limits: Limits
    ) -> Execution:
        """Run a program in a folder, with a descriptor as its standard input."""
