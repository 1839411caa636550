"""The fronts' mailbox, and when to start a front."""

from __future__ import annotations

from ownhost.processes.mailbox import is_broken, mailbox_pair
from ownhost.processes.supervisor.mailboxes import CORES
from ownhost.processes.supervisor.policy import SpawnPolicy


class FrontService:
    """At least two fronts: where one dies, the other goes on. The mailbox outlives them."""

    def __init__(self, capacity: int) -> None:
        """`capacity` is how many handovers the mailbox takes."""
        self.capacity = capacity
        self.upper, self.lower = mailbox_pair(capacity)
        self.policies = {number: SpawnPolicy(limit=1, neutral=True) for number in range(max(2, CORES // 2))}

    def renew(self) -> bool:
        """Make a new mailbox in the place of one that a front has shut down. Whether that was so."""
        if not is_broken(self.upper):
            return False
        self.upper.close()
        self.lower.close()
        self.upper, self.lower = mailbox_pair(self.capacity)
        return True
