"""Connecting to a path whose listener has no room at once."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from ownhost.apps import unix_sockets


def new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, new_socket() as first, new_socket() as second:
        listener.bind(path)
        listener.listen(0)

        async def fill_and_wait() -> None:
            await unix_sockets.connect(first, path, 10)
            with pytest.raises(TimeoutError, match="no room in its queue"), new_socket() as impatient:
                await unix_sockets.connect(impatient, path, 0)
            waiting = asyncio.ensure_future(unix_sockets.connect(second, path, 10))
            await asyncio.sleep(0)
            assert not waiting.done()
            accepted, _ = listener.accept()
            with accepted:
                await waiting
            assert second.getpeername() == path

        asyncio.run(fill_and_wait())


def test_nobody_there(tmp_path: Path) -> None:
    with new_socket() as sock, pytest.raises(FileNotFoundError):
        asyncio.run(unix_sockets.connect(sock, str(tmp_path / "none"), 10))
