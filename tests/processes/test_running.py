"""A program that runs for one request: when it ends, and what of it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable, Coroutine

import pytest

from ownhost.processes.launcher.running import MOMENT, Running
from ownhost.processes.launcher.turns import Lease, Turns
from waiting import comes, soon

Work = Callable[["Run"], Coroutine[None, None, None]]


class Run:
    """A shell's script in a group of its own, and the worker's end of its lease."""

    def __init__(self, script: str) -> None:
        loop = asyncio.get_running_loop()
        self.worker, launchers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # What it has of output is in the hands of all that it started.
        self.output, theirs = os.pipe()
        self.process = subprocess.Popen(["/bin/sh", "-c", script], stdout=theirs, process_group=0)
        os.close(theirs)
        os.set_blocking(self.output, False)
        self.over: list[int] = []
        leases: list[Lease] = []
        turns = Turns(loop, 1, 0)
        turns.take(launchers.detach(), leases.append, [])
        self.running = Running(loop, self.process.pid, leases[0], self.over.append)

    @property
    def is_silent(self) -> bool:
        """Whether nobody holds the output any more."""
        try:
            return not os.read(self.output, 100)
        except BlockingIOError:
            return False

    def close(self) -> None:
        self.worker.close()
        os.close(self.output)
        self.process.returncode = 0  # it was collected by whom this tests


def run(script: str, work: Work) -> None:
    async def whole() -> None:
        made = Run(script)
        try:
            await work(made)
            assert made.over == [made.process.pid]
            with pytest.raises(ChildProcessError):
                os.waitpid(made.process.pid, 0)
            assert made.running.lease.sock.fileno() == -1
        finally:
            made.close()

    asyncio.run(whole())


def test_a_worker_that_leaves_ends_the_program_and_what_it_started() -> None:
    async def work(run: Run) -> None:
        run.worker.close()
        await soon(lambda: run.over)
        await soon(lambda: run.is_silent)

    run("sleep 60 & sleep 60", work)


def test_one_that_has_ended_is_collected_once_the_worker_has_read_all() -> None:
    """Not before: its number is its group's, and must not become another's."""

    async def work(run: Run) -> None:
        await soon(lambda: run.running.has_ended)
        assert run.over == []
        run.worker.send(b"x")
        await soon(lambda: run.over)

    run("true", work)


def test_what_an_ended_program_left_goes_on_if_all_was_read() -> None:
    async def work(run: Run) -> None:
        await soon(lambda: run.running.has_ended)
        run.worker.send(b"x")
        await soon(lambda: run.over)
        assert not run.is_silent
        os.killpg(run.process.pid, 9)
        await soon(lambda: run.is_silent)

    run("sleep 60 &", work)


def test_what_an_ended_program_left_ends_with_a_worker_that_has_not() -> None:
    async def work(run: Run) -> None:
        await soon(lambda: run.running.has_ended)
        run.worker.close()
        await soon(lambda: run.over)
        await soon(lambda: run.is_silent)

    run("sleep 60 &", work)


def test_a_program_that_goes_on_for_itself_has_a_moment() -> None:
    async def work(run: Run) -> None:
        run.worker.send(b"x")
        assert not await comes(lambda: run.over, MOMENT / 5)
        await soon(lambda: run.over)
        await soon(lambda: run.is_silent)

    run("exec sleep 60", work)


def test_one_that_ends_within_the_moment_is_not_ended_twice() -> None:
    async def work(run: Run) -> None:
        run.worker.send(b"x")
        await soon(lambda: run.running.is_released)
        os.kill(run.process.pid, 15)
        await soon(lambda: run.over)
        run.running.kill()
        assert len(run.over) == 1

    run("exec sleep 60", work)
