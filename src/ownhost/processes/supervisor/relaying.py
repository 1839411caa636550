"""Pairs over which a virtual host's own identity relays requests to its other ones.

A worker names the identity for a request. It learns only whether there is such an identity, and
gets one end of a new pair. The other end goes down to that identity, with the id of the virtual
host. Nothing on a pair is ever read here.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial

from ownhost.identity.accounts import Found
from ownhost.identity.identity import Assignment, Refusal
from ownhost.processes import mailbox
from ownhost.processes.descriptors import refuse_descriptors
from ownhost.processes.mailbox import Handover
from ownhost.processes.messages import Message, NotRelayed, ProtocolError, Relay, Relayed
from ownhost.processes.supervisor.children import Child
from ownhost.processes.supervisor.mailboxes import Services
from ownhost.processes.supervisor.plan import Plan
from ownhost.processes.supervisor.resolving import Resolving

MOST_WAITING = 64  # waiting questions of one worker; honest workers ask half as many
LOOK_UP_COST = 10.0  # tokens for a name that is not remembered: the user database may be far away
REMEMBERED_FOR = 2.0  # seconds that the answer for a name is remembered: accounts appear and change
MOST_REMEMBERED = 4_096

NO_ANSWER = Refusal("the system's databases of users and groups did not answer in time: see nsswitch.conf(5)")

Target = tuple[int, Assignment]  # the id of a virtual host, and the assignment of a request
Tell = Callable[[Child, Message, Sequence[int]], None]


class Relaying:
    """Answers workers' `Relay`."""

    def __init__(self, plan: Plan, services: Services, resolving: Resolving, tell: Tell) -> None:
        self.plan = plan
        self.services = services
        self.resolving = resolving
        self.tell = tell
        self.size = mailbox.handover_size(services.capacity)
        self.names: dict[Target, tuple[int | Refusal, float]] = {}  # and until when
        self.asked: dict[Target, list[tuple[Child, Relay]]] = {}  # names that are being looked up, and who waits for it

    def on_relay(self, child: Child, message: Message) -> None:
        """Answer a question, now or when its turn comes. Raises ProtocolError for a question that is not allowed."""
        assert isinstance(message, Relay)
        servers = self.plan.config.servers
        if not 0 <= message.server < len(servers) or self.plan.own(servers[message.server]) != child.number:
            raise ProtocolError(f"a worker relays for virtual host {message.server}, which is not its own")
        wanted = Assignment(message.user or None, message.group or None, message.nice)
        found = self.recall(message.server, wanted)
        wait = child.relays.charge(LOOK_UP_COST if found is None else 1.0, time.monotonic())
        if found is not None and wait <= 0:
            self.answer(child, message, found)
            return
        if child.waiting >= MOST_WAITING:
            raise ProtocolError("a worker relays more than it is answered")
        child.waiting += 1
        asyncio.get_running_loop().call_later(wait, self.find, child, message, wanted)

    def find(self, child: Child, message: Relay, wanted: Assignment) -> None:
        """The turn of a question has come: answer it, or have the name looked up. Equal questions wait together."""
        if child.channel.fileno() < 0:
            return
        target = message.server, wanted
        found = self.recall(*target)
        if found is not None:
            child.waiting -= 1
            self.answer(child, message, found)
            return
        waiting = self.asked.setdefault(target, [])
        waiting.append((child, message))
        if len(waiting) == 1:
            complete = wanted.complete(self.plan.default)
            self.resolving.ask(child.number, complete.user or "", complete.group or "", partial(self.learn, target))

    def learn(self, target: Target, said: Found | None) -> None:
        """The user database's answer for a name; None: no answer."""
        found = NO_ANSWER if said is None else self.plan.name(*target, said)
        if len(self.names) >= MOST_REMEMBERED:
            self.names.clear()
        if found is not NO_ANSWER:
            self.names[target] = found, time.monotonic() + REMEMBERED_FOR
        for child, message in self.asked.pop(target):
            child.waiting -= 1
            if child.channel.fileno() >= 0:
                self.answer(child, message, found)

    def answer(self, child: Child, message: Relay, found: int | Refusal) -> None:
        """Make a pair, if there is an identity for its other end."""
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

    def recall(self, server: int, wanted: Assignment) -> int | Refusal | None:
        """The identity of a virtual host's request, or why it has none.

        None if the configuration does not say it, and it was not looked up a moment ago.
        """
        found, until = self.names.get((server, wanted), (None, 0.0))
        return found if time.monotonic() < until else self.plan.known(server, wanted)
