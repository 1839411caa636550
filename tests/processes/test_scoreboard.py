"""Counting clients: pages of a board, and what a worker can do to them."""

from __future__ import annotations

import ctypes
import os

from hypothesis import given
from hypothesis import strategies as st

from ownhost.processes.scoreboard import PAGE, Board, Clients


def worker(board: Board) -> tuple[Clients, int]:
    page = board.take()
    return Clients(board.writing, board.reading, page), page


def test_clients_are_counted_over_all_workers() -> None:
    board = Board()
    (one, first), (other, second) = worker(board), worker(board)
    assert first != second
    assert [one.enter(3), other.enter(3), one.enter(3)] == [True] * 3
    assert board.count() == 3
    assert not other.enter(3)
    assert board.count() == 3, "who is refused is not counted"
    one.leave()
    assert other.enter(3)


def test_a_worker_that_is_gone_leaves_no_client() -> None:
    board = Board()
    (one, page), (other, _) = worker(board), worker(board)
    one.enter(0)
    other.enter(0)
    board.give_back(page)
    assert board.count() == 1
    again, reused = worker(board)
    assert reused == page
    assert again.enter(2)
    assert not again.enter(2)


def test_the_rest_of_the_board_cannot_be_made_writable() -> None:
    board = Board()
    clients, page = worker(board)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    everything = ctypes.addressof(ctypes.c_char.from_buffer(clients.all))
    assert libc.mprotect(everything, PAGE * 2, 3) == -1
    assert libc.mprotect(ctypes.addressof(clients.own), PAGE, 3) == 0
    assert page > 0


def test_only_root_opens_a_board_anew() -> None:
    assert os.fstat(Board().writing).st_mode & 0o077 == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60), st.integers(1, 5))
def test_never_more_than_the_limit(steps: list[tuple[int, bool]], limit: int) -> None:
    board = Board()
    workers = [worker(board)[0] for _ in range(3)]
    held = [0, 0, 0]
    for who, comes in steps:
        if comes:
            assert workers[who].enter(limit) == (sum(held) < limit)
            held[who] += sum(held) < limit
        elif held[who]:
            workers[who].leave()
            held[who] -= 1
        assert board.count() == sum(held)
