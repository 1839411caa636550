"""A process that is forked before it is needed, to be the next worker.

An owner's first visitor waits for a fork, and for every page of memory that a new process changes:
the kernel copies it then. A spare process has done both. It is the forkserver's copy, without any
owner's data, until an order comes.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from typing import NoReturn

from setproctitle import setproctitle

from ownhost.identity import prctl
from ownhost.identity.shedding.surroundings import CONTROL
from ownhost.processes.messages import Channel, Fork

WarmUp = Callable[[], Iterator[None]]  # touches in steps what every worker touches
Begin = Callable[[Fork, int, int], NoReturn]  # runs a new process's order, with its descriptors


class Spare:
    """A spare process, as its parent sees it."""

    role = "worker"

    def __init__(self, warm_up: WarmUp, begin: Begin) -> None:
        """Fork it. Raises OSError."""
        parent = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if self.pid == 0:
            _wait(theirs, parent, warm_up, begin)
        theirs.close()
        self._channel = Channel(ours, ())

    def give(self, order: Fork, control: int, page: int) -> bool:
        """Have it obey an order. False if it is gone: then it must be reaped, and another one used."""
        try:
            self._channel.send(order, (control, page))
        except OSError:
            return False
        finally:
            self.close()
        return True

    def close(self) -> None:
        """Give it no order: it ends."""
        self._channel.close()

    def has_ended(self) -> bool:
        """Whether it has ended, or was killed."""
        return os.waitpid(self.pid, os.WNOHANG)[0] != 0


def _wait(sock: socket.socket, parent: int, warm_up: WarmUp, begin: Begin) -> NoReturn:
    try:
        prctl.set_parent_death_signal(signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        # The forkserver's channel must not stay open in this process: its end must be seen there at
        # once.
        os.dup2(sock.fileno(), CONTROL, inheritable=False)
        sock.close()
        os.closerange(CONTROL + 1, os.sysconf("SC_OPEN_MAX"))
        if os.getppid() != parent:
            os._exit(0)
        setproctitle("ownhost: spare worker")
        channel = Channel(socket.socket(fileno=CONTROL), (Fork,))
        asked = select.poll()
        asked.register(CONTROL, select.POLLIN)
        for _ in warm_up():
            if asked.poll(0):
                break
        received = channel.receive()
        if received is not None:
            order, (control, page) = received
            assert isinstance(order, Fork)
            channel.sock.detach()
            begin(order, control, page)
    finally:
        os._exit(1)
