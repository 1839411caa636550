"""An HTTP/2 connection of our own, in the forkserver: see `rehearsal.rehearse`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection

from ownhost.processes.mailbox import Handover
from ownhost.processes.worker.http2 import Http2Connection
from ownhost.processes.worker.shared import Shared


async def rehearse(worker: Shared, handover: Handover, paths: Sequence[str]) -> None:
    """Send a few requests over a socket pair, some of them with a body."""
    ours, theirs = socket.socketpair()
    client = H2Connection(H2Configuration())
    client.initiate_connection()
    for number, path in enumerate(paths):
        stream, has_body = client.get_next_available_stream_id(), number % 2 == 1
        head = ((":method", "POST" if has_body else "GET"), (":scheme", "https"), (":authority", handover.host))
        client.send_headers(stream, (*head, (":path", path), ("cookie", "a=b")), end_stream=not has_body)
        if has_body:
            client.send_data(stream, b"body", end_stream=True)
    client.close_connection()
    with theirs:
        theirs.setblocking(False)
        theirs.send(client.data_to_send())
        Http2Connection(worker, ours, handover).begin()
        for _ in range(100):
            if ours.fileno() < 0:
                break
            await asyncio.sleep(0)
