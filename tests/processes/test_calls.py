"""Requests that wait for an app's process: what a worker makes of them, and what its launcher does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ownhost.apps.app import App, Protocol
from ownhost.apps.wire import SocketWire, connect_unix
from ownhost.config.directive import Source
from ownhost.config.model import VirtualHost
from ownhost.processes.launcher.pool import Pool
from ownhost.processes.launcher.turns import Turns
from ownhost.processes.orders import receive_order
from ownhost.processes.worker.calls import Calls
from ownhost.processes.worker.launching import LauncherClient
from ownhost.request.errorlog import ErrorLog
from waiting import soon

MAKES_ITS_SOCKET = """
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
taken = []
while True:
    taken.append(listener.accept())
    open(sys.argv[1] + "-taken", "w").write(str(len(taken)))
"""


class Caller:
    def __init__(self) -> None:
        self.complaints = 0

    def complain(self) -> None:
        self.complaints += 1


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        yield listening


async def line_to(listener: socket.socket) -> SocketWire:
    wire = await connect_unix(listener.getsockname(), 1)
    assert wire.send_now(b"request") == b""
    return wire


def test_a_request_waits_until_it_is_read(listener: socket.socket) -> None:
    async def work() -> None:
        calls = Calls(asyncio.get_running_loop())
        first, second = await line_to(listener), await line_to(listener)
        calls.add(Caller(), first)
        calls.add(Caller(), second)
        for _ in range(2):
            assert calls.any()
            accepted = listener.accept()[0]
            assert calls.any(), "one that is accepted may be read never"
            accepted.recv(100)
            accepted.close()
        assert not calls.any()
        first.close()
        second.close()

    asyncio.run(work())


def test_each_that_waits_is_complained_of_and_none_that_is_given_up(listener: socket.socket) -> None:
    async def work() -> None:
        calls = Calls(asyncio.get_running_loop())
        waiting, gone = [Caller() for _ in range(3)], Caller()
        lines = [await line_to(listener) for _ in range(4)]
        for caller, line in zip((gone, *waiting), lines, strict=True):
            calls.add(caller, line)
        calls.drop(gone)
        await soon(lambda: all(caller.complaints for caller in waiting))
        assert not gone.complaints
        for line in lines:
            line.close()
        await soon(lambda: not calls.looking)
        assert not calls.waiting

    asyncio.run(work())


def test_workers_give_back_their_lines_for_anothers_request_that_waits() -> None:
    """Two workers, and the launcher's side of one app. The first keeps a lease; the second complains."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        turns, ended = Turns(loop, 10, 10), asyncio.Event()
        command = ("/usr/bin/python3", "-c", MAKES_ITS_SOCKET, "{socket}")
        app = App("app", command, Protocol.FASTCGI, "test", listens=False, keeps_lines=True)
        pool = Pool(app, loop, lambda _: ended.set())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        error_log = ErrorLog(VirtualHost(0, Source(__file__, 1)), print)

        def obey() -> None:
            received = receive_order(theirs)
            assert received is not None
            (control,) = received[1]
            turns.take(control, lambda lease: pool.lease(lease, error_log), [])

        loop.add_reader(theirs, obey)
        first, second = (LauncherClient(loop, ours, 0, 10.0) for _ in range(2))
        kept = await first.lease(app)
        used, waiting = await first.lease(app), await second.lease(app)
        first.keep(kept)
        assert first.kept[app] == [kept]
        waiting.complain()
        taken = Path(f"{pool.path}-taken")
        async with asyncio.timeout(10):
            await soon(lambda: not first.kept[app] and used.wanted)
            # The launcher's look for the socket, and the knock.
            await soon(lambda: taken.exists() and taken.read_text() == "2")
        assert not used.may_keep_line()
        used.close()
        assert not first.kept[app], "what others wait for is kept no more"
        assert len(pool.leases) >= 1, "one that complains is no one that leaves"
        waiting.end()
        async with asyncio.timeout(10):
            await soon(lambda: not pool.leases)
            loop.remove_reader(theirs)
            pool.end()
            await ended.wait()
        ours.close()
        theirs.close()

    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    asyncio.run(work())
