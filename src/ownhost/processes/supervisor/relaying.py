"""Pairs over which a virtual host's own identity relays requests to its other ones.

A worker names whom a request is to be served as. It is told no more than whether that is somebody, and gets one end of
a new pair; the other one goes down to whom it named, with the id of the virtual host. Nothing of a pair is ever read
here.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence

from ownhost.identity.identity import Assignment, Refusal
from ownhost.processes import mailbox
from ownhost.processes.descriptors import refuse_descriptors
from ownhost.processes.mailbox import Handover
from ownhost.processes.messages import Message, NotRelayed, ProtocolError, Relay, Relayed
from ownhost.processes.supervisor.children import Child
from ownhost.processes.supervisor.mailboxes import Services
from ownhost.processes.supervisor.plan import Plan

MOST_WAITING = 64  # questions of one worker that wait for their turn; honest ones ask half as many at once
LOOK_UP_COST = 10.0  # tokens of a name that is not remembered: the user database may be far away
REMEMBERED_FOR = 2.0  # seconds that the answer for a name is remembered: accounts come to be, and change
MOST_REMEMBERED = 4_096

Tell = Callable[[Child, Message, Sequence[int]], None]


class Relaying:
    """Answers workers' `Relay`."""

    def __init__(self, plan: Plan, services: Services, tell: Tell) -> None:
        self.plan = plan
        self.services = services
        self.tell = tell
        self.size = mailbox.handover_size(services.capacity)
        self.names: dict[tuple[int, Assignment], tuple[int | Refusal, float]] = {}  # and until when

    def on_relay(self, child: Child, message: Relay) -> None:
        """Answer a question, now or when its turn comes. Raises ProtocolError for what no worker has to ask."""
        servers = self.plan.config.servers
        if not 0 <= message.server < len(servers) or self.plan.own(servers[message.server]) != child.number:
            raise ProtocolError(f"a worker relays for virtual host {message.server}, which is not its own")
        wanted = Assignment(message.user or None, message.group or None, message.nice)
        known = self.recall(message.server, wanted) is not None
        wait = child.relays.charge(1.0 if known else LOOK_UP_COST, time.monotonic())
        if wait <= 0:
            self.answer(child, message, wanted)
            return
        if child.waiting >= MOST_WAITING:
            raise ProtocolError("a worker relays more than it is answered")
        child.waiting += 1
        asyncio.get_running_loop().call_later(wait, self.answer_later, child, message, wanted)

    def answer_later(self, child: Child, message: Relay, wanted: Assignment) -> None:
        """The turn of a question has come."""
        child.waiting -= 1
        if child.channel.fileno() >= 0:
            self.answer(child, message, wanted)

    def answer(self, child: Child, message: Relay, wanted: Assignment) -> None:
        """Make a pair, if there is somebody at its other end."""
        found = self.look_up(message.server, wanted)
        if isinstance(found, Refusal):
            self.tell(child, NotRelayed(message.serial, found.logged), ())
            return
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for end in (ours, theirs):
                refuse_descriptors(end)
            try:
                handover = Handover(message.server, relay=True)
                self.services.put(found, theirs.fileno(), handover, self.size)
            except (mailbox.Full, mailbox.Broken):
                self.tell(child, NotRelayed(message.serial, ""), ())
            else:
                self.tell(child, Relayed(message.serial), [ours.fileno()])

    def look_up(self, server: int, wanted: Assignment) -> int | Refusal:
        """The identity that a virtual host's request comes to, or why it comes to none."""
        found = self.recall(server, wanted)
        if found is None:
            found = self.plan.name(server, wanted)
            if len(self.names) >= MOST_REMEMBERED:
                self.names.clear()
            self.names[server, wanted] = found, time.monotonic() + REMEMBERED_FOR
        return found

    def recall(self, server: int, wanted: Assignment) -> int | Refusal | None:
        """The same, as far as it is written down or was looked up a moment ago."""
        listed = self.plan.routes[server].get(wanted)
        if listed is not None:
            return listed
        found, until = self.names.get((server, wanted), (None, 0.0))
        return found if time.monotonic() < until else None
