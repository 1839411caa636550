"""What waits for slow clients and for programs: in order, whole, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.apps import spooling
from ownhost.apps.spool import MEMORY, Flow, Spool
from ownhost.apps.spooling import SPOOLING, Spooling
from ownhost.http.message import HTTPError

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _numbers() -> Iterator[None]:
    spooling.begin(Spooling(most_of_answer=2 * MIB, most=3 * MIB))
    yield
    assert SPOOLING.used == 0, "something is counted that nobody keeps any more"
    spooling.begin(Spooling())


async def put_all(flow: Flow, pieces: list[bytes]) -> int:
    """Put pieces in until one waits. How many went in."""
    for count, piece in enumerate(pieces):
        try:
            async with asyncio.timeout(0.05):
                assert await flow.put(piece)
        except TimeoutError:
            return count
    return len(pieces)


def test_a_program_waits_once_so_much_of_its_answer_does() -> None:
    async def work() -> None:
        flow = Flow()
        pieces = [bytes([n % 256]) * 65_536 for n in range(100)]
        taken = await put_all(flow, pieces)
        assert taken == 2 * MIB // 65_536
        assert SPOOLING.used == 2 * MIB - MEMORY
        reader = flow.__aiter__()
        got = [await anext(reader) for _ in range(taken)]
        rest = asyncio.create_task(put_all(flow, pieces[taken:]))
        while len(got) < len(pieces):
            got.append(await anext(reader))
        assert await rest == len(pieces) - taken
        assert got == pieces
        flow.close()

    asyncio.run(work())


def test_where_a_worker_keeps_too_much_each_answer_has_what_fits_into_memory() -> None:
    async def work() -> None:
        flows = [Flow() for _ in range(4)]
        taken = [await put_all(flow, [bytes(65_536)] * 100) for flow in flows]
        assert taken[0] == 2 * MIB // 65_536
        assert taken[-1] == MEMORY // 65_536
        assert SPOOLING.used <= 3 * MIB
        for flow in flows:
            flow.close()
        assert not await flows[0].put(b"x"), "nobody reads it"

    asyncio.run(work())


def test_whoever_waits_hears_that_nobody_reads_any_more() -> None:
    async def work() -> None:
        flow = Flow()
        await put_all(flow, [bytes(65_536)] * 100)
        waiting = asyncio.create_task(flow.put(bytes(65_536)))
        await asyncio.sleep(0)
        flow.close()
        assert not await waiting

    asyncio.run(work())


@given(st.lists(st.integers(0, 400_000), max_size=20), st.lists(st.booleans(), max_size=60))
def test_nothing_is_lost_or_out_of_order(sizes: list[int], reads: list[bool]) -> None:
    """Whoever is quicker, and whatever goes through memory or file."""

    async def work() -> None:
        flow = Flow()
        pieces = [bytes([1 + n % 255]) * size for n, size in enumerate(sizes)]

        async def write() -> None:
            for piece in pieces:
                assert await flow.put(piece)
            flow.end()

        writer = asyncio.create_task(write())
        got = []
        turns = iter(reads)
        async for data in flow:
            got.append(data)
            while next(turns, True) is False:
                await asyncio.sleep(0)
        await writer
        assert b"".join(got) == b"".join(pieces)
        flow.close()

    asyncio.run(work())


@given(st.lists(st.binary(max_size=200_000), max_size=12))
def test_a_body_is_what_was_written(parts: list[bytes]) -> None:
    spool = Spool()
    for part in parts:
        spool.write(part)
    whole = b"".join(parts)
    assert spool.size == len(whole)
    assert b"".join(spool.pieces()) == whole
    spool.close()


def fill(spool: Spool, size: int) -> None:
    for _ in range(size // 65_536):
        spool.write(bytes(65_536))


def test_a_body_without_room_is_503_and_one_that_never_has_any_is_413() -> None:
    first, second = Spool(), Spool()
    fill(first, 2 * MIB)
    with pytest.raises(HTTPError) as refused:
        fill(second, 2 * MIB)
    assert refused.value.status == 503
    assert ("Retry-After", "10") in refused.value.headers
    second.close()
    with pytest.raises(HTTPError) as refused:
        fill(first, 2 * MIB)
    assert refused.value.status == 413
    first.close()
