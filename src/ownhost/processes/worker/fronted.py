"""Requests of front proxies, which a front relays: the target's end of a pair, in the virtual host's own identity.

What a front says of the client is believed, as what a gate says. All else is as for a client of this worker's own: the
name is looked at again, clients are counted, and what belongs to another identity is relayed on from here.
"""

from __future__ import annotations

import contextlib

from ownhost.http.message import Head
from ownhost.processes.relay.records import End
from ownhost.processes.worker.connection import Connection
from ownhost.processes.worker.conversation import Event
from ownhost.processes.worker.relayed import RelayedConnection
from ownhost.processes.worker.sending import Sending
from ownhost.processes.worker.service import Service


class FrontedConnection(RelayedConnection):
    """One request after the other, each of whatever client."""

    __slots__ = ()

    relayed = False

    def find(self, head: Head) -> Service | None:
        """The virtual host that the pair was made for, if the request names it. Raises HTTPError."""
        self.fresh = True
        return Connection.find(self, head)

    def pass_on(self) -> Event | None:
        """Have another identity of the virtual host answer a request: the front need not know."""
        self.taken()
        return Connection.pass_on(self)

    def relay_is_over(self, *, keep: bool) -> Event:
        """An answer is out that another identity's worker has made and logged."""
        self.leave()
        with contextlib.suppress(OSError):  # after a switch of protocols there is no end but the pair's
            self.sock.end_answer(End(keep, keep))
        return super().relay_is_over(keep=keep)

    def over(self, sending: Sending, *, aborted: bool) -> Event:
        """An answer is out. The client is counted for as long as it is answered."""
        self.leave()
        return super().over(sending, aborted=aborted)
