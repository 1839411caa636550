"""A front's client, as conversations: what comes (>>), and what the front does (<<). Nothing here has a socket.

Each is held with the bytes of a line at once, and one at a time. "|" is the end of a line of HTTP. What the client says
stays in the kernel until the front reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from front_conversations import CONVERSATIONS, A
from ownhost.http.limits import HeadLimits
from ownhost.modules.reqtimeout import ReadTimeout
from ownhost.processes.front.conversation import (
    TABLE,
    Ask,
    Close,
    Command,
    Conversation,
    Done,
    EndInput,
    Event,
    Finish,
    Log,
    Overloaded,
    Pass,
    Send,
    State,
)
from ownhost.processes.relay.records import End, Origin
from ownhost.processes.slices import Limits
from ownhost.processes.states import Unexpected
from ownhost.request.hosts import NameTable

ALICE, BOB = 0, 1
NAMES = NameTable(ALICE, {"alice.test": (0, ALICE), "bob.test": (1, BOB)})
LIMITS = {
    ALICE: Limits(HeadLimits(100, 10, 100, 300), ReadTimeout(), 60.0, 5.0),
    BOB: Limits(HeadLimits(200, 10, 200, 600), ReadTimeout(), 60.0, 7.0),
}


@dataclass
class Play:
    """A conversation that is held: what is in the kernel, and what the front has done."""

    talk: Conversation
    bytewise: bool
    now: float = 0.0
    kernel: bytes = b""  # said by the client, not read yet
    ended: bool = False  # the client's stream, behind that
    told: bool = False  # that it has
    done: list[Command] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Have one thing happen."""
        talk = self.talk
        word, _, rest = line.partition(" ")
        if word in SAID:
            self.done += SAID[word](self, rest)
        elif word == "sent":
            self.done += talk.sent(self.now)
        elif word == "gone":
            self.done += talk.gone()
        elif word == "stop":
            self.done += talk.drain(self.now)
        elif rest == "seconds":
            self.now += float(word)
            assert talk.deadline <= self.now
            self.done += talk.expired(self.now)
        else:
            said, end, _ = line.partition("EOF")
            self.kernel += octets(said)
            self.ended = bool(end)
        self.done += talk.settle(self.now)
        self.read()

    def answer(self, rest: str) -> list[Command]:
        """A worker says some of an answer."""
        done: list[Command] = []
        for part in self.cut(octets(rest)):
            if self.talk.state not in (State.ENDING, State.CLOSED, State.IDLE):
                done += self.talk.answered(part, self.now)
        return done

    def read(self) -> None:
        """Have the front read as much as it wants to."""
        while self.talk.reads and self.kernel:
            part, *others = self.cut(self.kernel)
            self.kernel = b"".join(others)
            self.done += self.talk.received(part, self.now)
        if self.ended and not self.kernel and not self.told and self.talk.state is not State.CLOSED:
            found = self.talk.received(b"", self.now) if self.talk.reads else self.talk.ended()
            self.told = bool(found)
            self.done += found

    def cut(self, data: bytes) -> list[bytes]:
        return [bytes((byte,)) for byte in data] if self.bytewise else [data]

    def take(self) -> list[str]:
        """What was done since the last time, in words; bytes that follow one another as one."""
        words: list[str] = []
        for command in self.done:
            word = shown(command)
            for kind in ("=", "body "):
                if words and word.startswith(kind) and words[-1].startswith(kind):
                    words[-1] += word[len(kind) :]
                    break
            else:
                words.append(word)
        self.done = []
        words = [word.replace("\r\n", "|") for word in words]
        found = [re.sub(r"(?s)^=HTTP/1.1 (408|502|503) .*", r"\1", word).removeprefix("=") for word in words]
        return [word for word in found if word]


# What a worker says
SAID: dict[str, Callable[[Play, str], list[Command]]] = {
    "taken": lambda play, _: play.talk.taken(play.now),
    "tunnel": lambda play, _: play.talk.switched(play.now),
    "answer": Play.answer,
    "whole": lambda play, rest: play.talk.answered_whole(octets(rest), End(keep=True, again=True), play.now),
    "end": lambda play, rest: play.talk.finished(End("keep" in rest, "again" in rest), play.now),
    "lost": lambda play, _: play.talk.lost("it has left", play.now),
}


def octets(text: str) -> bytes:
    return text.replace("|", "\r\n").encode()


def shown(command: Command) -> str:
    match command:
        case Ask(server, asked, fresh):
            return f"ask {('alice', 'bob')[server]}, request {asked.handled}{', fresh' * fresh}"
        case Pass(data):
            return f"body {data.decode()}"
        case EndInput():
            return "end of input"
        case Done(again):
            return "done again" if again else "done"
        case Send(data):
            return f"={data.decode()}"
        case Finish():
            return "finish"
        case Close():
            return "close"
        case Overloaded():
            return "overloaded"
        case Log():
            return ""
    raise AssertionError(command)


def begin(*, bytewise: bool) -> Play:
    return Play(Conversation(Origin("127.0.0.1", 4242, "127.0.0.2", 80), NAMES, LIMITS, 0.0), bytewise)


def hold(play: Play, script: str) -> None:
    expected: list[str] = []
    for line in [*script.strip().splitlines(), ">> "]:
        line = line.strip()
        if line.startswith("<< "):
            expected += line[3:].split("; ")
        else:
            assert play.take() == expected
            expected = []
            play.hear(line[3:])


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversations(name: str, bytewise: bool) -> None:
    hold(begin(bytewise=bytewise), CONVERSATIONS[name])


def test_an_event_that_is_not_expected_says_where_it_came() -> None:
    play = begin(bytewise=False)
    with pytest.raises(Unexpected, match="TAKEN for <a front's client in IDLE"):
        play.hear("taken")


def test_every_state_can_be_reached_and_ends() -> None:
    assert set(TABLE.values()) == set(State)
    assert all((state, Event.GONE) in TABLE for state in State if state is not State.CLOSED)


REQUESTS = st.sampled_from(
    [
        octets("GET / HTTP/1.1|Host: alice.test||"),
        octets("HEAD /b HTTP/1.1|Host: bob.test||"),
        octets("POST / HTTP/1.1|Host: bob.test|Content-Length: 5||hello"),
        octets("POST / HTTP/1.1|Host: alice.test|Transfer-Encoding: chunked||3|abc|0||"),
    ]
)


@given(st.lists(REQUESTS, min_size=1, max_size=5), st.data())
def test_whole_conversations_come_out_the_same_however_they_are_cut(said: list[bytes], data: st.DataObject) -> None:
    """All requests are asked in order, with their bodies; all answers go out in order; nothing is lost or doubled."""
    whole = b"".join(said)
    play = begin(bytewise=False)
    passed, answered, places = b"", b"", 0
    while True:
        while play.talk.reads and places < len(whole):
            size = data.draw(st.integers(1, 40))
            play.done += play.talk.received(whole[places : places + size], 0.0)
            places += size
        for command in play.done:
            if isinstance(command, Ask):
                passed += command.asked.head
            elif isinstance(command, Pass):
                passed += command.data
            elif isinstance(command, Send):
                answered += command.data
        play.done = []
        if play.talk.state is State.ASKED:
            play.done += play.talk.taken(0.0)
        elif play.talk.state is State.ANSWERED and not play.talk.reads:
            play.done += play.talk.answered(octets("HTTP/1.1 204 No|X: y||"), 0.0)
        elif play.talk.state is State.COMPLETE:
            play.done += play.talk.finished(End(keep=True, again=True), 0.0)
        elif play.talk.state is State.IDLE and places >= len(whole):
            break
    assert passed == whole
    assert answered == octets("HTTP/1.1 204 No|X: y||") * len(said)


@given(st.data())
def test_a_worker_that_says_anything_costs_its_own_request_alone(data: st.DataObject) -> None:
    """Whatever comes of a worker: no more than one answer goes out before the next request is asked of its owner."""
    play = begin(bytewise=False)
    play.hear(A[3:])
    parts = [
        "taken",
        "tunnel",
        "end keep again",
        "end",
        "lost",
        "answer HTTP/1.1 200 OK|Content-Length: 2||ok",
        "answer HTTP/1.1 100 Continue||",
        "answer HTTP/1.1 101 Switching||",
        "answer x",
    ]
    for word in data.draw(st.lists(st.sampled_from(parts), max_size=8)):
        if play.talk.state not in (State.ASKED, State.ANSWERED, State.COMPLETE):
            break
        try:
            play.hear(word)
        except Unexpected:  # records.TABLE lets none of these through
            return
    answers = [command.data for command in play.done if isinstance(command, Send)]
    assert len(answers) <= 1
    assert play.talk.state is not State.TUNNELLED
