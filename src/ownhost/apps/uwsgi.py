"""Requests in uwsgi, the protocol of the server of that name (uWSGI documentation, "The uwsgi Protocol").

    request = modifier1 size modifier2 vars body       ; size of vars: 16 bits, little-endian
    vars = *(length name length value)                 ; lengths: 16 bits, little-endian

The answer is a HTTP response, status line and all, that ends with the connection (`cgi_head` with a status line).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

MAX_VARS = 0xFFFF  # bytes


def request_head(variables: Mapping[bytes, bytes], *, modifier1: int = 0, modifier2: int = 0) -> bytes:
    """The part before the body. Raises ValueError if the variables exceed the protocol's limits."""
    size = sum(4 + len(name) + len(value) for name, value in variables.items())
    if size > MAX_VARS:
        raise ValueError(f"the request's variables are {size} bytes, and uwsgi has room for {MAX_VARS}")
    parts = [struct.pack("<BHB", modifier1, size, modifier2)]
    for pair in variables.items():
        for word in pair:
            parts += (struct.pack("<H", len(word)), word)
    return b"".join(parts)
