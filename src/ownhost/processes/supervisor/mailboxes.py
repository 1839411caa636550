"""The identities that were requested: their mailboxes, and the workers that read them.

A mailbox outlives any worker, and its content waits for the next one. A worker can shut down its
end, which all workers share. Then the identity gets a new one, and its workers end. The next worker
gets the old end, too, and serves what is left in it. No other process may close that end last: the
owner could reach the sockets in it, and a close can take as long as the owner likes (SO_LINGER).
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ownhost.processes.mailbox import Handover, has_mail, is_broken, mailbox_pair, send_handover
from ownhost.processes.messages import channel_pair
from ownhost.processes.supervisor.policy import EARLY_DEATH, SpawnPolicy

CORES = len(os.sched_getaffinity(0))


@dataclass(slots=True, eq=False)
class Service:
    """One identity's mailbox, and the policies for its workers and its launcher."""

    upper: socket.socket
    workers: socket.socket
    policy: SpawnPolicy
    orders: tuple[socket.socket, socket.socket]  # to its launcher: the workers' end, and the launcher's
    launcher: SpawnPolicy
    watched: bool = False
    due: bool = False  # it is attended as soon as its policy lets a worker start
    orders_watched: bool = False
    left_over: list[socket.socket] = field(default_factory=list)  # workers' ends that were shut down

    @property
    def has_mail(self) -> bool:
        """Whether anything waits for a worker."""
        return has_mail(self.workers) or bool(self.left_over)


class Services:
    """All of them, by identity number.

    `start_worker` and `start_launcher` start a process of an identity, `end_workers` ends the
    running ones.
    """

    def __init__(
        self,
        capacity: int,
        idle_timeout: float,
        start_worker: Callable[[int], None],
        start_launcher: Callable[[int], None],
        end_workers: Callable[[int], None],
    ) -> None:
        self.capacity = capacity  # handovers in each mailbox
        self.idle_timeout = idle_timeout
        self.start_worker = start_worker
        self.start_launcher = start_launcher
        self.end_workers = end_workers
        self.by_number: dict[int, Service] = {}

    def __getitem__(self, number: int) -> Service:
        """The service of an identity; made on first use."""
        service = self.by_number.get(number)
        if service is None:
            orders = channel_pair()
            for end in orders:
                end.setblocking(False)
            policy = SpawnPolicy(limit=CORES, stays=self.idle_timeout)
            launchers = SpawnPolicy(limit=1, stays=EARLY_DEATH)
            service = Service(*mailbox_pair(self.capacity), policy, orders, launchers)
            self.by_number[number] = service
            self.attend_orders(number)
        return service

    @property
    def have_mail(self) -> bool:
        """Whether anything waits for any worker."""
        return any(service.has_mail for service in self.by_number.values())

    def open(self, number: int) -> socket.socket:
        """The upper end of an identity's mailbox, for a process with something to put into it.

        A worker will read it.
        """
        self.renew(number)
        service = self[number]
        # A first request need not wait until it is in the mailbox.
        if service.policy.wanted(time.monotonic()):
            self.start_worker(number)
        else:
            self.attend(number)
        return service.upper

    def put(self, number: int, descriptor: int, handover: Handover, size: int) -> None:
        """Put something into an identity's mailbox, and have a worker read it. Raises mailbox.Full, Broken, OSError."""
        send_handover(self.open(number), descriptor, handover, size)

    def renew(self, number: int) -> None:
        """Replace a mailbox that was shut down. That counts as an early death."""
        service = self[number]
        if not is_broken(service.upper):
            return
        self.unwatch(service)
        service.left_over.append(service.workers)
        service.upper.close()
        service.upper, service.workers = mailbox_pair(self.capacity)
        self.end_workers(number)
        service.policy.broken(time.monotonic())

    def attend(self, number: int) -> None:
        """Have a worker started as soon as something waits in a mailbox without a reader."""
        self.renew(number)
        service = self[number]
        if service.policy.workers or service.watched or service.due:
            return
        wait = service.policy.not_before - time.monotonic()
        loop = asyncio.get_running_loop()
        if wait > 0:
            service.due = True
            loop.call_later(wait, self.attend_now, number)
        elif service.left_over:
            self.start_worker(number)
        else:
            service.watched = True
            loop.add_reader(service.workers.fileno(), self.on_mail, number)

    def attend_now(self, number: int) -> None:
        """The policy allows a worker again, unless that has changed meanwhile."""
        self[number].due = False
        self.attend(number)

    def on_mail(self, number: int) -> None:
        """Something has come for an identity, or its mailbox was shut down."""
        self.unwatch(self[number])
        self.renew(number)
        if self[number].policy.wanted(time.monotonic()):
            self.start_worker(number)
        else:
            self.attend(number)

    def unwatch(self, service: Service) -> None:
        """A worker will read the mailbox: stop watching it."""
        if service.watched:
            service.watched = False
            asyncio.get_running_loop().remove_reader(service.workers.fileno())

    def attend_orders(self, number: int) -> None:
        """Have a launcher started as soon as a worker orders something and there is none."""
        service = self[number]
        if service.launcher.workers or service.orders_watched:
            return
        service.orders_watched = True
        asyncio.get_running_loop().add_reader(service.orders[1].fileno(), self.on_order, number)

    def on_order(self, number: int) -> None:
        """A worker has ordered something."""
        service = self[number]
        service.orders_watched = False
        asyncio.get_running_loop().remove_reader(service.orders[1].fileno())
        self.start_launcher(number)
