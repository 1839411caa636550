"""uwsgi: what is sent says what was meant, to a reader of its own; and there is room for 64 KiB."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.apps.uwsgi import MAX_VARS, request_head

WORD = st.binary(max_size=30)


def read(data: bytes) -> dict[bytes, bytes]:
    modifier1, size, modifier2 = struct.unpack_from("<BHB", data)
    assert (modifier1, modifier2, size) == (0, 0, len(data) - 4)
    words, place = [], 4
    while place < len(data):
        (length,) = struct.unpack_from("<H", data, place)
        words.append(data[place + 2 : place + 2 + length])
        place += 2 + length
    assert place == len(data)
    return dict(zip(words[::2], words[1::2], strict=True))


@given(st.dictionaries(WORD, WORD, max_size=8))
def test_what_is_said_can_be_read(variables: dict[bytes, bytes]) -> None:
    assert read(request_head(variables)) == variables


def test_the_limit() -> None:
    room = MAX_VARS - 4 - 1
    assert len(request_head({b"A": b"a" * room})) == MAX_VARS + 4
    with pytest.raises(ValueError, match="65536 bytes"):
        request_head({b"A": b"a" * (room + 1)})
