"""Asking a program of the configuration (RewriteMap prg:): a line out, a line in, one question at a time.

The worker waits for the answer: that is what such a program is for. One that does not answer is given up.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from ownhost.request.request import Level

PATIENCE = 10.0  # seconds for an answer
LONGEST = 65_536  # bytes of an answer


class Dialogue:
    """A program that runs for this worker alone."""

    def __init__(self, command: tuple[str, ...], descriptor: int, log: Callable[[Level, str], None]) -> None:
        self.command = command
        self.sock: socket.socket | None = socket.socket(fileno=descriptor)
        self.sock.settimeout(PATIENCE)
        self.log = log

    def __call__(self, question: str) -> str | None:
        """The answer to a line; None where there is none. The program says NULL for that (mod_rewrite, prg:)."""
        if self.sock is None or "\n" in question:
            return None
        try:
            answer = self._ask(self.sock, question.encode("utf-8", "surrogateescape") + b"\n")
        except OSError as error:
            self.log(Level.ERROR, f"the program {' '.join(self.command)} is given up: {error}")
            self.sock.close()
            self.sock = None
            return None
        text = answer.decode("utf-8", "surrogateescape")
        return None if text.upper() == "NULL" else text

    @staticmethod
    def _ask(sock: socket.socket, question: bytes) -> bytes:
        sock.sendall(question)
        answer = b""
        while not answer.endswith(b"\n"):
            more = sock.recv(LONGEST)
            if not more:
                raise ConnectionError("it ended")
            answer += more
            if len(answer) > LONGEST:
                raise ConnectionError("its answer has no end")
        return answer[:-1]
