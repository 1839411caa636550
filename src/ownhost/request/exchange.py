"""One request and its response, finished: the source of a line of the access log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ownhost.http.message import Response
from ownhost.request.request import Endpoints, Request


@dataclass(slots=True)
class Exchange:
    """What happened. Sizes are bytes, times seconds.

    `request` is None if no head could be parsed (a 400, a 408): `request_line` then holds what was
    sent of it. `first_status` is the status before an ErrorDocument or another internal redirect
    replaced it (%s; `response` has the final one, %>s).
    """

    request: Request | None
    response: Response
    endpoints: Endpoints
    request_line: str
    started: float  # seconds since the epoch, when the head's first byte arrived
    duration: float
    first_status: int
    body_bytes: int  # sent of the response's body
    bytes_in: int  # head and body received
    bytes_out: int  # head and body sent
    keep_alive_requests: int  # answered on this connection before this one
    kept_alive: bool  # the connection stays open
    aborted: bool  # the client left before the response was complete
    head_sent: bytes | Sequence[tuple[bytes, bytes]]  # the fields of an HTTP/2 stream after its status

    @property
    def response_headers(self) -> list[tuple[str, str]]:
        """The response's fields as sent, framing included. They are parsed only here, as few formats need one."""
        if not isinstance(self.head_sent, bytes):
            return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.head_sent[1:]]
        lines = self.head_sent.decode("latin-1").split("\r\n")[1:]
        return [(name, value) for name, colon, value in (line.partition(": ") for line in lines) if colon]
