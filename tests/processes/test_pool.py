"""An app's processes, as the launcher keeps them."""

from __future__ import annotations

import asyncio
import fcntl
import socket
from contextlib import ExitStack

from ownhost.apps.app import App, Protocol
from ownhost.processes.descriptors import raise_limit
from ownhost.processes.launcher.pool import Pool


def test_who_waits_where_nobody_listens_is_turned_away_whatever_the_descriptors_number() -> None:
    """One with many requests at the same time has numbers that select(2) knows nothing of: those from 1,024 on."""

    async def work() -> None:
        app = App("app", ("/bin/false",), Protocol.FASTCGI, "test")
        pool = Pool(app, asyncio.get_running_loop(), lambda _: None)
        assert pool.listener is not None
        low = pool.listener
        with low, ExitStack() as stack:
            pool.listener = socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1_500))
            clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(5)]
            for client in clients:
                client.settimeout(5)
                client.connect(pool.path)
            pool.turn_away()
            assert [client.recv(1) for client in clients] == [b""] * 5
        pool.end()

    raise_limit()
    asyncio.run(work())
