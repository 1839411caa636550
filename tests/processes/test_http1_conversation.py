"""A worker's HTTP/1 connection, as conversations: what comes (>>), and what goes out (<<). "|" is the end of a line.

Each is held twice, with the bytes of a line at once and one at a time. First without a socket, a loop or a clock, by
something that does what the table says (`http1_play`). Then by the real connection of a real worker, over a pair of
sockets, where time passes because the conversation's own is set back.
"""

from __future__ import annotations

import asyncio
import re
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h2_pair import BIG, Pair
from http1_conversations import AT_ONCE, CONVERSATIONS, A
from http1_play import Play, octets
from ownhost.http.message import RequestBody, Response
from ownhost.identity.identity import Assignment
from ownhost.modules.reqtimeout import ReadTimeout, Stage
from ownhost.processes.relay.pool import Pool
from ownhost.processes.relay.stream import RelayStream
from ownhost.processes.worker.connection import Connection
from ownhost.processes.worker.conversation import DOUBT, TABLE, Conversation, Event, State
from ownhost.processes.worker.fronted import FrontedConnection
from ownhost.processes.worker.relayed import RelayedConnection
from ownhost.processes.worker.sending import receive
from ownhost.request.request import Request

SAID = "LimitRequestLine 200\nLimitRequestFieldSize 200\nLimitRequestFields 10\n"
SCRIPTS = [
    *((name, bytewise) for name in CONVERSATIONS for bytewise in (False, True)),
    *((name, False) for name in AT_ONCE),
]
QUIET = 8  # turns of the event loop in which nothing comes: then nothing will


def lines(name: str) -> Iterator[tuple[str, list[str]]]:
    """What comes, and what goes out then."""
    script = {**CONVERSATIONS, **AT_ONCE}[name]
    heard, expected = "", list[str]()
    for line in script.strip().splitlines():
        mark, said = line.strip()[:3], line.strip()[3:]
        if mark == "<< ":
            expected += said.split("; ")
            continue
        if heard:
            yield heard, expected
        heard, expected = said, []
    yield heard, expected


# Without anything behind it


@pytest.mark.parametrize(("name", "bytewise"), SCRIPTS)
def test_conversations(name: str, bytewise: bool) -> None:
    play = Play(bytewise)
    for heard, expected in lines(name):
        play.hear(heard)
        assert play.take() == expected, f"behind {heard}"


def test_every_state_can_be_reached_and_ends() -> None:
    assert {after for after, _ in TABLE.values()} | {State.NEW} == set(State)
    assert {event for _, event in TABLE} == set(Event)
    for state in set(State) - {State.CLOSED}:
        for event in (Event.GONE, Event.DRAIN, Event.SUPERSEDE, Event.BROKEN):
            assert (state, event) in TABLE


@pytest.mark.parametrize("kind", [Connection, RelayedConnection, FrontedConnection])
def test_whatever_is_to_be_done_is_done_by_the_connection_s_own(kind: type[Connection]) -> None:
    assert kind.steps.keys() == TABLE.keys()
    for key, (after, do) in kind.steps.items():
        assert (after, do.__name__) == TABLE[key]
        assert do is getattr(kind, do.__name__)


def test_who_ended_the_stream_may_wait_for_a_moment() -> None:
    talk = Conversation()
    assert not talk.doubts(100.0)
    assert not talk.doubts(100.0 + DOUBT / 2)
    assert talk.doubts(100.0 + DOUBT)


REQUESTS = {
    "GET /a HTTP/1.1|Host: site.test||": "200 a",
    "||GET /none HTTP/1.1|Host: site.test||": "404",
    "POST /a HTTP/1.1|Host: site.test|Content-Length: 5||hello": "200 a",
    "POST /a HTTP/1.1|Host: site.test|Transfer-Encoding: chunked||3|abc|0||": "200 a",
    "GET /big HTTP/1.1|Host: site.test||": "200 big",
}


@given(st.lists(st.sampled_from(sorted(REQUESTS)), max_size=6), st.data())
def test_whole_conversations_come_out_the_same_however_they_are_cut(said: list[str], data: st.DataObject) -> None:
    whole, play, places = octets("".join(said)), Play(), 0
    while places < len(whole):
        size = data.draw(st.integers(1, 60))
        play.kernel += whole[places : places + size]
        play.room = data.draw(st.booleans())
        play.hear("")
        places += size
    play.hear("reads again")
    assert play.take() == [REQUESTS[one] for one in said]
    assert play.talk.state is (State.IDLE if said else State.NEW)


HAPPENINGS = st.sampled_from(
    [
        *REQUESTS,
        "GET /program HTTP/1.1|Host: site.test||",
        "POST /program HTTP/1.1|Host: site.test|Content-Length: 5||hel",
        "POST /early HTTP/1.1|Host: site.test|Content-Length: 5||hel",
        "GET /stream HTTP/1.1|Host: site.test||",
        "GET /tunnel HTTP/1.1|Host: site.test|Connection: Upgrade|Upgrade: x||",
        "GET /bug HTTP/1.1|Host: site.test||",
        "GET /a HTTP/1.1|Host: other.test||",
        "lo",
        "|",
        "GET",
        "done",
        "stop",
        "newer worker",
        "stops reading",
        "reads again",
        "3 seconds",
        "30 seconds",
        "EOF",
        "gone",
    ]
)


@given(st.lists(HAPPENINGS, max_size=12), st.booleans())
def test_whatever_happens_is_expected_and_ends_once(heard: list[str], bytewise: bool) -> None:
    """Behind the end nothing goes out; and once the worker stops, nothing but what was begun."""
    play, stopped = Play(bytewise), False
    for one in heard:
        if play.talk.state is State.CLOSED:
            break
        idle = play.talk.state is State.IDLE
        play.hear(one)
        stopped = stopped or one in ("stop", "newer worker")
        assert not (stopped and idle and play.talk.state is State.IDLE)
    if play.talk.state is not State.CLOSED:
        play.hear("gone")
    assert play.words.count("closed") == 1
    assert play.words[-1] == "closed"


# The real one


class Client:
    """A client of a worker in this process."""

    def __init__(self, pair: Pair, *, bytewise: bool) -> None:
        ours, self.sock = socket.socketpair()
        self.sock.setblocking(False)
        self.bytewise = bytewise
        self.pair = pair
        self.reads = True
        self.received = b""
        self.ended = self.tunnelled = False
        self.go: list[asyncio.Future[None]] = []
        install(pair, self.go)
        self.connection = Connection(pair.worker, ours, pair.handover())
        self.connection.begin()

    async def hear(self, line: str) -> None:
        """Have one thing happen."""
        connection, talk = self.connection, self.connection.talk
        if line == "done":
            for one in self.go:
                one.set_result(None)
            self.go.clear()
        elif line == "stop":
            connection.close_if_idle()
        elif line == "newer worker":
            connection.happens(Event.SUPERSEDE)
        elif line == "stops reading":
            self.reads = False
        elif line == "reads again":
            self.reads = True
        elif line.endswith(" seconds"):
            seconds = float(line.split()[0])
            talk.waiting_since -= seconds
            talk.first_byte -= seconds if talk.first_byte else 0.0
            connection.check_time()
        else:
            said, end, _ = line.partition("EOF")
            await self.say(octets(said))
            if end:
                self.sock.shutdown(socket.SHUT_WR)
        await self.settle()

    async def say(self, data: bytes) -> None:
        with suppress(BrokenPipeError):
            for part in [bytes((byte,)) for byte in data] if self.bytewise else [data] * bool(data):
                await self.pair.loop.sock_sendall(self.sock, part)
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Let the worker go on until nothing comes any more."""
        quiet = 0
        while quiet < QUIET:
            quiet += 1
            await asyncio.sleep(0)
            with suppress(BlockingIOError):
                while self.reads and not self.ended:
                    try:
                        data = self.sock.recv(1 << 20)
                    except ConnectionError:
                        data = b""
                    self.received, self.ended, quiet = self.received + data, not data, 0

    def take(self) -> list[str]:
        """What has come since the last time."""
        words = []
        while word := self.next_word():
            words.append(word)
        if self.ended and self.received is not None:
            words += ["cut"] * bool(self.received) + ["closed"]
            self.received = b""
            self.ended = False
            self.reads = False
        return words

    def next_word(self) -> str:
        if self.tunnelled:
            data, self.received = self.received, b""
            return f"={data.decode()}" if data else ""
        head, found, rest = self.received.partition(b"\r\n\r\n")
        if not found:
            return ""
        status = head.split()[1].decode()
        close = " close" if b"\r\nConnection: close" in head else ""
        if status in ("100", "101"):
            self.received, self.tunnelled = rest, status == "101"
            return status
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        if length is not None:
            size = int(length[1])
            body, left = rest[:size], rest[size:]
            if len(body) < size:
                return ""
        elif b"\r\nTransfer-Encoding: chunked" in head:
            match = re.match(rb"5\r\n(first)\r\n0\r\n\r\n", rest)
            if match is None:
                return ""
            body, left = match[1], rest[match.end() :]
        elif self.ended:
            body, left = rest, b""
        else:
            return ""
        self.received = left
        if int(status) >= 400:
            return status + close
        return f"{status} {'big' if body == BIG else body.decode()}{close}"


def install(pair: Pair, go: list[asyncio.Future[None]]) -> None:
    """Programs that wait until they are told."""

    async def told() -> None:
        go.append(pair.loop.create_future())
        await go[-1]

    @pair.program("/program")
    async def program(_: Request, body: RequestBody) -> Response:
        content = b"".join((await body.read()).pieces())
        await told()
        return Response(200, body=content or b"done")

    @pair.program("/early")
    async def early(_: Request, __: RequestBody) -> Response:
        await told()
        return Response(200, body=b"early")

    class Late:
        length: int | None = None

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"first"
            await told()

        def close(self) -> None:
            """Nothing is held."""

    @pair.program("/stream")
    async def stream(_: Request, __: RequestBody) -> Response:
        return Response(200, body=Late())

    async def echo(sock: socket.SocketType, data: bytes) -> None:
        assert isinstance(sock, socket.socket)
        with suppress(Exception):
            while True:
                await pair.loop.sock_sendall(sock, data)
                data = await receive(pair.loop, sock, 60.0)

    @pair.program("/tunnel")
    async def tunnel(_: Request, __: RequestBody) -> Response:
        return Response(101, tunnel=echo)

    @pair.program("/bug")
    async def bug(_: Request, __: RequestBody) -> Response:
        raise ZeroDivisionError

    pair.file("a", b"a")
    pair.file("big", BIG)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path, SAID)
    yield pair
    pair.close()


def hold(pair: Pair, name: str, *, bytewise: bool, unsaid: str = "-") -> None:
    """Hold a conversation with a real worker. What is `unsaid` does not matter."""

    async def work() -> None:
        client = Client(pair, bytewise=bytewise)
        with client.sock:
            for heard, expected in lines(name):
                await client.hear(heard)
                came = [word.replace(unsaid, "") for word in client.take()]
                assert came == [word.replace(unsaid, "") for word in expected], (
                    f"behind {heard}; {client.connection.talk}"
                )

    pair.run(work(), bugs="/bug" in CONVERSATIONS.get(name, ""))


@pytest.mark.parametrize(("name", "bytewise"), SCRIPTS)
def test_the_same_over_a_pair_of_sockets(worker: Pair, name: str, bytewise: bool) -> None:
    hold(worker, name, bytewise=bytewise)


# Requests that another identity answers

THERE = Assignment("there")
# What is waited for by the connection is the relay's there, on the loop's own clock.
NOT_RELAYED = {"a client that does not read", "a stop while an answer waits for room"}


@pytest.fixture
def relaying(worker: Pair, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """By their names, all requests are another identity's: its worker is this one, too, behind a pair."""

    async def obtain(_: object) -> RelayStream:
        ours, theirs = socket.socketpair()
        RelayedConnection(worker.worker, theirs, replace(worker.handover(), relay=True)).begin()
        return RelayStream(worker.loop, ours)

    worker.worker.relays.pool = Pool(worker.loop, obtain)
    worker.service.site.fixed = False
    worker.service.site.is_mine = lambda assignment: assignment is not THERE
    monkeypatch.setattr("ownhost.processes.worker.client.resolve", lambda _: THERE)
    yield worker
    worker.worker.relays.pool.close()


@pytest.mark.parametrize(("name", "bytewise"), [one for one in SCRIPTS if one[0] not in {*NOT_RELAYED, *AT_ONCE}])
def test_the_same_where_another_identity_answers(relaying: Pair, name: str, bytewise: bool) -> None:
    # Who answers may not know that the client's worker stops: there is no telling by the answer.
    hold(relaying, name, bytewise=bytewise, unsaid=" close" if "worker" in name or "stop" in name else "-")


# What a conversation does not show


def test_an_event_that_a_state_does_not_expect_is_said_once(worker: Pair) -> None:
    """It costs that connection, and nobody else."""

    async def work() -> None:
        client, other = Client(worker, bytewise=False), Client(worker, bytewise=False)
        with client.sock, other.sock:
            await client.hear(A[3:])
            client.connection.happens(Event.SWITCHED)
            await client.settle()
            assert client.take() == ["200 a", "closed"]
            await other.hear(A[3:])
            assert other.take() == ["200 a"]

    worker.run(work(), bugs=1)
    assert "SWITCHED for <a worker's client in IDLE, 0 bytes unread>" in worker.errors()


def test_who_has_left_is_not_answered(worker: Pair) -> None:
    """A program's work ends once it is beyond doubt that nobody waits for it."""

    async def work() -> None:
        client = Client(worker, bytewise=False)
        await client.hear("GET /program HTTP/1.1|Host: site.test||")
        client.sock.close()
        client.connection.look_at_client()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert client.connection.talk.state is State.WORKING
        client.connection.talk.ended_since -= DOUBT
        client.connection.look_at_client()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert client.connection.closed

    worker.run(work())
    assert [line.split()[3] for line in worker.accesses()] == ["499"]


@pytest.mark.parametrize("path", ["/a", "/program"])
def test_a_body_that_takes_too_long(worker: Pair, path: str) -> None:
    worker.service.read_timeout = ReadTimeout(body=Stage(first=-1))  # its time is up as soon as it is waited for

    async def work() -> None:
        client = Client(worker, bytewise=False)
        with client.sock:
            await client.hear(f"POST {path} HTTP/1.1|Host: site.test|Content-Length: 5||he")
            await client.hear("llo")
            assert client.take() == ["408 close", "closed"]

    worker.run(work())


@pytest.mark.parametrize(("asked", "said"), [("GET /big", ""), ("POST /program", "Too many open files")])
def test_descriptors_that_run_out_cost_an_answer_and_no_connection(worker: Pair, asked: str, said: str) -> None:
    """What needs a file gets an error for an answer, and so does a body that does not fit into memory."""

    async def work() -> None:
        client, other = Client(worker, bytewise=False), Client(worker, bytewise=False)
        body = "x" * 2_000_000 if asked.startswith("POST") else ""
        length = f"Content-Length: {len(body)}|" if body else ""
        with client.sock, other.sock:
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            try:
                await client.hear(f"{asked} HTTP/1.1|Host: site.test|{length}|{body}")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            await client.hear("done")
            assert [word.split()[0] for word in client.take()][:1] == ["500"]
            await other.hear("GET /big HTTP/1.1|Host: site.test||")
            assert other.take() == ["200 big"]

    worker.run(work())
    assert said in worker.errors()
