"""What clients of HTTP/2 send with their requests: to programs, to nobody, too long, too slow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes

from h2_pair import BIG, Pair, Peer, echo
from ownhost.http.message import RequestBody, Response
from ownhost.request.request import Request


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
        assert peer.connection.talk.streams == {}

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
        assert peer.connection.talk.streams == {}

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
        assert (await peer.answer(stream)).status == 413

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
