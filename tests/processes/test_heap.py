"""Where objects lie: what is moved does what it did, and what is given back was nothing."""

from __future__ import annotations

import asyncio
import mmap
import struct
from collections.abc import Callable
from pathlib import Path

import uvloop

from ownhost.processes import heap

PRESENT = 1 << 63  # of an entry of /proc/PID/pagemap


def squares(most: int) -> list[int]:
    return [square(number) for number in range(most)]


def square(number: int) -> int:
    return number * number


def adder(more: int) -> Callable[[int], int]:
    def add(number: int) -> int:
        return number + more

    return add


def cube(number: int) -> int:
    return number**3


def test_it_finds_what_is_executed() -> None:
    found = heap.executed(lambda: squares(3))
    assert {id(squares.__code__), id(square.__code__)} <= found
    assert id(cube.__code__) not in found


def test_code_that_was_executed_is_moved_and_does_what_it_did() -> None:
    add_1, add_2 = adder(1), adder(2)
    before = [one.__code__ for one in (squares, square, cube, add_1)]
    heap.gather(heap.executed(lambda: (squares(3), add_1(1))), ())
    after = [one.__code__ for one in (squares, square, cube, add_1)]
    assert [one is other for one, other in zip(before, after, strict=True)] == [False, False, True, False]
    assert before == after
    assert (squares(4), add_1(1), add_2(1)) == ([0, 1, 4, 9], 2, 3)
    assert add_1.__code__ is add_2.__code__  # as before


def test_a_module_is_moved_whole() -> None:
    before = cube.__code__
    heap.gather((), (__name__,))
    assert cube.__code__ is not before
    assert adder(1).__code__ in adder.__code__.co_consts
    assert adder(2)(3) == 5


def test_pages_of_zeros_are_given_back_and_the_loop_goes_on() -> None:
    loop = uvloop.new_event_loop()
    size = type(loop).__basicsize__
    assert present(id(loop), size) > 60
    heap.give_back_zeros(loop)
    assert present(id(loop), size) < 10
    assert loop.run_until_complete(echo()) == b"hello"
    loop.close()


async def echo() -> bytes:
    """What comes back through a transport, for which the loop uses the pages that it gave back."""
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate(b"hello"))[0]


def present(start: int, size: int) -> int:
    """How many pages that lie wholly within are there."""
    first, end = -(-start // mmap.PAGESIZE), (start + size) // mmap.PAGESIZE
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        pagemap.seek(first * 8)
        entries = struct.unpack(f"{end - first}Q", pagemap.read((end - first) * 8))
    return sum(entry & PRESENT != 0 for entry in entries)
