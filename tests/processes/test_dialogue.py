"""Programs of RewriteMap prg:, asked a line and answering one: here a thread at the other end of a socket."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from ownhost.processes.worker import dialogue
from ownhost.processes.worker.dialogue import LONGEST, Dialogue
from ownhost.request.request import Level

Answer = Callable[[bytes], bytes | None]  # of a question; None hangs up
COMMAND = ("/map", "word")


class Program:
    """Answers what it is asked until it is hung up on."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.log: list[str] = []
        self.logged = threading.Event()
        ours, self.theirs = socket.socketpair()
        errors, self.errors = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.loop = asyncio.new_event_loop()
        self.dialogue = Dialogue(self.loop, COMMAND, ours.detach(), errors, self.note)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def note(self, level: Level, line: str, module: str) -> None:
        self.log.append(f"{module}:{level.name} {line}")
        self.logged.set()

    def run(self) -> None:
        while data := self.theirs.recv(100_000):
            self.asked.append(data)
            answer = self.answer(data)
            if answer is None:
                break
            self.theirs.sendall(answer)
        self.theirs.close()

    def close(self) -> None:
        if self.dialogue.sock is not None:
            self.dialogue.sock.close()
        self.thread.join(10)
        assert not self.thread.is_alive()
        os.close(self.errors)
        self.loop.close()


@pytest.fixture
def start() -> Iterator[Callable[[Answer], Program]]:
    made: list[Program] = []

    def start_one(answer: Answer) -> Program:
        made.append(Program(answer))
        return made[-1]

    yield start_one
    for program in made:
        program.close()


Start = Callable[[Answer], Program]


def test_a_line_is_answered_by_a_line(start: Start) -> None:
    program = start(lambda question: b"<" + question)
    assert [program.dialogue(word) for word in ("a", "", "ü", "\udcff")] == ["<a", "<", "<ü", "<\udcff"]
    assert program.asked == [b"a\n", b"\n", "ü\n".encode(), b"\xff\n"]


@pytest.mark.parametrize("said", [b"NULL\n", b"null\n"])
def test_null_is_no_answer(start: Start, said: bytes) -> None:
    assert start(lambda _: said).dialogue("a") is None


def test_two_lines_are_no_question(start: Start) -> None:
    program = start(lambda question: question)
    assert program.dialogue("a\nb") is None
    assert program.dialogue("c") == "c"
    assert program.asked == [b"c\n"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _: None, "it ended"),
        (lambda _: b"x" * (LONGEST + 1), "its answer has no end"),
    ],
    ids=["one that ends", "one that never comes to an end"],
)
def test_one_that_does_not_answer_is_given_up(start: Start, answer: Answer, reason: str) -> None:
    program = start(answer)
    assert program.dialogue("a") is None
    assert program.log == [f"rewrite:ERROR the program /map word is given up: {reason}"]
    assert program.dialogue("b") is None
    assert len(program.log) == 1, "it is not asked again"


def test_one_that_says_nothing_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "PATIENCE", 0.05)
    program = start(lambda _: b"no line")
    assert program.dialogue("a") is None
    assert program.log == ["rewrite:ERROR the program /map word is given up: timed out"]


def test_what_it_complains_of_is_logged_while_it_is_waited_for(start: Start) -> None:
    def answer(question: bytes) -> bytes:
        os.write(program.errors, b"what is that?\n")
        assert program.logged.wait(10)
        return question

    program = start(answer)
    assert program.dialogue("a") == "a"
    assert program.log == ["rewrite:ERROR what is that?"]
