"""A launcher.

NAME        starts and ends an identity's programs: CGI, and apps that stay (PHP, WSGI)
TRUSTS      its identity's workers, which may have it run anything: it runs as the owner, and so do they
RUNS AS     the identity, without filter or no_new_privs, so that sudo and sendmail work from owners' programs
TALKS TO    workers (orders), the supervisor ("stop"), programs (it starts, ends and reaps them, and logs their
            standard error); never the network
ENDS WHEN   it had no order for a while and no program is left, or its channel ends; it ends its programs first
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import signal
import socket
import time
from typing import NoReturn

from setproctitle import setproctitle

from ownhost.apps.app import App
from ownhost.identity import prctl
from ownhost.processes.descendants import end_all, strangers
from ownhost.processes.heartbeat import OWN
from ownhost.processes.launcher import signals
from ownhost.processes.launcher.child import Start, start
from ownhost.processes.launcher.pool import Pool
from ownhost.processes.launcher.running import Running
from ownhost.processes.launcher.turns import Lease, Turns
from ownhost.processes.logwriters import LogWriters
from ownhost.processes.messages import Channel, ProtocolError
from ownhost.processes.orders import Run, Use, receive_order
from ownhost.processes.slices import LauncherSlice, receive_slice

IDLE = 60.0  # seconds without an order
LEAVE = 1.5  # seconds for apps to end with the launcher, and then for what is left: less than a stop waits
LOOK_AGAIN = 0.02  # seconds


def main(channel: Channel) -> NoReturn:
    """Run a launcher: see the head of this file."""
    slice_, descriptors = receive_slice(channel)
    assert isinstance(slice_, LauncherSlice)
    prctl.adopt_orphans()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(WatchedSelector())) as runner:
        runner.run(Launcher(channel, descriptors, slice_).run())
    raise SystemExit(0)


def rehearse() -> None:
    """There is nothing to prepare that workers don't."""


class WatchedSelector(selectors.EpollSelector):
    """Notes on this process's page whether its loop waits."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events."""
        OWN.heartbeat.busy_since = 0.0
        try:
            return super().select(timeout)
        finally:
            OWN.heartbeat.busy_since = time.monotonic()


class Launcher:
    """The running programs, and apps that stay."""

    def __init__(self, channel: Channel, descriptors: list[int], slice_: LauncherSlice) -> None:
        self.channel = channel
        self.orders = socket.socket(fileno=descriptors[0])
        self.slice = slice_
        self.descriptors = descriptors
        self.programs: dict[int, Running] = {}  # by pid
        self.pools: dict[object, Pool] = {}  # by App
        self.leaving: set[Pool] = set()  # those that have been replaced, and end when they have finished
        self.asked = 0

    async def run(self) -> None:
        """Serve until idle or told to stop."""
        self.loop = asyncio.get_running_loop()
        self.writers = LogWriters(self.slice.logs, self.descriptors, self.loop, self.slice.servers, self.slice.main)
        self.error_logs = {server.id: self.writers.error_log(server) for server in self.slice.servers}
        self.done = self.loop.create_future()
        self.turns = Turns(self.loop, self.slice.at_once, self.slice.queue)
        # If the forkserver dies, this process must not die at once: programs' own children have no
        # such signal. The end of the channel follows, so that this process also ends those that
        # their owner stopped.
        prctl.set_parent_death_signal(signal.SIGCONT)
        signals.handle(self.loop, {signal.SIGTERM: self.finish, signal.SIGCHLD: self.collect})
        self.channel.sock.setblocking(False)
        self.loop.add_reader(self.channel.fileno(), self.on_message)
        self.loop.add_reader(self.orders.fileno(), self.on_order)
        self.loop.call_later(IDLE, self.leave_if_idle, self.asked)
        self.update_title()
        try:
            await self.done
        finally:
            await self.end()

    def on_message(self) -> None:
        """The supervisor says stop, or is gone."""
        with contextlib.suppress(ProtocolError, OSError):
            self.channel.receive()
        self.finish()

    def finish(self) -> None:
        """End the loop."""
        if not self.done.done():
            self.done.set_result(None)

    def leave_if_idle(self, asked_before: int) -> None:
        """Leave if nothing runs and nothing was requested for a while."""
        if not self.programs and not self.every_pool() and not self.collect() and self.asked == asked_before:
            self.finish()
        else:
            self.loop.call_later(IDLE, self.leave_if_idle, self.asked)

    def collect(self) -> list[int]:
        """Collect processes that programs left running, when they have ended. Returns those that still run."""
        started = set(self.programs).union(*(pool.processes for pool in self.every_pool()))
        return strangers(started)

    def on_order(self) -> None:
        """Obey one order of a worker."""
        try:
            received = receive_order(self.orders)
        except (BlockingIOError, ProtocolError):
            return
        if received is None:
            self.finish()
            return
        self.asked += 1
        order, (*descriptors, control) = received
        self.turns.take(control, lambda lease: self.obey(order, descriptors, lease), descriptors)

    def obey(self, order: Run | Use, descriptors: list[int], lease: Lease) -> None:
        """Do what a worker requested: its turn has come."""
        match order:
            case Run():
                self.execute(order, descriptors, lease)
            case Use() if order.server in self.error_logs:
                self.pool(order.app).lease(lease, self.error_logs[order.server])
            case Use():
                lease.answer(error="its virtual host does not belong to this identity")
                lease.close()
        self.update_title()

    def pool(self, app: App) -> Pool:
        """The processes of an app. Those that are ending take no more requests: others follow them."""
        pool = self.pools.get(app)
        if pool is None or pool.ending or pool.is_worn():
            if pool is not None:
                self.leaving.add(pool)
                pool.retire()
            pool = self.pools[app] = Pool(app, self.loop, self.forget, self.slice.state)
        return pool

    def every_pool(self) -> list[Pool]:
        """The pools, including those that are ending."""
        return [*self.pools.values(), *self.leaving]

    def forget(self, pool: Pool) -> None:
        """An app ended."""
        self.leaving.discard(pool)
        if self.pools.get(pool.app) is pool:
            del self.pools[pool.app]
        self.update_title()

    def execute(self, order: Run, standard: list[int], lease: Lease) -> None:
        """Run a program for one request."""
        try:
            pid = start(Start(order.command, order.environment, order.folder, tuple(standard), order.limits))
        except OSError as error:
            lease.answer(error=f"it cannot be started: {error.strerror}")
            lease.close()
            return
        finally:
            for descriptor in standard:
                os.close(descriptor)
        self.programs[pid] = Running(self.loop, pid, lease, self.drop)
        lease.answer()

    def drop(self, pid: int) -> None:
        """A program's request is finished."""
        del self.programs[pid]
        self.update_title()

    async def end(self) -> None:
        """End everything; apps may finish their requests."""
        self.loop.remove_reader(self.orders.fileno())
        give_up = self.loop.time() + LEAVE
        for pool in self.every_pool():
            pool.end()
        while self.every_pool() and self.loop.time() < give_up:
            await asyncio.sleep(LOOK_AGAIN)
        end_all(LEAVE)
        for pool in self.every_pool():
            pool.clear()
        for writer in self.writers.all():
            writer.finish()

    def update_title(self) -> None:
        """Show the load to ps(1)."""
        count = len(self.programs) + sum(len(pool.processes) for pool in self.every_pool())
        setproctitle(f"ownhost: launcher {self.slice.name} ({count} program{'' if count == 1 else 's'})")
