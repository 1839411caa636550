"""Conversations of HTTP/2 about its ends: what ends a stream or a connection, at each state that one can wait in.

They are written as those of `h2_conversations`.
"""

from __future__ import annotations

from collections.abc import Callable

# What ends a stream, or does not, at each state that one can wait in: how it comes there, and what follows.
STREAMS = {
    "HELD": """
        >> 1 POST /text
    """,
    "RUNNING": """
        >> 1 POST /program
        << run 1
    """,
    "STREAMING": """
        >> 1 POST /program
        << run 1
        >> 1 says 200
        << 1 HEADERS 200
    """,
    "SENDING": """
        >> window of streams 0
        >> 1 POST /text expect: 100-continue
        << 1 HEADERS 200
    """,
    "ANSWERED": """
        >> 1 POST /none
        << 1 HEADERS 404; 1 DATA none END; finish 1
    """,
    "ABANDONED": """
        >> 1 POST /stubborn
        << run 1
        >> 1 RST
        << cancel 1
    """,
}
LEFT = {  # what is done for a stream whose client has left
    "HELD": "; abort 1; forget",
    "RUNNING": "; cancel 1; abort 1; forget",
    "STREAMING": "; cancel 1; abort 1; forget",
    "SENDING": "; abort 1; forget",
    "ANSWERED": "; forget",
    "ABANDONED": "; cancel 1",
}
ENDS: dict[str, dict[str, str]] = {
    "1 RST": {state: done.replace("; forget", "")[2:] for state, done in LEFT.items() if state != "ABANDONED"},
    "EOF": {state: f"hang_up{done}" for state, done in LEFT.items()},
    "bytes ffffff0000000000ff": {
        state: f"GOAWAY 1 PROTOCOL_ERROR; log; hang_up and wait{done}" for state, done in LEFT.items()
    },
    "101 pings": {state: f"GOAWAY 1 ENHANCE_YOUR_CALM; log; hang_up at once{done}" for state, done in LEFT.items()},
    "5 seconds": {
        "HELD": "1 RST CANCEL; abort 1",
        "RUNNING": "1 RST CANCEL; cancel 1; abort 1",
        "STREAMING": "",
        "SENDING": "1 RST CANCEL; abort 1",
        "ANSWERED": "1 RST NO_ERROR",
        "ABANDONED": "",
    },
    "stop": dict.fromkeys(STREAMS, "GOAWAY 1 NO_ERROR"),
    "supersede": dict.fromkeys(STREAMS, "GOAWAY 1 NO_ERROR"),
    "goaway": dict.fromkeys(STREAMS, ""),
}
ENDINGS = {
    f"{what} while a stream is {state}": f"{STREAMS[state]}\n>> {what}\n<< {done}\n"
    for what, found in ENDS.items()
    for state, done in found.items()
}

# The same for connections, with a program at work. A request is answered, or refused.
CONNECTIONS = {
    "OPEN": "",
    "DESERTED": """
        >> goaway
    """,
    "DRAINING": """
        >> stop
        << GOAWAY 1 NO_ERROR
    """,
    "SUPERSEDED": """
        >> supersede
        << GOAWAY 1 NO_ERROR
    """,
    "PARTING": """
        >> goaway
        >> stop
        << GOAWAY 1 NO_ERROR
    """,
    "PARTING, the other way round": """
        >> stop
        << GOAWAY 1 NO_ERROR
        >> goaway
    """,
}
SERVING = ("OPEN", "DESERTED")
LEAVING = "cancel 1; abort 1; forget"
AFTER: dict[str, Callable[[str], str]] = {
    "3 GET /empty": lambda state: "3 HEADERS 204 END; finish 3" if state in SERVING else "3 RST REFUSED_STREAM",
    "stop": lambda state: "GOAWAY 1 NO_ERROR" if state in SERVING else "",
    "supersede": lambda state: "GOAWAY 1 NO_ERROR" if state in SERVING else "",
    "goaway": lambda _: "",
    "100 seconds": lambda _: "",
    "EOF": lambda _: f"hang_up; {LEAVING}",
    "bytes ffffff0000000000ff": lambda _: f"GOAWAY 1 PROTOCOL_ERROR; log; hang_up and wait; {LEAVING}",
}
ENDINGS |= {
    f"{what} while a connection is {state}": f">> 1 GET /program\n<< run 1\n{begin}\n>> {what}\n<< {done(state)}\n"
    for what, done in AFTER.items()
    for state, begin in CONNECTIONS.items()
}
