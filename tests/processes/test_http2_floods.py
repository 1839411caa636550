"""What hostile HTTP/2 clients do, against a worker's connection: it ends, or costs no more than is bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from h2_pair import Pair, Peer
from ownhost.http.message import RequestBody, Response
from ownhost.processes.worker import h2_budget, h2_conversation
from ownhost.processes.worker.h2_conversation import State
from ownhost.request.request import Request
from waiting import comes, soon, turns

pytestmark = pytest.mark.slow  # floods are many frames

FIELDS = [(":method", "GET"), (":scheme", "https"), (":path", "/wait"), (":authority", "site.test")]


@pytest.fixture
def pair(make: Callable[[str], Pair]) -> Pair:
    return make("Timeout 1\nKeepAliveTimeout 1")


class Waiting:
    """A program that never answers, and how many of it there are."""

    def __init__(self, pair: Pair) -> None:
        self.begun = self.now = self.most = 0
        pair.program("/wait")(self.run)

    async def run(self, _: Request, body: RequestBody) -> Response:
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.Event().wait()  # until it is ended
        finally:
            self.now -= 1
        return Response(200)


def headers(stream: int, *, ended: bool = True) -> bytes:
    """A request for /wait, without a reference to earlier ones."""
    block = Encoder().encode([(name.encode(), value.encode()) for name, value in FIELDS])
    flags = ["END_HEADERS", "END_STREAM"] if ended else ["END_HEADERS"]
    return HeadersFrame(stream, data=block, flags=flags).serialize()


async def flood(peer: Peer, frame: Callable[[int], bytes], most: int = 100_000) -> None:
    """Send frames for as long as the server takes them, whatever it says to that."""
    for start in range(0, most, 100):
        await peer.send(b"".join(map(frame, range(start, start + 100))))
        if peer.connection.talk.is_closed:
            break


async def begin(pair: Pair) -> Peer:
    """A connection that has had an answer."""
    peer = pair.connect()
    assert (await peer.get("/a.txt")).status == 200
    return peer


HARMLESS: dict[str, Callable[[int], Frame]] = {
    "ping": lambda number: PingFrame(0, opaque_data=b"12345678"),
    "ping ack": lambda number: PingFrame(0, opaque_data=b"12345678", flags=["ACK"]),
    "settings": lambda number: SettingsFrame(0, settings={4: 1_000 + number}),
    "empty settings": lambda number: SettingsFrame(0),
    "priority": lambda number: PriorityFrame(2 * number + 101, depends_on=0),
    "window update": lambda number: WindowUpdateFrame(0, window_increment=1),
    "window update of a stream that is over": lambda number: WindowUpdateFrame(1, window_increment=1),
    "reset of a stream that is over": lambda number: RstStreamFrame(1, error_code=8),
    "data of a stream that is over": lambda number: DataFrame(1),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_frames_to_no_purpose(pair: Pair, name: str) -> None:
    """They end the connection, with a word about why, long before they are a burden."""

    async def work() -> None:
        peer = await begin(pair)
        await flood(peer, lambda number: HARMLESS[name](number).serialize())
        assert peer.connection.talk.is_closed
        peer.sock.close()
        await soon(lambda: not pair.worker.connections)

    pair.run(work())


def test_a_client_that_floods_is_not_waited_for(pair: Pair) -> None:
    """It goes on sending, and is dropped at the next look: no two seconds, and no megabytes."""

    async def work() -> None:
        peer = await begin(pair)
        await flood(peer, lambda number: HARMLESS["ping"](number).serialize())
        assert peer.connection.talk.is_closed
        began = asyncio.get_running_loop().time()
        with contextlib.suppress(OSError):
            while pair.worker.lingering:
                await peer.send(bytes(100_000))
                await asyncio.sleep(0)
        assert asyncio.get_running_loop().time() - began < 1

    pair.run(work())


def test_unknown_frames(pair: Pair) -> None:
    async def work() -> None:
        peer = await begin(pair)
        await flood(peer, lambda number: b"\x00\x00\x00\xfa\x00\x00\x00\x00\x00")
        assert peer.connection.talk.is_closed

    pair.run(work())


def test_empty_data(pair: Pair) -> None:
    waiting = Waiting(pair)

    async def work() -> None:
        peer = await begin(pair)
        await peer.send(headers(3, ended=False))
        await flood(peer, lambda number: DataFrame(3, data=b"").serialize())
        assert peer.connection.talk.is_closed
        await turns()
        assert (waiting.begun, waiting.now) == (1, 0)

    pair.run(work())


def test_padding_is_no_content(pair: Pair) -> None:
    async def work() -> None:
        peer = await begin(pair)
        await peer.send(headers(3, ended=False))
        await flood(peer, lambda number: DataFrame(3, data=b"", flags=["PADDED"], pad_length=20).serialize())
        assert peer.connection.talk.is_closed

    pair.run(work())


def test_rapid_reset(pair: Pair) -> None:
    """CVE-2023-44487: whoever asks and takes it back never has more at work than the limit says, and not for long."""
    waiting = Waiting(pair)

    async def work() -> None:
        peer = await begin(pair)
        await flood(peer, lambda n: headers(2 * n + 3) + RstStreamFrame(2 * n + 3, error_code=8).serialize())
        assert peer.connection.talk.is_closed
        await turns()
        assert waiting.begun <= h2_budget.RESETS[0] + 1
        assert waiting.most <= 100
        assert waiting.now == 0

    pair.run(work())


@pytest.mark.parametrize(
    "provocation",
    [
        lambda stream: WindowUpdateFrame(stream, window_increment=2**31 - 1),
        lambda stream: DataFrame(stream, data=b"x" * 100),
        lambda stream: HeadersFrame(stream, data=b"\x82", flags=["END_HEADERS"]),
        lambda stream: PriorityFrame(stream, depends_on=stream),
    ],
    ids=["overflow", "data behind the end", "a second head", "depends on itself"],
)
def test_resets_that_the_server_is_made_to_send(pair: Pair, provocation: Callable[[int], Frame]) -> None:
    """CVE-2025-8671: to break a rule on a stream is to reset it."""
    waiting = Waiting(pair)

    async def work() -> None:
        peer = await begin(pair)
        await flood(peer, lambda number: headers(2 * number + 3) + provocation(2 * number + 3).serialize())
        assert peer.connection.talk.is_closed
        await turns()
        assert waiting.begun <= h2_budget.RESETS[0] + 1
        assert waiting.most <= 100
        assert waiting.now == 0

    pair.run(work())


def test_malformed_requests_are_not_taken_for_ever(pair: Pair) -> None:
    block = Encoder().encode([(b":method", b"GET"), (b"connection", b"close")])

    async def work() -> None:
        peer = await begin(pair)
        await flood(
            peer,
            lambda number: HeadersFrame(2 * number + 3, data=block, flags=["END_HEADERS", "END_STREAM"]).serialize(),
        )
        assert peer.connection.talk.is_closed

    pair.run(work())


@pytest.mark.parametrize("size", [0, 1, 16_384])
def test_continuation_flood(pair: Pair, size: int) -> None:
    """CVE-2024-27316: a field section that never ends."""

    async def work() -> None:
        peer = await begin(pair)
        await peer.send(HeadersFrame(3, data=b"\x82"))
        await flood(peer, lambda number: ContinuationFrame(3, data=b"\x00" * size).serialize())
        assert peer.connection.talk.is_closed
        assert peer.connection.talk.section_size <= h2_budget.MAX_HEADER_FRAMES * (size + 9) + 1

    pair.run(work())


def test_a_small_block_that_becomes_large(pair: Pair) -> None:
    """The HPACK bomb: a large field is put into the table once, and then said a thousand times by its number."""

    async def work() -> None:
        peer = await begin(pair)
        encoder = Encoder()
        bomb = encoder.encode([(b"x", b"a" * 3_900)]) + b"\xbe" * 10_000
        await peer.send(HeadersFrame(3, data=bomb, flags=["END_HEADERS", "END_STREAM"]))
        await peer.until(lambda: peer.lost)
        assert peer.goaway is not None

    pair.run(work())


def test_too_many_streams_are_refused(pair: Pair) -> None:
    waiting = Waiting(pair)

    async def work() -> None:
        peer = await begin(pair)
        await peer.send(b"".join(headers(2 * number + 3) for number in range(130)))
        while waiting.begun < 100:
            await asyncio.sleep(0)
        peer.h2.highest_outbound_stream_id = 2 * 130 + 3
        assert len(peer.connection.talk.streams) == 100
        assert waiting.now == 100
        assert not peer.connection.talk.is_closed

    pair.run(work())
    assert not [line for line in pair.accesses() if "/wait" in line]


def test_what_is_refused_may_be_asked_for_again(pair: Pair) -> None:
    waiting = Waiting(pair)

    async def work() -> None:
        peer = await begin(pair)
        limit = peer.h2.remote_settings
        streams = [peer.ask("/wait") for _ in range(100)]
        limit.max_concurrent_streams = 200
        limit.acknowledge()
        refused = peer.ask("/a.txt")
        assert (await peer.answer(refused)).reset == ErrorCodes.REFUSED_STREAM
        peer.h2.reset_stream(streams[0])
        await peer.send()
        while waiting.now == 100:
            await asyncio.sleep(0)
        assert (await peer.get("/a.txt")).status == 200

    pair.run(work())


def test_whoever_asks_and_never_reads(pair: Pair) -> None:
    """Acknowledgements and answers pile up only so far; then nothing more is read, and Timeout ends it."""

    async def work() -> None:
        peer = pair.connect(buffer=10_000)
        most = 0

        async def measure() -> None:
            nonlocal most
            while not peer.connection.talk.is_closed:
                most = max(most, len(peer.connection.talk.output.waiting))
                await asyncio.sleep(0)

        watch = asyncio.ensure_future(measure())
        peer.h2.increment_flow_control_window(2**30)
        await peer.send()
        number, large = 0, block("/big.bin")
        while not peer.connection.talk.is_closed:
            data = b"".join(
                HeadersFrame(2 * (number + more) + 1, data=large, flags=["END_HEADERS", "END_STREAM"]).serialize()
                for more in range(10)
            )
            number += 10
            sending = asyncio.ensure_future(peer.send(data))
            await soon(lambda: sending.done() or peer.connection.talk.is_closed)  # noqa: B023
            sending.cancel()
        await watch
        assert most <= h2_conversation.STOP_READING + 200_000

    pair.run(work())


def block(path: str) -> bytes:
    fields = [(name, path if name == ":path" else value) for name, value in FIELDS]
    return Encoder().encode([(name.encode(), value.encode()) for name, value in fields])


def test_pings_that_are_never_read(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect(buffer=4_000)
        await peer.send()
        await flood(peer, lambda number: PingFrame(0, opaque_data=b"12345678").serialize())
        assert peer.connection.talk.is_closed

    pair.run(work())


def test_tiny_windows(pair: Pair) -> None:
    """A byte at a time, for as long as the client keeps saying so: it does not get far."""

    async def work() -> None:
        peer = pair.connect()
        peer.h2.update_settings({4: 0})
        stream = peer.ask("/big.bin")
        await peer.send()
        await flood(peer, lambda number: WindowUpdateFrame(stream, window_increment=1).serialize())
        assert peer.connection.talk.is_closed

    pair.run(work())


def test_a_large_table_of_fields_is_not_kept(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        await peer.send(SettingsFrame(0, settings={1: 2**32 - 1}))
        assert (await peer.get("/a.txt")).status == 200  # nor is anything said that a client would stumble over
        assert peer.connection.talk.session.encoder.header_table_size == 4_096
        await peer.send(SettingsFrame(0, settings={1: 0}))
        assert (await peer.get("/a.txt")).status == 200
        assert peer.connection.talk.session.encoder.header_table_size == 0

    pair.run(work())


def test_a_frame_that_is_too_large(pair: Pair) -> None:
    async def work() -> None:
        peer = await begin(pair)
        await peer.send((16_385).to_bytes(3, "big") + bytes(6))
        await peer.until(lambda: peer.lost)
        assert peer.goaway is not None

    pair.run(work())


def test_a_head_that_drips_in(pair: Pair) -> None:
    """Whoever sends a byte now and then does not keep a connection open by that."""

    async def work() -> None:
        peer = await begin(pair)
        for byte in headers(3) * 100:
            await peer.send(bytes((byte,)))
            if await comes(lambda: peer.connection.talk.state is not State.OPEN, 0.1):
                break
        assert peer.connection.talk.state is not State.OPEN

    pair.run(work())


RANDOM = st.lists(
    st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 7), st.binary(max_size=30)).map(
        lambda frame: len(frame[3]).to_bytes(3, "big") + bytes(frame[:2]) + frame[2].to_bytes(4, "big") + frame[3]
    )
    | st.sampled_from([headers(1), headers(3), headers(3, ended=False), headers(5), block("/a.txt")]),
    max_size=20,
)


@given(RANDOM)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
def test_whatever_comes_is_taken_or_ends_the_connection(pair: Pair, frames: list[bytes]) -> None:
    """No frames make for a bug, and whatever was begun is over once the connection is."""
    waiting = Waiting(pair)

    async def work() -> None:
        peer = pair.connect()
        await peer.send(b"".join(frames))
        peer.sock.close()
        while pair.worker.connections:
            await asyncio.sleep(0)
        assert waiting.now == 0

    pair.run(work())
