"""The fronts' mailbox."""

from __future__ import annotations

from ownhost.processes.mailbox import is_broken, mailbox_pair


class FrontMailbox:
    """Where gates put connections from listed proxies. It outlives the fronts, which all read it."""

    def __init__(self, capacity: int) -> None:
        """`capacity` is how many handovers it takes."""
        self.capacity = capacity
        self.upper, self.lower = mailbox_pair(capacity)

    def renew(self) -> bool:
        """Replace ends that a front has shut down. Returns whether it had."""
        if not is_broken(self.upper):
            return False
        self.upper.close()
        self.lower.close()
        self.upper, self.lower = mailbox_pair(self.capacity)
        return True
