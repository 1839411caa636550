"""Workers in this very process, for what is tested of a HTTP/2 connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from h2_pair import BIG, Pair
from processes.offspring import Offspring


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


@pytest.fixture
def offspring() -> Iterator[Offspring]:
    """Children that are no processes."""
    made = Offspring()
    yield made
    made.close()
