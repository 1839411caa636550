"""The sockets on which processes send lines to the logger. They outlive it: lines sent meanwhile wait for the next one.

A process has one end of a socket pair, the logger a copy of the other. The supervisor keeps that
one as long as the process lives, and a while longer: a logger that died may not have read its last
lines.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable

from ownhost.processes import passrights
from ownhost.processes.messages import Sender
from ownhost.processes.supervisor.children import Child, Children, LogSender

KEPT = 5.0  # seconds for which a socket is kept after its process has ended


class LogSenders:
    """All of them."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.logger: Child | None = None
        self.senders: set[LogSender] = set()

    def new(self, what: Sender) -> LogSender:
        """Make one, and tell the logger about it. It refuses descriptors, if the kernel can."""
        receiving, sending = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passrights.guard(receiving)
        sending.setblocking(False)
        sender = LogSender(what, receiving.detach(), sending.detach())
        self.senders.add(sender)
        self._tell(sender)
        return sender

    def serve(self, logger: Child) -> None:
        """Tell a new logger about all."""
        self.logger = logger
        for sender in self.senders:
            self._tell(sender)

    def leave(self, senders: Iterable[LogSender]) -> None:
        """The process with these sockets has ended."""
        for sender in senders:
            asyncio.get_running_loop().call_later(KEPT, self._end, sender)

    def _tell(self, sender: LogSender) -> None:
        if self.logger is not None:
            self.children.tell(self.logger, sender.what, [sender.receiving])

    def _end(self, sender: LogSender) -> None:
        """Close one that a logger has: this process never discards what is left in it."""
        if self.logger is None:
            self.leave([sender])
        else:
            self.senders.discard(sender)
            os.close(sender.receiving)
