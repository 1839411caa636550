"""SCGI: what is sent says what was meant, to a reader of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.apps.scgi import request_head

WORD = st.binary(max_size=30).map(lambda text: text.replace(b"\0", b""))


def read(data: bytes) -> dict[bytes, bytes]:
    """The variables of a head, as the specification says to read them."""
    length, _, rest = data.partition(b":")
    assert rest[int(length) :] == b","
    words = rest[: int(length)].split(b"\0")
    assert words.pop() == b""
    assert words[0] == b"CONTENT_LENGTH"
    names = words[::2]
    assert len(set(names)) == len(names)
    return dict(zip(names, words[1::2], strict=True))


def test_the_example_of_the_specification() -> None:
    said = {b"CONTENT_LENGTH": b"27", b"SCGI": b"1", b"REQUEST_METHOD": b"POST", b"REQUEST_URI": b"/deepthought"}
    head = request_head(said, 27)
    assert head == (
        b"70:CONTENT_LENGTH\x0027\x00SCGI\x001\x00REQUEST_METHOD\x00POST\x00REQUEST_URI\x00/deepthought\x00,"
    )


@given(st.dictionaries(WORD, WORD, max_size=8), st.integers(0, 2**40))
def test_what_is_said_can_be_read(variables: dict[bytes, bytes], length: int) -> None:
    assert read(request_head(variables, length)) == {
        **variables,
        b"CONTENT_LENGTH": b"%d" % length,
        b"SCGI": b"1",
    }


def test_a_nul_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="NUL"):
        request_head({b"A": b"a\0B\0b"}, 0)
