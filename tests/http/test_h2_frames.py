"""Frames, cut out of bytes: as hyperframe writes them, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from ownhost.http.h2_frames import MAX_PAYLOAD, PREFACE, FrameError, Frames, goaway

FRAMES = st.lists(
    st.one_of(
        st.builds(DataFrame, st.integers(1, 99), data=st.binary(max_size=50)),
        st.builds(HeadersFrame, st.integers(1, 99), data=st.binary(max_size=50)),
        st.builds(PingFrame, st.just(0), opaque_data=st.binary(min_size=8, max_size=8)),
        st.builds(WindowUpdateFrame, st.integers(0, 99), window_increment=st.integers(1, 2**31 - 1)),
    ),
    max_size=6,
)


def known(frame: DataFrame) -> tuple[int, int, int, int]:
    """What hyperframe wrote of a frame."""
    data = frame.serialize()
    return frame.type, data[4], frame.stream_id, frame.body_len


@given(FRAMES, st.lists(st.integers(0, 400)))
def test_frames_do_not_depend_on_how_the_bytes_are_cut(frames: list[DataFrame], cuts: list[int]) -> None:
    data = PREFACE + b"".join(frame.serialize() for frame in frames)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    cutter = Frames()
    found = [frame for start, end in pairwise(places) for frame in cutter.feed(data[start:end])]
    assert [frame[:4] for frame in found] == [known(frame) for frame in frames]
    assert not frames or b"".join(frame.data for frame in found) == data


def test_a_byte_at_a_time() -> None:
    cutter, data = Frames(), PREFACE + DataFrame(1, data=b"hello", flags=["END_STREAM"]).serialize()
    found = [frame for place in range(len(data)) for frame in cutter.feed(data[place : place + 1])]
    assert [(frame.kind, frame.flags, frame.length, frame.data) for frame in found] == [(0, 1, 5, data)]


@given(st.binary(min_size=24, max_size=60).filter(lambda data: not data.startswith(PREFACE)))
def test_what_is_no_http2_is_an_error(data: bytes) -> None:
    with pytest.raises(FrameError):
        Frames().feed(data)


def test_another_protocol_is_told_by_its_first_byte() -> None:
    with pytest.raises(FrameError):
        Frames().feed(b"G")


def test_a_large_frame_is_an_error_before_it_is_here() -> None:
    cutter = Frames()
    assert cutter.feed(PREFACE + (MAX_PAYLOAD).to_bytes(3, "big") + bytes(6)) == []
    with pytest.raises(FrameError):
        Frames().feed(PREFACE + (MAX_PAYLOAD + 1).to_bytes(3, "big") + bytes(6))


@given(st.integers(0, 2**31 - 1), st.integers(0, 13))
def test_goaway_is_as_hyperframe_writes_it(last: int, error: int) -> None:
    assert goaway(last, error) == GoAwayFrame(0, last_stream_id=last, error_code=error).serialize()
