"""Whether a request is a worker's own: what a worker can decide without trusting another process."""

from __future__ import annotations

import time

from ownhost.config.model import VirtualHost
from ownhost.identity.accounts import is_assigned
from ownhost.identity.identity import Assignment
from ownhost.processes.slices import WorkerSlice
from ownhost.request.routing import choices_of

MAX_REMEMBERED = 1_024  # look-ups
REMEMBERED_FOR = 2.0  # seconds that a look-up is remembered: accounts change


class OwnIdentity:
    """Which of one virtual host's assignments mean this worker's identity."""

    def __init__(self, slice_: WorkerSlice, server: VirtualHost) -> None:
        self.listed = slice_.mine.get(server.id, frozenset())
        self.computed = slice_.in_range and choices_of(server).computed
        self.identity = slice_.identity
        self.default = slice_.default
        self.found: dict[Assignment, tuple[bool, float]] = {}  # and until when that is remembered

    def __call__(self, assignment: Assignment) -> bool:
        """Whether requests with this assignment are served here."""
        if assignment in self.listed:
            return True
        if not self.computed:
            return False
        now = time.monotonic()
        mine, until = self.found.get(assignment, (False, 0.0))
        if now >= until:
            mine = is_assigned(self.identity, assignment.complete(self.default))
            if len(self.found) >= MAX_REMEMBERED:
                self.found.clear()
            self.found[assignment] = mine, now + REMEMBERED_FOR
        return mine
