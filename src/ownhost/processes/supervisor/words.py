"""How many words a process may say: a bucket for each channel. Pure.

Each word is work for the supervisor, which everybody depends on. Who says more than his bucket has is not read for a
while: what he says waits in his own channel, and costs him alone.
"""

from __future__ import annotations

from ownhost.http.bucket import Bucket

# Words per second, and how many at once, by role. A gate asks for a mailbox for each name that is asked for first.
RATES: dict[str, tuple[float, float]] = {
    "gate": (2_000.0, 10_000.0),
    "resolver": (2_000.0, 10_000.0),  # it answers no more than it is asked
    "worker": (200.0, 400.0),
}
OF_OTHERS = (10.0, 20.0)


def bucket_of(role: str) -> Bucket:
    """A full one for a process of this role."""
    return Bucket(*RATES.get(role, OF_OTHERS))
