"""Connecting to a path without blocking in the kernel."""

from __future__ import annotations

import asyncio
import socket

FULL = 0.005  # seconds until another try if too many connections wait


async def connect(sock: socket.socket, path: str, patience: float) -> None:
    """Connect a non-blocking socket. Raises OSError, TimeoutError."""
    give_up = 0.0
    while True:
        try:
            sock.connect(path)
        except BlockingIOError:  # its queue is full; the kernel does not tell when there is room
            now = asyncio.get_running_loop().time()
            give_up = give_up or now + patience
            if now >= give_up:
                raise TimeoutError(f"no room in its queue within {patience:.0f} s") from None
            await asyncio.sleep(FULL)
        else:
            return
