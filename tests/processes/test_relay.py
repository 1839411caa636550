"""Relays: the records, the copying and the pool. What is said on a pair is written as a conversation.

>> is the front, << the target. Each is fed to both sides, at once and one byte at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.http.body import BodyReader
from ownhost.http.head import head_end, parse_head
from ownhost.http.limits import HeadLimits
from ownhost.http.message import ClientGone
from ownhost.processes.relay import pool as pools
from ownhost.processes.relay.pool import Pool
from ownhost.processes.relay.records import (
    MOST,
    TABLE,
    Asked,
    Conversation,
    End,
    Kind,
    NamedIdentity,
    Origin,
    Record,
    RecordError,
    State,
    encode,
    unfold,
)
from ownhost.processes.relay.stream import RelayLost, RelayStream
from ownhost.processes.worker.copying import Copying

ORIGIN = Origin("192.0.2.1", 4242, "127.0.0.1", 80, "", "HTTP/2.0")

CONVERSATIONS = {
    "two requests, one after the other": """
        >> REQUEST
        << TAKEN
        << DATA
        << END
        >> REQUEST
        << TAKEN
        >> BODY
        << DATA
        >> BODY
        << END
        >> REQUEST
        << WHOLE
        >> REQUEST
    """,
    "one that is somebody else's, and the next": """
        >> REQUEST
        << OTHER_IDENTITY
        >> REQUEST
        << TAKEN
    """,
    "another protocol": """
        >> REQUEST
        << TAKEN
        << TUNNEL
        << DATA
        >> BODY
        << DATA
    """,
}


def lines(text: str) -> list[tuple[str, Kind]]:
    return [(who, Kind[kind]) for who, kind in (line.split() for line in text.strip().splitlines())]


@pytest.mark.parametrize("text", CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize("size", [1, 1_000_000])
def test_both_sides_are_where_the_conversation_is(text: str, size: int) -> None:
    front, target = Conversation(), Conversation()
    for number, (who, kind) in enumerate(lines(text)):
        speaker, hearer = (front, target) if who == ">>" else (target, front)
        content = b"%d" % number
        data = speaker.says(kind, content)
        heard = [one for at in range(0, len(data), size) for one in hearer.feed(data[at : at + size])]
        assert heard == [Record(kind, content)]
        assert front.state is target.state


@given(
    st.lists(st.tuples(st.sampled_from(list(Kind)), st.binary(max_size=50)), max_size=12),
    st.lists(st.integers(0, 900), max_size=20),
)
def test_how_the_bytes_are_cut_makes_no_difference(said: list[tuple[Kind, bytes]], cuts: list[int]) -> None:
    data = b"".join(encode(kind, content) for kind, content in said)

    def hear(parts: list[bytes]) -> tuple[list[Record], State, bool]:
        one, found = Conversation(), []
        for part in parts:
            try:
                found += one.feed(part)
            except RecordError:
                return [], one.state, True
        return found, one.state, False

    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    whole, parts = hear([data]), hear([data[a:b] for a, b in itertools.pairwise(places)])
    assert whole == parts


@given(st.binary(max_size=100))
def test_bytes_are_records_or_an_error(data: bytes) -> None:
    one = Conversation()
    try:
        found = one.feed(data)
    except RecordError:
        return
    assert all(isinstance(record.kind, Kind) for record in found)


def test_what_a_state_does_not_expect_says_which_state_it_is() -> None:
    for state in State:
        for kind in Kind:
            one = Conversation()
            one.state = state
            if (state, kind) in TABLE:
                one.says(kind)
                continue
            with pytest.raises(RecordError, match=f"{kind.name} to <a relay that is {state.name}"):
                one.feed(encode(kind))


def test_no_record_is_longer_than_it_may_be() -> None:
    with pytest.raises(RecordError, match="a record of"):
        Conversation().feed(Conversation().says(Kind.REQUEST)[:1] + b"\xff\xff\xff\xff")
    one = Conversation()
    one.state = State.ANSWERED
    with pytest.raises(RecordError, match="a record of"):
        one.feed(encode(Kind.DATA, bytes(MOST + 1)))


def test_what_records_hold() -> None:
    assert Origin.from_bytes(ORIGIN.to_bytes()) == ORIGIN
    asked = Asked.of(ORIGIN, 7, GET)
    assert Asked.from_bytes(asked.to_bytes()) == asked == (7, ORIGIN.to_bytes(), GET)
    assert NamedIdentity.from_bytes(NamedIdentity("a", "", -5).to_bytes()) == NamedIdentity("a", "", -5)
    for end in (End(keep, again) for keep in (False, True) for again in (False, True)):
        assert End.from_bytes(end.to_bytes()) == end


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"[1]",
        b'["x", 1, "y", 2, "", "", true]',
        b'["x", "1", "y", 2, "", "", 0]',
        b'["x", 1.0, "y", 2, "", "", 0]',
        b'["x", 1, "y", 2, "", "", 0, 0]',
        b"[" * 5_000,
        b"\xff",
    ],
)
def test_nothing_else_is_an_origin(data: bytes) -> None:
    for kind in (Origin, NamedIdentity):
        with pytest.raises(RecordError):
            kind.from_bytes(data)


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\0\0\0\0\0\0\0\3[]", b"\0\0\0\0\xff\xff\xff\xff[]"])
def test_nothing_else_is_a_request(data: bytes) -> None:
    with pytest.raises(RecordError):
        Asked.from_bytes(data)


def test_a_whole_answer_is_what_three_records_are() -> None:
    def heard(*said: bytes) -> list[Record]:
        one = Conversation()
        one.says(Kind.REQUEST)
        return [part for data in said for record in one.feed(data) for part in unfold(record)]

    end = End(keep=True, again=True).to_bytes()
    in_parts = heard(encode(Kind.TAKEN), encode(Kind.DATA, OK), encode(Kind.END, end))
    assert heard(encode(Kind.WHOLE, end + OK)) == in_parts


@pytest.mark.parametrize("data", [b"", b"\4", b"\0\0"])
def test_nothing_else_is_an_end(data: bytes) -> None:
    with pytest.raises(RecordError):
        End.from_bytes(data)


# The front's side, with a target that a test plays.


class Play:
    """A pair, a client, and what both say."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stack: ExitStack) -> None:
        self.loop = loop
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.stream = RelayStream(loop, ours)
        stack.callback(self.stream.close)
        self.target = stack.enter_context(theirs)
        self.talk = Conversation()
        self.heard: list[Record] = []
        self.client: asyncio.Queue[bytes | None] = asyncio.Queue()  # what it says; None is its end
        self.answer = b""

    async def hear(self, kind: Kind) -> bytes:
        """The next record from the front; bytes in a row count as one."""
        while not self.heard:
            data = await self.loop.sock_recv(self.target, 100_000)
            assert data, "the front has ended"
            self.heard += self.talk.feed(data)
        record = self.heard.pop(0)
        assert record.kind is kind
        return record.data

    async def hear_all(self, size: int) -> bytes:
        """So many bytes of a body."""
        found = b""
        while len(found) < size:
            found += await self.hear(Kind.BODY)
        return found

    async def say(self, kind: Kind, data: bytes = b"") -> None:
        await self.loop.sock_sendall(self.target, self.talk.says(kind, data))

    async def take(self) -> None:
        """Take what is asked."""
        asked = Asked.from_bytes(await self.hear(Kind.REQUEST))
        assert Origin.from_bytes(asked.origin) == ORIGIN
        await self.say(Kind.TAKEN)

    async def begin(self, head: bytes) -> None:
        """Ask, and have it taken."""
        asked = asyncio.ensure_future(self.stream.ask(Asked.of(ORIGIN, 3, head)))
        await self.take()
        assert await asked is None

    async def receive(self) -> bytes:
        data = await self.client.get()
        if data is None:
            raise ClientGone
        return data

    async def send(self, data: bytes) -> None:
        self.answer += data

    def copying(self, request: bytes) -> Copying:
        end = head_end(request)
        head = parse_head(request[:end], LIMITS)
        return Copying(self.stream, BodyReader(head, LIMITS), request[end:], self.receive, self.send)


def play(work: Callable[[Play], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        with ExitStack() as stack:
            async with asyncio.timeout(20):
                await work(Play(asyncio.get_running_loop(), stack))

    asyncio.run(run())


LIMITS = HeadLimits(8_190, 100, 8_190, 65_536)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_request_and_its_answer() -> None:
    async def work(one: Play) -> None:
        await one.begin(GET)
        copied = asyncio.ensure_future(one.copying(GET + b"GET /next").run())
        for byte in OK:
            await one.say(Kind.DATA, bytes((byte,)))
        await one.say(Kind.END, End(keep=True, again=True).to_bytes())
        assert await copied == End(keep=True, again=True)
        assert one.answer == OK
        assert one.stream.is_idle

    play(work)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("head", "body"),
    [(POST, b"12345"), (CHUNKED, b"5\r\n12345\r\n0\r\nX: y\r\n\r\n"), (CHUNKED, b"0\r\n\r\n")],
    ids=["length", "chunked", "empty"],
)
def test_a_body_goes_on_as_it_came_and_what_is_behind_it_stays(head: bytes, body: bytes, size: int) -> None:
    async def work(one: Play) -> None:
        await one.begin(head)
        copying = one.copying(head)
        copied = asyncio.ensure_future(copying.run())
        for at in range(0, len(body), size):
            one.client.put_nowait(body[at : at + size] + (b"GET /next" if at + size >= len(body) else b""))
        assert await one.hear_all(len(body)) == body
        await one.say(Kind.DATA, OK)
        await one.say(Kind.END, End(keep=True, again=True).to_bytes())
        await copied
        assert copying.rest == b"GET /next"

    play(work)


def test_an_answer_before_the_request_is_over() -> None:
    """413, say: the rest of the body is nobody's."""

    async def work(one: Play) -> None:
        await one.begin(POST)
        copied = asyncio.ensure_future(one.copying(POST + b"12").run())
        assert await one.hear_all(2) == b"12"
        await one.say(Kind.DATA, OK)
        await one.say(Kind.END, End(keep=False, again=False).to_bytes())
        assert await copied == End(keep=False, again=False)

    play(work)


def test_a_target_that_would_go_on_in_the_midst_of_a_body() -> None:
    async def work(one: Play) -> None:
        await one.begin(POST)
        copied = asyncio.ensure_future(one.copying(POST + b"12").run())
        assert await one.hear_all(2) == b"12"
        await one.say(Kind.END, End(keep=True, again=True).to_bytes())
        while not one.stream.is_idle:  # else what comes now has crossed with it, and who says such things hears it
            await asyncio.sleep(0)
        one.client.put_nowait(b"345")
        with pytest.raises(RelayLost):
            await copied

    play(work)


def test_a_broken_body_is_the_targets_to_answer() -> None:
    async def work(one: Play) -> None:
        await one.begin(CHUNKED)
        copied = asyncio.ensure_future(one.copying(CHUNKED + b"nonsense\r\n").run())
        assert await one.hear_all(10) == b"nonsense\r\n"
        assert await one.loop.sock_recv(one.target, 10) == b""
        await one.say(Kind.DATA, b"HTTP/1.1 400 ")
        await one.say(Kind.END, End(keep=False, again=False).to_bytes())
        await copied
        assert one.answer == b"HTTP/1.1 400 "

    play(work)


def test_a_client_that_says_no_more_in_the_midst_of_a_body() -> None:
    async def work(one: Play) -> None:
        await one.begin(POST)
        copied = asyncio.ensure_future(one.copying(POST + b"12").run())
        one.client.put_nowait(None)
        assert await one.hear_all(2) == b"12"
        assert await one.loop.sock_recv(one.target, 10) == b""
        await one.say(Kind.END, End(keep=False, again=False).to_bytes())
        await copied

    play(work)


def test_another_protocol_goes_both_ways_until_the_target_ends() -> None:
    async def work(one: Play) -> None:
        await one.begin(GET)
        copied = asyncio.ensure_future(one.copying(GET + b"early").run())
        await one.say(Kind.TUNNEL)
        await one.say(Kind.DATA, b"HTTP/1.1 101 ")
        assert await one.hear_all(5) == b"early"
        one.client.put_nowait(b"late")
        assert await one.hear_all(4) == b"late"
        await one.say(Kind.DATA, b"yes")
        one.target.close()
        assert await copied == End(keep=False, again=False)
        assert one.answer == b"HTTP/1.1 101 yes"

    play(work)


@pytest.mark.parametrize("said", [b"", b"x" * 9, encode(Kind.DATA, b"x"), encode(Kind.END, b"\3")])
def test_a_target_that_leaves_or_says_nonsense(said: bytes) -> None:
    async def work(one: Play) -> None:
        asked = asyncio.ensure_future(one.stream.ask(Asked.of(ORIGIN, 3, GET)))
        await one.hear(Kind.REQUEST)
        one.target.send(said)
        one.target.close()
        with pytest.raises(RelayLost):
            await asked

    play(work)


def test_an_answer_that_breaks_off() -> None:
    async def work(one: Play) -> None:
        await one.begin(GET)
        copying = one.copying(GET)
        copied = asyncio.ensure_future(copying.run())
        await one.say(Kind.DATA, b"HTTP/1.1 200 ")
        one.target.close()
        with pytest.raises(RelayLost):
            await copied
        assert copying.sent

    play(work)


# The pool


class Targets:
    """Makes pairs whose other ends a test holds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.made: list[socket.socket] = []

    async def obtain(self, _key: str) -> RelayStream:
        ours, theirs = socket.socketpair()
        self.made.append(theirs)
        return RelayStream(self.loop, ours)

    async def answer(self, number: int, *said: tuple[Kind, bytes]) -> None:
        """Have a target answer what it is asked."""
        talk, target = Conversation(), self.made[number]
        target.setblocking(False)
        while not talk.feed(await self.loop.sock_recv(target, 10_000)):
            pass
        for kind, data in said:
            await self.loop.sock_sendall(target, talk.says(kind, data))


def with_pool(work: Callable[[Pool[str], Targets], Awaitable[None]]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        targets = Targets(loop)
        pool: Pool[str] = Pool(loop, targets.obtain)
        async with asyncio.timeout(20):
            await work(pool, targets)
        pool.close()
        for one in targets.made:
            one.close()

    asyncio.run(run())


TAKEN, ENDED = (Kind.TAKEN, b""), (Kind.END, End(keep=True, again=True).to_bytes())


async def asked(
    pool: Pool[str], targets: Targets, number: int, *said: tuple[Kind, bytes], key: str = "a"
) -> RelayStream:
    asking = asyncio.ensure_future(pool.ask(key, Asked.of(ORIGIN, 3, GET)))
    await asyncio.sleep(0)
    await targets.answer(number, *said)
    stream, _ = await asking
    for _ in said[1:]:
        await stream.read()
    return stream


def test_a_pair_that_is_given_back_serves_again_and_only_the_same() -> None:
    async def work(pool: Pool[str], targets: Targets) -> None:
        pool.keep("a", await asked(pool, targets, 0, TAKEN, ENDED))
        pool.keep("a", await asked(pool, targets, 0, TAKEN, ENDED))
        pool.keep("b", await asked(pool, targets, 1, TAKEN, ENDED, key="b"))
        assert len(targets.made) == 2

    with_pool(work)


def test_one_that_is_not_at_an_end_does_not() -> None:
    async def work(pool: Pool[str], targets: Targets) -> None:
        pool.keep("a", await asked(pool, targets, 0, TAKEN))
        (await asked(pool, targets, 1, TAKEN, ENDED)).close()
        assert len(targets.made) == 2

    with_pool(work)


@pytest.mark.parametrize("late", [False, True], ids=["before it is asked", "as it is asked"])
def test_one_whose_target_has_left_is_replaced(late: bool) -> None:
    async def work(pool: Pool[str], targets: Targets) -> None:
        pool.keep("a", await asked(pool, targets, 0, TAKEN, ENDED))
        if not late:
            targets.made[0].close()
        asking = asyncio.ensure_future(pool.ask("a", Asked.of(ORIGIN, 3, GET)))
        await asyncio.sleep(0)
        if late:
            targets.made[0].close()
        while len(targets.made) < 2:
            await asyncio.sleep(0)
        await targets.answer(1, TAKEN)
        stream, whose = await asking
        assert whose is None
        stream.close()

    with_pool(work)


def test_who_says_whose_it_is_may_be_asked_again() -> None:
    async def work(pool: Pool[str], targets: Targets) -> None:
        asking = asyncio.ensure_future(pool.ask("a", Asked.of(ORIGIN, 3, GET)))
        await asyncio.sleep(0)
        await targets.answer(0, (Kind.OTHER_IDENTITY, NamedIdentity("bob", "", 0).to_bytes()))
        stream, whose = await asking
        assert whose == NamedIdentity("bob", "", 0)
        pool.keep("a", stream)
        (await asked(pool, targets, 0, TAKEN)).close()
        assert len(targets.made) == 1

    with_pool(work)


def test_unused_ones_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "KEPT", 0.01)

    async def work(pool: Pool[str], targets: Targets) -> None:
        pool.keep("a", await asked(pool, targets, 0, TAKEN, ENDED))
        assert await targets.loop.sock_recv(targets.made[0], 10) == b""

    with_pool(work)
