"""A worker's HTTP/2 connection, with the h2 library as its client."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, PriorityFrame

from h2_pair import Pair, Peer
from ownhost.apps.spool import Flow
from ownhost.http.message import HTTPError, RequestBody, Response
from ownhost.request.request import Request

BIG = os.urandom(1_000_000)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], Pair]]:
    """Makes a worker, by what a virtual host says."""
    made: list[Pair] = []

    def make_one(text: str) -> Pair:
        pair = Pair(tmp_path, text)
        made.append(pair)
        pair.file("a.txt", b"hello")
        pair.file("big.bin", BIG)
        return pair

    yield make_one
    for pair in made:
        pair.close()


@pytest.fixture
def pair(make: Callable[[str], Pair]) -> Pair:
    return make("")


async def echo(_: Request, body: RequestBody) -> Response:
    """A program that says what it was told."""
    content = await body.read()
    return Response(200, [("Content-Type", "text/plain")], b"".join(content.pieces()))


# Answers


def test_files(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        for _ in range(3):
            answer = await peer.get("/a.txt")
            assert (answer.status, answer.body) == (200, b"hello")
            assert answer.headers["content-length"] == "5"
            assert answer.headers["server"].startswith("Ownhost")
            assert answer.headers["date"].endswith("GMT")
        assert (await peer.get("/big.bin")).body == BIG
        assert (await peer.get("/big.bin", ("range", "bytes=999990-"))).body == BIG[-10:]
        assert (await peer.get("/none")).status == 404

    pair.run(work())


def test_answers_without_a_body(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        answer = await peer.get("/a.txt")
        head = await peer.get("/a.txt", method="HEAD")
        assert (head.body, head.headers["content-length"]) == (b"", "5")
        big = await peer.get("/big.bin", method="HEAD")
        assert (big.body, big.headers["content-length"]) == (b"", "1000000")
        same = await peer.get("/a.txt", ("if-none-match", answer.headers["etag"]))
        assert (same.status, same.body, "content-length" in same.headers) == (304, b"", False)
        assert head.ended
        assert same.ended

    pair.run(work())


def test_many_at_once(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        streams = [peer.ask("/big.bin" if number % 10 == 0 else "/a.txt") for number in range(100)]
        for number, stream in enumerate(streams):
            assert (await peer.answer(stream)).body == (BIG if number % 10 == 0 else b"hello")

    pair.run(work())


def test_streams_take_turns(pair: Pair) -> None:
    """A large answer does not hold up a small one that was asked for after it, nor another large one."""

    async def work() -> None:
        peer = pair.connect(buffer=65_536)
        first, second = peer.ask("/big.bin"), peer.ask("/big.bin")
        await peer.until(lambda: len(peer.answers[first].body) > 50_000)
        assert len(peer.answers[second].body) > 20_000
        assert (await peer.get("/a.txt")).body == b"hello"
        assert not peer.answers[first].ended
        assert (await peer.answer(first)).body == (await peer.answer(second)).body == BIG

    pair.run(work())


def test_bytes_one_at_a_time(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/a.txt")
        for byte in peer.h2.data_to_send():
            await peer.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await peer.answer(stream)).body == b"hello"

    pair.run(work())


def test_what_the_rest_of_the_server_sees(make: Callable[[str], Pair]) -> None:
    text = "<If \"%{HTTP2} == 'on' && %{SERVER_PROTOCOL} == 'HTTP/2.0'\">\nErrorDocument 404 spoken\n</If>"
    pair = make(text)

    async def work() -> None:
        assert (await pair.connect().get("/none")).body == b"spoken"

    pair.run(work())


def test_an_access_log(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        await peer.get("/a.txt")
        await peer.get("/none?x")
        await peer.get("/big.bin")

    pair.run(work())
    first, second, third = (line.split() for line in pair.accesses())
    assert first[:5] == ["GET", "/a.txt", "HTTP/2.0", "200", "5"]
    assert first[7:] == ["0", "+", "HTTP/2.0", "-"]
    assert second[:4] == ["GET", "/none?x", "HTTP/2.0", "404"]
    assert second[7:] == ["1", "+", "HTTP/2.0", "text/html"]
    assert third[4] == "1000000"
    assert 1_000_000 + 62 * 9 < int(third[6]) < 1_002_000


# Hosts, and what is not taken


def test_another_host_is_misdirected(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        assert (await peer.get("/a.txt", host="other.test")).status == 421
        assert (await peer.get("/a.txt")).status == 200

    pair.run(work())


def test_refusals_are_answers(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        assert (await peer.get("/" + "a" * 9_000)).status == 414
        assert (await peer.get("/", ("x", "a" * 9_000))).status == 431
        assert (await peer.get("/", *((f"x{number}", "y") for number in range(101)))).status == 431
        assert (await peer.get("/", ("expect", "a miracle"))).status == 417
        assert (await peer.get("/a.txt")).status == 200

    pair.run(work())
    assert [line.split()[3] for line in pair.accesses()] == ["414", "431", "431", "417", "200"]


def test_malformed_requests_end_their_stream_alone(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        for name, value in (
            ("Upper", "x"),
            ("connection", "close"),
            ("x", "a\r\nb"),
            ("te", "gzip"),
            ("content-length", "5"),
        ):
            assert (await peer.get("/a.txt", (name, value))).reset == ErrorCodes.PROTOCOL_ERROR
        assert (await peer.get("/a.txt")).status == 200

    pair.run(work())
    assert len(pair.accesses()) == 1


def test_another_protocol_is_none(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        peer.h2.clear_outbound_data_buffer()
        await peer.send(b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n")
        await peer.until(lambda: False)
        assert peer.goaway is not None

    pair.run(work())


# Bodies


def test_a_body_reaches_a_program(pair: Pair) -> None:
    pair.program("/echo")(echo)

    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/echo", method="POST", end=False)
        await upload(peer, stream, BIG)
        answer = await peer.answer(stream)
        assert (answer.status, answer.body) == (200, BIG)

    pair.run(work())


async def upload(peer: Peer, stream: int, data: bytes) -> None:
    """Send a body as the windows allow."""
    while data:
        await peer.until(lambda: peer.h2.local_flow_control_window(stream) > 0)
        size = min(len(data), peer.h2.local_flow_control_window(stream), 16_384)
        peer.h2.send_data(stream, data[:size], end_stream=size == len(data))
        data = data[size:]
    await peer.send()


@pytest.mark.parametrize(("method", "path", "body"), [("GET", "/a.txt", b"hello"), ("HEAD", "/big.bin", b"")])
def test_a_body_that_nobody_reads(pair: Pair, method: str, path: str, body: bytes) -> None:
    """It is taken and dropped before the answer comes."""

    async def work() -> None:
        peer = pair.connect()
        for _ in range(3):
            stream = peer.ask(path, method=method, end=False)
            await upload(peer, stream, BIG)
            answer = await peer.answer(stream)
            assert (answer.status, answer.body, answer.reset) == (200, body, None)
        assert peer.connection.streams == {}

    pair.run(work())


def test_an_error_does_not_wait_for_the_body(pair: Pair) -> None:
    """What comes yet of it is dropped, and where nothing comes the client is told that it is of no use."""

    async def work() -> None:
        peer = pair.connect()
        sending, silent = (peer.ask("/none", method="POST", end=False) for _ in range(2))
        for stream in (sending, silent):
            answer = await peer.answer(stream)
            assert (answer.status, answer.ended, answer.reset) == (404, True, None)
        await upload(peer, sending, BIG)
        assert peer.answers[sending].reset is None
        await peer.until(lambda: peer.answers[silent].reset == ErrorCodes.NO_ERROR)
        assert (await peer.get("/a.txt")).body == b"hello"
        assert peer.connection.streams == {}

    pair.run(work())


def test_a_body_that_nobody_reads_is_not_asked_for(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/a.txt", ("expect", "100-continue"), method="POST", end=False)
        answer = await peer.answer(stream)
        assert (answer.interim, answer.body) == ([], b"hello")

    pair.run(work())


def test_a_body_that_nobody_reads_is_not_taken_for_ever(make: Callable[[str], Pair]) -> None:
    pair = make("LimitRequestBody 50000")

    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/a.txt", method="POST", end=False)
        for _ in range(4):
            await peer.until(lambda: peer.h2.local_flow_control_window(stream) >= 15_000)
            peer.h2.send_data(stream, b"x" * 15_000)
        assert (await peer.answer(stream)).body == b"hello"

    pair.run(work())


def test_continue(pair: Pair) -> None:
    pair.program("/echo")(echo)

    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/echo", ("expect", "100-continue"), method="POST", end=False)
        answer = peer.answers[stream]
        await peer.until(lambda: answer.interim == [100])
        peer.h2.send_data(stream, b"body", end_stream=True)
        assert (await peer.answer(stream)).body == b"body"

    pair.run(work())


def test_trailers_are_dropped(pair: Pair) -> None:
    pair.program("/echo")(echo)

    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/echo", method="POST", end=False)
        peer.h2.send_data(stream, b"body")
        peer.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)
        assert (await peer.answer(stream)).body == b"body"

    pair.run(work())


def test_limit_request_body(make: Callable[[str], Pair]) -> None:
    pair = make("LimitRequestBody 1000")
    pair.program("/echo")(echo)

    async def work() -> None:
        peer = pair.connect()
        said = peer.ask("/echo", ("content-length", "1001"), method="POST", end=False)
        assert (await peer.answer(said)).status == 413
        unsaid = peer.ask("/echo", method="POST", end=False)
        peer.h2.send_data(unsaid, b"x" * 1_001)
        assert (await peer.answer(unsaid)).status == 413
        fits = peer.ask("/echo", method="POST", end=False)
        peer.h2.send_data(fits, b"x" * 1_000, end_stream=True)
        assert (await peer.answer(fits)).status == 200

    pair.run(work())


def test_a_length_that_is_not_kept_reaches_no_program(pair: Pair) -> None:
    asked: list[Request] = []

    @pair.program("/echo")
    async def program(request: Request, body: RequestBody) -> Response:
        response = await echo(request, body)
        asked.append(request)
        return response

    async def work() -> None:
        peer = pair.connect()
        for length, *frames in (
            ("3", data_frame(b"four", 1)),
            ("5", data_frame(b"four", 1)),
            ("0", data_frame(b"x", 0)),
            ("5", data_frame(b"\x02fourxx", 9)),  # padded
            ("5", data_frame(b"fo", 0), data_frame(b"ur", 1)),
            ("5", data_frame(b"fo", 0), data_frame(b"urteen", 0)),
            ("5", data_frame(b"four", 0), b"\x00\x00\x00\x01\x05\x00\x00\x00\x00"),  # trailers
        ):
            stream = peer.ask("/echo", ("content-length", length), method="POST", end=False)
            await peer.send()
            await peer.send(b"".join(frame[:5] + stream.to_bytes(4, "big") + frame[9:] for frame in frames))
            assert (await peer.answer(stream)).reset == ErrorCodes.PROTOCOL_ERROR
        stream = peer.ask("/echo", ("content-length", "4"), method="POST", end=False)
        await peer.send()
        await peer.send((data_frame(b"\x02fourxx", 9))[:5] + stream.to_bytes(4, "big") + b"\x02fourxx")
        assert (await peer.answer(stream)).body == b"four"
        asked.pop()

    pair.run(work())
    assert asked == []


def data_frame(data: bytes, flags: int) -> bytes:
    """A DATA frame of no stream yet, whatever h2 would say to that."""
    return len(data).to_bytes(3, "big") + bytes((0, flags)) + bytes(4) + data


# Programs


def streamed(body: Flow, *headers: tuple[str, str]) -> Response:
    return Response(200, list(headers), body)


def test_a_program_answers_as_it_goes(pair: Pair) -> None:
    flow = Flow()

    @pair.program("/slow")
    async def _(request: Request, body: RequestBody) -> Response:
        return streamed(flow)

    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/slow")
        answer = peer.answers[stream]
        await peer.until(lambda: answer.status == 200)
        for piece in (b"one", b"two" * 100_000):
            await flow.put(piece)
            await peer.until(lambda piece=piece: answer.body.endswith(piece))  # type: ignore[misc]
            assert (await peer.get("/a.txt")).body == b"hello"
        flow.end()
        assert (await peer.answer(stream)).body == b"one" + b"two" * 100_000

    pair.run(work())


def test_programs_run_side_by_side(pair: Pair) -> None:
    arrived: list[Request] = []
    all_there = asyncio.Event()

    @pair.program("/wait")
    async def _(request: Request, body: RequestBody) -> Response:
        arrived.append(request)
        if len(arrived) == 20:
            all_there.set()
        await all_there.wait()
        return Response(200, [], b"done")

    async def work() -> None:
        peer = pair.connect()
        streams = [peer.ask("/wait") for _ in range(20)]
        assert [(await peer.answer(stream)).body for stream in streams] == [b"done"] * 20

    pair.run(work())


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_leaves_ends_its_program(pair: Pair, how: str) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @pair.program("/endless")
    async def _(request: Request, body: RequestBody) -> Response:
        begun.set()
        try:
            await asyncio.sleep(1_000)
        finally:
            ended.set()
        return Response(200)

    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/endless")
        await peer.send()
        await begun.wait()
        if how == "reset":
            peer.h2.reset_stream(stream, ErrorCodes.CANCEL)
            await peer.send()
        else:
            peer.sock.close()
        await ended.wait()
        await asyncio.sleep(0)
        assert peer.connection.streams == {}
        if how == "reset":
            assert (await peer.get("/a.txt")).body == b"hello"

    pair.run(work())
    assert pair.accesses()[0].split()[3] == "499"


def test_a_program_that_goes_on_though_its_client_left(pair: Pair) -> None:
    begun = asyncio.Event()

    @pair.program("/stubborn")
    async def _(request: Request, body: RequestBody) -> Response:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1_000)
        return Response(200, [], b"done")

    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/stubborn")
        await peer.send()
        await begun.wait()
        peer.h2.reset_stream(stream)
        assert (await peer.get("/a.txt")).body == b"hello"
        while peer.connection.streams:
            await asyncio.sleep(0)

    pair.run(work())


def test_a_reset_ends_a_stream_of_content(pair: Pair) -> None:
    flow = Flow()

    @pair.program("/slow")
    async def _(request: Request, body: RequestBody) -> Response:
        return streamed(flow)

    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/slow")
        await peer.until(lambda: peer.answers[stream].status == 200)
        peer.h2.reset_stream(stream)
        await peer.send()
        while not flow.abandoned:
            await asyncio.sleep(0)

    pair.run(work())


def test_programs_that_fail(pair: Pair) -> None:
    short, broken = Flow(length=10), Flow()

    @pair.program("/short")
    async def _(request: Request, body: RequestBody) -> Response:
        await short.put(b"12345")
        short.end()
        return streamed(short)

    @pair.program("/broken")
    async def _(request: Request, body: RequestBody) -> Response:
        await broken.put(b"12345")
        broken.end(ConnectionError("gone"))
        return streamed(broken)

    @pair.program("/refused")
    async def _(request: Request, body: RequestBody) -> Response:
        raise HTTPError(502, "no backend")

    @pair.program("/switch")
    async def _(request: Request, body: RequestBody) -> Response:
        async def tunnel(*_: object) -> None: ...

        return Response(101, [("Upgrade", "x")], tunnel=tunnel)

    async def work() -> None:
        peer = pair.connect()
        for path in ("/short", "/broken"):
            answer = await peer.get(path)
            assert (answer.ended, answer.reset) == (False, ErrorCodes.INTERNAL_ERROR)
        assert (await peer.get("/refused")).status == 502
        assert (await peer.get("/switch")).status == 502

    pair.run(work())


def test_a_program_of_known_length_ends_with_it(pair: Pair) -> None:
    @pair.program("/exact")
    async def _(request: Request, body: RequestBody) -> Response:
        flow = Flow(length=5)
        await flow.put(b"1234567890")  # and never ends
        return streamed(flow)

    async def work() -> None:
        answer = await pair.connect().get("/exact")
        assert (answer.headers["content-length"], answer.body) == ("5", b"12345")

    pair.run(work())


def test_a_program_is_not_held_in_memory_for_a_slow_client(pair: Pair) -> None:
    taken = 0

    class Endless:
        length = None

        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal taken
            while True:
                taken += 10_000
                yield b"x" * 10_000

        def close(self) -> None: ...

    @pair.program("/endless")
    async def _(request: Request, body: RequestBody) -> Response:
        return Response(200, [], Endless())

    async def work() -> None:
        peer = pair.connect()
        peer.acknowledges = False
        stream = peer.ask("/endless")
        answer = peer.answers[stream]
        await peer.until(lambda: len(answer.body) == 65_535)
        await asyncio.sleep(0.05)
        assert taken <= 65_535 + 65_536 + 20_000
        peer.h2.reset_stream(stream)
        await peer.send()

    pair.run(work())


# Leaving


def test_a_client_that_says_goodbye_gets_its_answers(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/big.bin")
        await peer.send(GoAwayFrame(0))
        assert (await peer.answer(stream)).body == BIG
        await peer.until(lambda: peer.lost)

    pair.run(work())


def test_a_stop_finishes_what_was_begun(pair: Pair) -> None:
    go_on, begun = asyncio.Event(), asyncio.Event()

    @pair.program("/wait")
    async def _(request: Request, body: RequestBody) -> Response:
        begun.set()
        await go_on.wait()
        return Response(200, [], b"done")

    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/wait")
        await peer.send()
        await begun.wait()
        peer.connection.close_if_idle()
        late = peer.ask("/a.txt")
        assert (await peer.answer(late)).reset == ErrorCodes.REFUSED_STREAM
        assert peer.goaway == (stream, ErrorCodes.NO_ERROR)
        go_on.set()
        assert (await peer.answer(stream)).body == b"done"

    pair.run(work())


def test_an_idle_connection_is_closed(make: Callable[[str], Pair]) -> None:
    pair = make("KeepAliveTimeout 50ms")

    async def work() -> None:
        peer = pair.connect()
        await peer.get("/a.txt")
        await peer.until(lambda: peer.goaway is not None)
        assert peer.goaway == (1, ErrorCodes.NO_ERROR)
        peer.sock.close()
        while pair.worker.connections:
            await asyncio.sleep(0)

    pair.run(work())


def test_a_connection_without_a_request_is_closed(make: Callable[[str], Pair]) -> None:
    pair = make("Timeout 1")

    async def work() -> None:
        peer = pair.connect()
        await peer.until(lambda: peer.goaway is not None)

    pair.run(work())


def test_a_body_that_does_not_come_ends_its_stream(make: Callable[[str], Pair]) -> None:
    pair = make("Timeout 1")
    pair.program("/echo")(echo)

    async def work() -> None:
        peer = pair.connect()
        stream = peer.ask("/echo", method="POST", end=False)
        assert (await peer.answer(stream)).reset == ErrorCodes.CANCEL
        assert (await peer.get("/a.txt")).status == 200

    pair.run(work())


@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_takes_nothing_is_given_up(make: Callable[[str], Pair], reads: bool) -> None:
    """Its windows stay closed, or it does not read at all."""
    pair = make("Timeout 1")

    async def work() -> None:
        peer = pair.connect(buffer=20_000)
        peer.acknowledges = False
        streams = [peer.ask("/big.bin") for _ in range(10)]
        if not reads:
            peer.h2.increment_flow_control_window(2**30)
            for stream in streams:
                peer.h2.increment_flow_control_window(2**30, stream)
        await peer.send()
        if reads:
            for stream in streams:
                assert (await peer.answer(stream)).reset == ErrorCodes.CANCEL
        else:
            while pair.worker.connections:
                assert len(peer.connection.output.waiting) <= 200_000
                await asyncio.sleep(0.05)

    pair.run(work())


def test_priorities_are_harmless(pair: Pair) -> None:
    async def work() -> None:
        peer = pair.connect()
        await peer.send(PriorityFrame(7, depends_on=3, stream_weight=200))
        update = b"\x00\x00\x07\x10\x00\x00\x00\x00\x00" + b"\x00\x00\x00\x01u=1"
        await peer.send(update)
        assert (await peer.get("/a.txt", ("priority", "u=0, i"))).body == b"hello"

    pair.run(work())


def test_clients_are_counted_once(make: Callable[[str], Pair]) -> None:
    pair = make("")

    class Counted:
        entered = left = 0

        def enter(self, most: int) -> bool:
            self.entered += 1
            return self.entered <= most

        def leave(self) -> None:
            self.left += 1

    counted = Counted()
    pair.service.clients = counted  # type: ignore[assignment]
    pair.service.max_clients = 1

    async def work() -> None:
        first, second = pair.connect(), pair.connect()
        assert {(await first.get("/a.txt")).status for _ in range(5)} == {200}
        assert (await second.get("/a.txt")).status == 503
        first.connection.close()
        assert counted.left == 1

    pair.run(work())
