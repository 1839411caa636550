"""The processes that serve all owners and always run: the logger, gates, and fronts."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from ownhost.processes.messages import Sender
from ownhost.processes.slices import DEFAULT_IDENTITY, NO_IDENTITY
from ownhost.processes.supervisor.children import Child
from ownhost.processes.supervisor.fronts import FrontMailbox
from ownhost.processes.supervisor.logs import Logs
from ownhost.processes.supervisor.logsenders import LogSenders
from ownhost.processes.supervisor.mailboxes import CORES
from ownhost.processes.supervisor.plan import Plan
from ownhost.processes.supervisor.policy import SpawnPolicy

GATES = max(2, CORES // 2)  # each passes on more than two cores can serve; two, so that one is always there
FRONTS = max(2, CORES // 2)  # the same, if a proxy is listed

Fork = Callable[[str, int, int, object, list[int]], Child]


class Neutral:
    """Starts them: each has a role, a number within it, and a policy. `handover` is the size of one."""

    def __init__(
        self,
        plan: Plan,
        logs: Logs,
        log_senders: LogSenders,
        listeners: Sequence[socket.socket],
        fronts: FrontMailbox | None,
        handover: int,
        fork: Fork,
    ) -> None:
        self.plan = plan
        self.logs = logs
        self.log_senders = log_senders
        self.listeners = listeners
        self.fronts = fronts
        self.handover = handover
        self.fork = fork
        numbers = {"logger": 1, "gate": GATES, "front": FRONTS if fronts else 0}
        self.policies = {
            (role, number): SpawnPolicy(limit=1, neutral=True)
            for role, count in numbers.items()
            for number in range(count)
        }

    def start_all(self) -> None:
        """Start every one, the logger first."""
        for role, number in self.policies:
            self.start(role, number)

    def start(self, role: str, number: int) -> None:
        """Start one, in place of one that has ended."""
        self.policies[role, number].started()
        if role == "gate":  # the listeners are the same for all
            listeners = [listener.fileno() for listener in self.listeners]
            self._start_forwarder(role, number, self.plan.gate_slice(self.handover), listeners)
        elif role == "front" and self.fronts is not None:  # all take connections from one mailbox
            content = self.plan.front_slice(self.handover)
            self._start_forwarder(role, number, content, [self.fronts.lower.fileno()])
        else:
            logs = self.logs.shared_descriptors()
            self.log_senders.serve(self.fork(role, number, DEFAULT_IDENTITY, self.logs.logger_slice(self.plan), logs))

    def _start_forwarder(self, role: str, number: int, content: object, sources: list[int]) -> None:
        """Start a gate or a front: `sources` is where its connections come from. Both log as the main server."""
        log = self.log_senders.new(Sender(self.logs.main_log, "error", NO_IDENTITY, f"the {role}", 0))
        child = self.fork(role, number, DEFAULT_IDENTITY, content, [*sources, log.sending])
        os.close(log.sending)
        child.log_senders.append(log)
