"""HTTP/2's frames, cut out of the bytes that a client sends, before any is handled (RFC 9113, 4.1). Pure.

frame = length(24) type(8) flags(8) reserved(1) stream(31) payload
"""

from __future__ import annotations

from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_SIZE = 9  # bytes in front of each payload
MAX_PAYLOAD = 16_384  # bytes: SETTINGS_MAX_FRAME_SIZE, which keeps its default

# Types (RFC 9113, section 6)
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = 0x1  # of DATA and HEADERS
END_HEADERS = 0x4  # of HEADERS and CONTINUATION
PADDED = 0x8  # of DATA: its first byte says how many bytes at its end are padding


class Frame(NamedTuple):
    """A whole frame. `data` is all of it, its head included. The client's preface is a part of the first frame."""

    kind: int
    flags: int
    stream: int
    length: int  # bytes of the payload
    data: bytes


class FrameError(Exception):
    """The bytes are not HTTP/2, or a frame is larger than allowed."""


class Frames:
    """Cuts a connection's bytes into frames.

    Invariant: the frames don't depend on how the bytes were cut, and put together they are the bytes.
    """

    def __init__(self) -> None:
        self._waiting = b""  # the beginning of a frame
        self._preface = len(PREFACE)  # bytes of it before the next frame

    @property
    def within(self) -> bool:
        """Whether a frame has begun and is incomplete."""
        return bool(self._waiting)

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes, and return the frames that are now complete. Raises FrameError."""
        data = self._waiting + data if self._waiting else data
        if self._preface and data[: self._preface] != PREFACE[: len(data)]:
            raise FrameError("the connection does not begin as HTTP/2 does")
        frames: list[Frame] = []
        place = 0
        while True:
            head = place + self._preface
            if len(data) < head + HEAD_SIZE:
                break
            length = int.from_bytes(data[head : head + 3], "big")
            if length > MAX_PAYLOAD:
                raise FrameError(f"a frame of {length} bytes")
            end = head + HEAD_SIZE + length
            if len(data) < end:
                break
            stream = int.from_bytes(data[head + 5 : head + 9], "big") & 0x7FFFFFFF
            frames.append(Frame(data[head + 3], data[head + 4], stream, length, data[place:end]))
            place, self._preface = end, 0
        self._waiting = data[place:]
        return frames


def goaway(last_stream: int, error: int) -> bytes:
    """A GOAWAY frame (RFC 9113, 6.8): streams up to `last_stream` are still served."""
    return b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + last_stream.to_bytes(4, "big") + error.to_bytes(4, "big")
