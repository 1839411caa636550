"""A launcher.

NAME        starts and ends an identity's programs: CGI, and apps that stay (PHP, WSGI)
TRUSTS      its identity's workers, which may have it run anything: as the owner, all of this is the owner's
RUNS AS     the identity, without filter or no_new_privs, so that sudo and sendmail work from owners' programs
TALKS TO    workers (orders), the supervisor ("stop"), programs (it starts, ends and reaps them); never the network
ENDS WHEN   nothing has been asked for a while and no program is left, or its channel ends
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import NoReturn

from setproctitle import setproctitle

from ownhost.processes.child import Start, start
from ownhost.processes.messages import Channel, ProtocolError
from ownhost.processes.orders import Run, Use, receive_order
from ownhost.processes.pool import Pool
from ownhost.processes.slices import LauncherSlice, receive_slice

IDLE = 60.0  # seconds without an order


def main(channel: Channel) -> NoReturn:
    """Run a launcher: see the head of this file."""
    slice_, (orders,) = receive_slice(channel)
    assert isinstance(slice_, LauncherSlice)
    asyncio.run(Launcher(channel, socket.socket(fileno=orders), slice_.name).run())
    raise SystemExit(0)


def rehearse() -> None:
    """There is nothing to warm that workers don't."""


class Launcher:
    """Programs that run, and apps that stay."""

    def __init__(self, channel: Channel, orders: socket.socket, name: str) -> None:
        self.channel = channel
        self.orders = orders
        self.name = name
        self.programs: dict[int, int] = {}  # pid -> its pidfd
        self.pools: dict[object, Pool] = {}  # by App
        self.asked = 0

    async def run(self) -> None:
        """Serve until idle or told to stop."""
        self.loop = asyncio.get_running_loop()
        self.done = self.loop.create_future()
        self.channel.sock.setblocking(False)
        self.loop.add_reader(self.channel.fileno(), self.take_message)
        self.loop.add_reader(self.orders.fileno(), self.take_order)
        self.loop.call_later(IDLE, self.leave_if_idle, self.asked)
        self.update_title()
        try:
            await self.done
        finally:
            self.end()

    def take_message(self) -> None:
        """The supervisor says stop, or is gone."""
        with contextlib.suppress(ProtocolError, OSError):
            self.channel.receive()
        self.finish()

    def finish(self) -> None:
        """End the loop."""
        if not self.done.done():
            self.done.set_result(None)

    def leave_if_idle(self, asked_before: int) -> None:
        """Leave where nothing runs and nothing was asked for a while."""
        if not self.programs and not self.pools and self.asked == asked_before:
            self.finish()
        else:
            self.loop.call_later(IDLE, self.leave_if_idle, self.asked)

    def take_order(self) -> None:
        """Obey one order of a worker."""
        try:
            received = receive_order(self.orders)
        except (BlockingIOError, ProtocolError):
            return
        if received is None:
            self.finish()
            return
        self.asked += 1
        match received:
            case Run() as order, descriptors:
                self.execute(order, descriptors)
            case Use() as order, (errors, lease):
                pool = self.pools.get(order.app)
                if pool is None:
                    pool = self.pools[order.app] = Pool(order.app, self.loop, lambda: self.forget(order))
                pool.lease(socket.socket(fileno=lease), errors)
        self.update_title()

    def forget(self, order: Use) -> None:
        """An app ended."""
        self.pools.pop(order.app, None)
        self.update_title()

    def execute(self, order: Run, descriptors: list[int]) -> None:
        """Run a program; it ends, at the latest, when the worker closes its end of the control socket."""
        *standard, control = descriptors
        try:
            pid = start(Start(order.command, order.environment, order.folder, tuple(standard), order.limits))
        except OSError:
            os.close(control)
            return
        finally:
            for descriptor in standard:
                os.close(descriptor)
        pidfd = os.pidfd_open(pid)
        self.programs[pid] = pidfd
        self.loop.add_reader(pidfd, self.reap, pid, control)
        self.loop.add_reader(control, self.kill, pid, control)

    def kill(self, pid: int, control: int) -> None:
        """Nobody waits for a program any more: end it and what it started."""
        self.loop.remove_reader(control)
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)

    def reap(self, pid: int, control: int) -> None:
        """A program ended. What it left running in its process group is its own business."""
        self.loop.remove_reader(control)
        pidfd = self.programs.pop(pid)
        self.loop.remove_reader(pidfd)
        os.close(pidfd)
        os.close(control)
        os.waitpid(pid, 0)
        self.update_title()

    def end(self) -> None:
        """End everything."""
        for pool in list(self.pools.values()):
            pool.end()
        for pid in self.programs:
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)

    def update_title(self) -> None:
        """Show the load to ps(1)."""
        count = len(self.programs) + sum(len(pool.processes) for pool in self.pools.values())
        setproctitle(f"ownhost: launcher {self.name} ({count} program{'' if count == 1 else 's'})")
