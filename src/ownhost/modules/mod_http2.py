"""mod_http2's directives: limits for an HTTP/2 connection (`processes.worker.http2`).

Source: https://httpd.apache.org/docs/2.4/mod/mod_http2.html
"""

from __future__ import annotations

from dataclasses import dataclass

from ownhost.config.arguments import duration, flag, ignored, integer, number, single
from ownhost.config.directive import (
    ANYWHERE,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Settings,
    declare,
)
from ownhost.http.h2_frames import MAX_PAYLOAD

H2_MAX_SESSION_STREAMS = Setting("H2MaxSessionStreams", 100)
H2_WINDOW_SIZE = Setting("H2WindowSize", 65_535)  # bytes
H2_STREAM_MAX_MEM_SIZE = Setting("H2StreamMaxMemSize", 65_536)  # bytes
H2_MAX_DATA_FRAME_LEN = Setting("H2MaxDataFrameLen", 0)  # bytes; 0: as much as a client takes
H2_MODERN_TLS_ONLY = Setting("H2ModernTLSOnly", True)
H2_STREAM_TIMEOUT = Setting("H2StreamTimeout", 0.0)  # seconds; 0: Timeout


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """A virtual host's settings for HTTP/2. Sizes are bytes."""

    streams: int  # at a time
    window: int  # of a request's body in transit
    buffered: int  # of a response's that wait for the client
    frame: int  # of content in one frame
    modern: bool  # whether TLS must be as RFC 9113 requires


def stream_limits(settings: Settings) -> StreamLimits:
    """The limits that a server's merged settings put on its HTTP/2 connections."""
    return StreamLimits(
        settings[H2_MAX_SESSION_STREAMS],
        settings[H2_WINDOW_SIZE],
        settings[H2_STREAM_MAX_MEM_SIZE],
        min(settings[H2_MAX_DATA_FRAME_LEN] or MAX_PAYLOAD, MAX_PAYLOAD),
        settings[H2_MODERN_TLS_ONLY],
    )


def parse_padding(call: Call) -> None:
    """Parse H2Padding, of which only 0 is served."""
    if number(single(call), 0, 8):
        raise ArgumentError(f"expected 0, not {call.args[0]!r}: frames are not padded here")


def parse_proxy_requests(call: Call) -> None:
    """Parse H2ProxyRequests, of which only Off is served."""
    if flag()(call):
        raise ArgumentError("expected Off, not On: this server is not a forward proxy")


for _directive in (
    Directive(
        "H2MaxSessionStreams",
        "mod_http2",
        "number",
        SERVERS,
        "How many requests may be active on one HTTP/2 connection.",
        integer(1, 1_000),
        setting=H2_MAX_SESSION_STREAMS,
        default="100",
    ),
    Directive(
        "H2WindowSize",
        "mod_http2",
        "bytes",
        SERVERS,
        "How much of a request's body an HTTP/2 client may send before the server has taken it.",
        integer(1_024, 2_147_483_647),
        setting=H2_WINDOW_SIZE,
        default="65535",
    ),
    Directive(
        "H2StreamMaxMemSize",
        "mod_http2",
        "bytes",
        SERVERS,
        "How much of a program's response is kept in memory for a slow HTTP/2 client.",
        integer(1_024, 16_777_216),
        setting=H2_STREAM_MAX_MEM_SIZE,
        default="65536",
    ),
    Directive(
        "H2MaxDataFrameLen",
        "mod_http2",
        "bytes",
        SERVERS,
        "How much content one frame may have; 0 is 16384, which is also the largest value.",
        integer(0, 16_777_215),
        setting=H2_MAX_DATA_FRAME_LEN,
        default="0",
    ),
    Directive(
        "H2StreamTimeout",
        "mod_http2",
        "time",
        SERVERS,
        ("How long the server waits for an HTTP/2 client to send or receive data of one request; 0 is Timeout."),
        duration(),
        setting=H2_STREAM_TIMEOUT,
        default="0",
    ),
    Directive(
        "H2ModernTLSOnly",
        "mod_http2",
        "On|Off",
        SERVERS,
        "Whether HTTP/2 connections must have a version of TLS and a cipher that RFC 9113 allows (9.2).",
        flag(),
        setting=H2_MODERN_TLS_ONLY,
        default="On",
    ),
    Directive("H2Padding", "mod_http2", "0", SERVERS, "Frames are not padded.", parse_padding, default="0"),
    Directive(
        "H2ProxyRequests",
        "mod_http2",
        "Off",
        ANYWHERE,
        "Whether clients may use the server as their proxy. Only Off is supported.",
        parse_proxy_requests,
        default="Off",
        override=Override.FILE_INFO,
    ),
):
    declare(_directive)

_OVERRIDES = {  # of those that may stand anywhere
    "H2Push": Override.AUTH_CONFIG,
    "H2PushResource": Override.AUTH_CONFIG | Override.FILE_INFO,
    "H2EarlyHint": Override.AUTH_CONFIG | Override.FILE_INFO,
    "H2Upgrade": Override.AUTH_CONFIG,
    "H2CopyFiles": Override.FILE_INFO,
}
_NO_PUSH = "nothing is pushed to HTTP/2 clients: browsers no longer take it"

for _name, _syntax, _text, _note in (
    ("H2Push", "On|Off", "Whether resources are pushed. None are.", ""),
    ("H2PushPriority", "type [order [weight]]", "In which order pushed resources are sent. None are.", ""),
    ("H2PushDiarySize", "number", "How many pushed resources are remembered. None are.", ""),
    ("H2PushResource", "[add] path [critical]", "What is pushed. Nothing is.", _NO_PUSH),
    ("H2EarlyHints", "On|Off", "Whether 103 responses are sent ahead. None are.", ""),
    ("H2EarlyHint", "name value", "A field of 103 responses. None are sent.", ""),
    ("H2Upgrade", "On|Off", "Whether HTTP/1.1 connections may be upgraded to h2c. None may.", ""),
    ("H2Direct", "On|Off", "Whether HTTP/2 may begin without TLS. It may not.", ""),
    ("H2WebSockets", "On|Off", "Whether WebSockets come over HTTP/2. They come over HTTP/1.1.", ""),
    ("H2MinWorkers", "number", "How many threads there are for requests. There are none.", ""),
    ("H2MaxWorkers", "number", "How many threads there are at most. There are none.", ""),
    ("H2MaxWorkerIdleSeconds", "seconds", "How long a thread stays idle. There are none.", ""),
    ("H2MaxStreamErrors", "number", "How many errors of a client are tolerated. The limit is fixed.", ""),
    ("H2TLSWarmUpSize", "bytes", "When TLS records become large. The library decides their size.", ""),
    ("H2TLSCoolDownSecs", "seconds", "When TLS records become small again.", ""),
    ("H2OutputBuffering", "On|Off", "Whether output is collected. Ownhost sends output at once.", ""),
    ("H2SerializeHeaders", "On|Off", "Whether requests pass through HTTP/1 inside Apache.", ""),
    ("H2CopyFiles", "On|Off", "Whether files are copied inside Apache.", ""),
    ("H2SessionExtraFiles", "number", "How many files Apache holds open for a connection.", ""),
):
    _override = _OVERRIDES.get(_name, Override.NONE)
    _where = ANYWHERE if _override else SERVERS
    declare(
        Directive(
            _name,
            "mod_http2",
            _syntax,
            _where,
            _text,
            ignored(),
            override=_override,
            answer=Answer.NO_EFFECT,
            note=_note,
        )
    )
