"""What processes say is heard one word at a time, and no more of it than they may say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ownhost.processes.messages import Busy, Message, ProtocolError, Relay, encode
from ownhost.processes.supervisor.children import Child
from ownhost.processes.supervisor.dispatch import Dispatch
from processes.offspring import Offspring
from waiting import soon, turns


class Heard:
    """A worker that is heard. `Relay` is what it has not to ask."""

    def __init__(self, offspring: Offspring) -> None:
        self.worker, self.other = offspring.bear("worker"), offspring.others[-1]
        self.said: list[Message] = []
        self.liars: list[tuple[Child, str]] = []
        self.hearing = Dispatch(
            {Busy: lambda _, message: self.said.append(message), Relay: self.refuse},
            lambda child, error: self.liars.append((child, str(error))),
        )
        self.hearing.begin(self.worker)

    def refuse(self, _child: Child, _message: Message) -> None:
        raise ProtocolError("not its own")

    @property
    def is_heard(self) -> bool:
        return asyncio.get_running_loop().remove_reader(self.worker.channel.fileno())


def test_words_are_answered_and_too_many_wait_in_the_channel(offspring: Offspring) -> None:
    async def work() -> None:
        heard = Heard(offspring)
        heard.worker.bucket.rate = 50.0
        for _ in range(5):
            heard.other.send(Busy())
        await soon(lambda: len(heard.said) == 3)  # two at once, and one in advance
        assert not heard.is_heard
        await soon(lambda: len(heard.said) == 5)
        assert heard.liars == []

    asyncio.run(work())


@pytest.mark.parametrize(
    ("say", "reason"),
    [
        (lambda heard: heard.other.send(Relay(1, 2, "x", "", 0)), "not its own"),
        (lambda heard: heard.other.sock.send(b"no word"), ""),
        (lambda heard: heard.other.sock.send(encode(Busy()).replace(b"Busy", b"Ready")), ""),
    ],
    ids=["what is not its own", "no word at all", "what is a gate's to say"],
)
def test_a_liar_is_heard_no_more(offspring: Offspring, say: Callable[[Heard], object], reason: str) -> None:
    async def work() -> None:
        heard = Heard(offspring)
        say(heard)
        await soon(lambda: heard.liars)
        assert [child for child, _ in heard.liars] == [heard.worker]
        assert reason in heard.liars[0][1]
        heard.other.send(Busy())
        await turns()
        assert not heard.is_heard
        assert heard.said == []

    asyncio.run(work())


def test_the_end_of_a_channel_is_no_lie(offspring: Offspring) -> None:
    async def work() -> None:
        heard = Heard(offspring)
        heard.other.sock.close()
        await turns()
        assert not heard.is_heard
        assert heard.liars == []

    asyncio.run(work())


def test_who_is_to_be_ended_is_not_heard(offspring: Offspring) -> None:
    async def work() -> None:
        heard = Heard(offspring)
        heard.hearing.end(heard.worker)
        heard.worker.doomed = True
        heard.hearing.begin(heard.worker)
        assert not heard.is_heard

    asyncio.run(work())
