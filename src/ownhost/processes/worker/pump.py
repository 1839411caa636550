"""Passing on a stream in both directions, until both sides have ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from socket import SHUT_WR, SocketType, socketpair

from ownhost.processes.worker.sending import Gone, Sender, receive
from ownhost.processes.worker.transport import Transport

PATIENCE = 86_400.0  # seconds without a byte: the HTTP connection at the end of it has its own time limits


async def pump(loop: asyncio.AbstractEventLoop, client: Transport, other: Transport, timeout: float) -> None:
    """Pass on bytes. `timeout` is seconds without a byte that is taken."""
    tasks = [
        asyncio.ensure_future(_pass_on(loop, client, other, timeout)),
        asyncio.ensure_future(_pass_on(loop, other, client, timeout)),
    ]
    try:
        # If the client has ended its stream, it is still answered; if the other side has, it is
        # over.
        await tasks[1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(loop: asyncio.AbstractEventLoop, one: Transport, other: Transport, timeout: float) -> None:
    sender = Sender(loop, other, timeout)
    with contextlib.suppress(Gone, OSError):
        while True:
            await sender.send(await receive(loop, one, PATIENCE))
    with contextlib.suppress(OSError):
        other.shutdown(SHUT_WR)


@contextlib.asynccontextmanager
async def in_clear(loop: asyncio.AbstractEventLoop, client: Transport, timeout: float) -> AsyncIterator[SocketType]:
    """A plain socket that stands for a client's encrypted one."""
    ours, theirs = socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    task = asyncio.ensure_future(pump(loop, client, ours, timeout))
    try:
        yield theirs
    finally:
        theirs.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(task, timeout)
        ours.close()
