"""How many messages a process may send: a bucket for each channel. Pure.

Each message is work for the supervisor, on which all owners depend. A process that exceeds its
bucket is not read for a while: its messages wait in its own channel, and only it is affected.
"""

from __future__ import annotations

from ownhost.http.bucket import Bucket

# Messages per second, and how many at once, by role. A gate asks for a mailbox for each name that
# is requested for the first time.
RATES: dict[str, tuple[float, float]] = {
    "gate": (2_000.0, 10_000.0),
    "resolver": (2_000.0, 10_000.0),  # it only answers questions
    "worker": (200.0, 400.0),
}
OF_OTHERS = (10.0, 20.0)


def bucket_of(role: str) -> Bucket:
    """A full bucket for a process of this role."""
    return Bucket(*RATES.get(role, OF_OTHERS))
