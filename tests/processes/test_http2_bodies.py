"""What clients of HTTP/2 send with their requests: to programs, to nobody, too long, too slow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from h2_pair import BIG, Pair, Peer, echo


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
