"""What handlers that run programs need from the process that they run in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """What the kernel lets a program use, in the form of setrlimit(2); None: as much as the server. (soft, hard)"""

    cpu: tuple[int, int] | None = None  # seconds
    memory: tuple[int, int] | None = None  # bytes
    processes: tuple[int, int] | None = None


class Line(Protocol):
    """A connection to an app that one request leaves for the next."""

    def is_free(self) -> bool:
        """Whether the app's process waits only for that request."""

    def is_taken(self) -> bool:
        """Whether the app's process has read all that was sent, or has ended."""

    def close(self) -> None:
        """Close it: there is no next request."""


class Lease(Protocol):
    """The use of an app, until it is closed."""

    path: str  # of the socket that it listens on
    line: Any  # a `Line`, of the program's kind, that an earlier request left with the lease; None for none

    def call(self, line: Line) -> None:
        """The request was sent on a new line, and waits for a process."""

    def repeat(self, messages: str) -> None:
        """A response had messages that the app's standard error has, too. They are left out there."""

    def may_keep_line(self) -> bool:
        """Whether the process may wait on its line for the next request, as no other request waits for a process."""

    def close(self) -> None:
        """The request is finished: the app is free for another."""

    def end(self) -> None:
        """The request failed: the next one must ask the launcher again."""

    def lost(self) -> None:
        """The app no longer listens: no request may use a kept lease of it."""


class Execution(Protocol):
    """A program that runs for one request."""

    output: int  # descriptors to read from: standard output, and what goes to the error log
    errors: int

    def close(self, *, output_complete: bool) -> None:
        """Close the descriptors: the program's result is not wanted any more.

        Unless its output was read to the end, it is ended with all that it started and that holds
        the output.
        """


class Launcher(Protocol):
    """Starts programs as the identity that serves. Methods raise HTTPError if that is not possible."""

    async def lease(self, app: Any) -> Lease:
        """The use of an app (`apps.app.App`), which is started if needed. 503 if too many requests wait for it."""

    async def execute(
        self, command: Sequence[bytes], environment: Mapping[bytes, bytes], folder: str, stdin: int, limits: Limits
    ) -> Execution:
        """Run a program in a folder, with a descriptor as its standard input."""
