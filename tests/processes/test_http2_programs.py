"""Programs that answer over HTTP/2: as they go, side by side, for clients that leave, and failing ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from h2.errors import ErrorCodes

from h2_pair import Pair
from ownhost.apps.spool import Flow
from ownhost.http.message import HTTPError, RequestBody, Response
from ownhost.request.request import Request
from waiting import turns


def streamed(body: Flow, *headers: tuple[str, str]) -> Response:
    return Response(200, list(headers), body)


@pytest.fixture
def flow(pair: Pair) -> Flow:
    """What the program at /slow answers with, as it comes."""
    content = Flow()

    @pair.program("/slow")
    async def _(request: Request, body: RequestBody) -> Response:
        return streamed(content)

    return content


def test_a_program_answers_as_it_goes(pair: Pair, flow: Flow) -> None:
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


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_leaves_ends_its_program(pair: Pair, how: str) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @pair.program("/endless")
    async def _(request: Request, body: RequestBody) -> Response:
        begun.set()
        try:
            await asyncio.Event().wait()
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
        assert peer.connection.talk.streams == {}
        if how == "reset":
            assert (await peer.get("/a.txt")).body == b"hello"

    pair.run(work())
    assert pair.accesses()[0].split()[3] == "499"


def test_a_reset_ends_a_stream_of_content(pair: Pair, flow: Flow) -> None:
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
        length: int | None = None

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
        await turns(100)
        assert taken <= 65_535 + 65_536 + 20_000
        peer.h2.reset_stream(stream)
        await peer.send()

    pair.run(work())
