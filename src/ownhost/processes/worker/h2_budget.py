"""What an HTTP/2 client may cost without getting anything done: the limits against floods. Pure.

Each kind of frame that costs more to receive than to send has a token bucket: a burst, and a rate
at which it fills again. CVE-2019-9511 to 9518 (pings, settings, empty frames, priorities),
CVE-2023-44487 (rapid reset), CVE-2024-27316 (CONTINUATION), CVE-2025-8671 (resets that the server
is made to send). Header lists are limited where they are decoded.
"""

from __future__ import annotations

from ownhost.http.bucket import Bucket
from ownhost.http.h2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    Frame,
)

# Bursts are frames, rates frames per second.
PINGS = (100, 5.0)
SETTINGS_FRAMES = (20, 0.5)
RESETS = (200, 20.0)  # by the client, and of streams whose client broke a rule
IDLE = (1_000, 100.0)  # WINDOW_UPDATE, PRIORITY, unknown frames, and frames with almost no content
EARNED_PER = 2_048  # bytes sent, for which a client may send one more WINDOW_UPDATE
TINY = 32  # bytes of content: DATA with less counts as idle
MAX_HEADER_FRAMES = 8  # frames for one field section: four are enough for the largest


class Flood(Exception):
    """A client costs too much. The message says what it sent too much of."""


class Budget:
    """The budget of one connection."""

    __slots__ = ("earned", "header_frames", "idle", "pings", "resets", "settings")

    def __init__(self) -> None:
        limits = (PINGS, SETTINGS_FRAMES, RESETS, IDLE)
        self.pings, self.settings, self.resets, self.idle = (Bucket(rate, burst) for burst, rate in limits)
        self.earned = 0  # bytes
        self.header_frames = 0  # of the current field section

    def frame(self, frame: Frame, now: float) -> None:
        """Charge for a frame. Raises Flood."""
        kind = frame.kind
        if kind == HEADERS:
            self.header_frames = 0 if frame.flags & END_HEADERS else 1
        elif kind == DATA:
            if frame.length < TINY and not frame.flags & END_STREAM:
                self._idle(now)
        elif kind == RST_STREAM:
            self.reset(now)
        elif kind == PING:
            self._take(self.pings, "PING frames", now)
        elif kind == SETTINGS:
            self._take(self.settings, "SETTINGS frames", now)
        elif kind == CONTINUATION:
            self.header_frames = 0 if frame.flags & END_HEADERS else self.header_frames + 1
            if self.header_frames > MAX_HEADER_FRAMES:
                raise Flood("too many CONTINUATION frames")
        else:
            self._idle(now)

    def reset(self, now: float) -> None:
        """Charge for a stream that ends early, by the client's reset or its error. Raises Flood."""
        self._take(self.resets, "streams that are reset", now)

    def sent(self, count: int) -> None:
        """Bytes of content were sent, so the client will open its window again."""
        self.earned = min(self.earned + count, EARNED_PER * IDLE[0])

    def _idle(self, now: float) -> None:
        if self.earned >= EARNED_PER:
            self.earned -= EARNED_PER
        else:
            self._take(self.idle, "frames to no purpose", now)

    def _take(self, bucket: Bucket, what: str, now: float) -> None:
        if not bucket.take(now):
            raise Flood(f"too many {what}")
