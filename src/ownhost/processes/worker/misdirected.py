"""What becomes of a HTTP/1 connection whose next request is for a name of another owner's. Pure.

A client's socket that a worker has had stays with that worker's owner. So such a connection ends, and the client asks
again on another one, which a gate then hands to whom it is for. Clients do that by themselves where a request that may
be repeated is met by the connection's end (RFC 9112, 9.3.1); to any other they are told 421 (RFC 9110, 15.5.20).

Under TLS a client has named the virtual host before: there it is told 421, as by Apache, and may go on.
"""

from __future__ import annotations

from enum import Enum

# Those that may be repeated without asking anybody (RFC 9110, 9.2.2).
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))


class Ending(Enum):
    """How a connection ends."""

    DISAGREEMENT = "400: a gate has read another name in the same bytes"
    IN_SILENCE = "without an answer to the request"
    SAID = "with 421"


def ending(method: str, *, first: bool) -> Ending:
    """How a connection ends whose request, the `first` on it or a later one, is for somebody else's name."""
    if first:
        return Ending.DISAGREEMENT
    return Ending.IN_SILENCE if method in IDEMPOTENT else Ending.SAID
