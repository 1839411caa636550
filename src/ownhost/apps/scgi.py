"""SCGI requests: a netstring of variables, and the body behind it (python.ca/scgi/protocol.txt).

    request = netstring body
    netstring = length ":" headers ","
    headers = "CONTENT_LENGTH" NUL length NUL *(name NUL value NUL)     ; and SCGI = 1 among them

The answer is that of a CGI program (`cgi_head`).
"""

from __future__ import annotations

from collections.abc import Mapping


def request_head(variables: Mapping[bytes, bytes], body_length: int) -> bytes:
    """The part before the body. A variable with a NUL in it cannot be expressed.

    Raises ValueError.
    """
    said = {b"CONTENT_LENGTH": b"%d" % body_length, b"SCGI": b"1"}
    said.update((name, value) for name, value in variables.items() if name not in said)
    words = [word for pair in said.items() for word in pair]
    if any(b"\0" in word for word in words):
        raise ValueError("SCGI cannot carry a variable with a NUL in it")
    headers = b"".join(word + b"\0" for word in words)
    return b"%d:%b," % (len(headers), headers)
