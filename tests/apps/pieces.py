"""Bytes cut into pieces, for whatever must not care."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from hypothesis import strategies as st

CUTS = st.lists(st.integers(0, 300), max_size=6)


def single(data: bytes) -> list[bytes]:
    """One byte at a time."""
    return [data[place : place + 1] for place in range(len(data))]


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut at some places."""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in itertools.pairwise(places)]
