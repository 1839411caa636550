"""An HTTP/1 connection whose next request is for another owner's name: what happens to it. Pure.

A client's socket that a worker has had stays with that worker's owner. So such a connection ends.
The client repeats the request on another one, and a gate passes that to its owner. Clients do so by
themselves if the connection ends before the answer to a request that may be repeated (RFC 9112,
9.3.1). For any other request the answer is 421 (RFC 9110, 15.5.20).

Under TLS a client has named the virtual host before: there the answer is 421, as from Apache, and
the connection stays open.
"""

from __future__ import annotations

from enum import Enum

# Those that may be repeated without asking (RFC 9110, 9.2.2).
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))


class Ending(Enum):
    """How a connection ends."""

    DISAGREEMENT = "400: a gate has read another name in the same bytes"
    IN_SILENCE = "without an answer to the request"
    SAID = "with 421"


def ending(method: str, *, first: bool) -> Ending:
    """How a connection ends whose request, the `first` on it or a later one, is for another owner's name."""
    if first:
        return Ending.DISAGREEMENT
    return Ending.IN_SILENCE if method in IDEMPOTENT else Ending.SAID
