"""Asking a program of the configuration (RewriteMap prg:): a line out, a line in, one question at a time.

The worker waits for the answer, as Apache does. A program that does not answer is given up.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Callable

from ownhost.processes.standard_error import StandardError
from ownhost.request.request import Level

PATIENCE = 10.0  # seconds for an answer
LONGEST = 65_536  # bytes of an answer


class Dialogue:
    """A program that runs only for this worker. Each line of its standard error is a message of mod_rewrite's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        command: tuple[str, ...],
        talk: int,
        errors: int,
        log: Callable[[Level, str, str], None],
    ) -> None:
        self.command = command
        self.sock: socket.socket | None = socket.socket(fileno=talk)
        self.sock.settimeout(PATIENCE)
        self.log = log
        self.poll = select.poll()
        self.poll.register(talk, select.POLLIN)
        self.poll.register(errors, select.POLLIN)
        self.errors = StandardError(
            loop, errors, lambda line: log(Level.ERROR, line, "rewrite"), lambda _: self.poll.unregister(errors)
        )

    def __call__(self, question: str) -> str | None:
        """The answer to a line; None if there is none. The program says NULL for that (mod_rewrite, prg:)."""
        if self.sock is None or "\n" in question:
            return None
        try:
            answer = self._ask(self.sock, question.encode("utf-8", "surrogateescape") + b"\n")
        except OSError as error:
            self.log(Level.ERROR, f"the program {' '.join(self.command)} is given up: {error}", "rewrite")
            self.sock.close()
            self.sock = None
            return None
        text = answer.decode("utf-8", "surrogateescape")
        return None if text.upper() == "NULL" else text

    def _ask(self, sock: socket.socket, question: bytes) -> bytes:
        sock.sendall(question)
        answer = b""
        end = time.monotonic() + PATIENCE
        while not answer.endswith(b"\n"):
            self._wait(sock, end)
            more = sock.recv(LONGEST)
            if not more:
                raise ConnectionError("it ended")
            answer += more
            if len(answer) > LONGEST:
                raise ConnectionError("its answer has no end")
        return answer[:-1]

    def _wait(self, sock: socket.socket, end: float) -> None:
        """Wait for the program's answer; meanwhile it may write errors. Raises TimeoutError."""
        while (left := end - time.monotonic()) > 0:
            ready = [descriptor for descriptor, _ in self.poll.poll(left * 1_000)]
            if sock.fileno() in ready:
                return
            if ready:
                self.errors.read()
        raise TimeoutError("timed out")
