"""Requests of front proxies, relayed by a front: the target's end of a pair, in the virtual host's own identity.

The front is believed about the client, as a gate is. All else is as for a client of this worker's
own: the name is checked again, clients are counted, and requests of another identity are relayed
from here.
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
    """One request after another, each of any client."""

    __slots__ = ()

    relayed = False

    def find(self, head: Head) -> Service | None:
        """The virtual host that the pair was made for, if the request names it. Raises HTTPError."""
        self.fresh = True
        return Connection.find(self, head)

    def pass_on(self) -> Event | None:
        """Have another identity of the virtual host answer a request: the front need not know it."""
        self.taken()
        return Connection.pass_on(self)

    def relay_is_over(self, *, keep: bool) -> Event:
        """A response was sent that another identity's worker has made and logged."""
        self.leave()
        with contextlib.suppress(OSError):  # after a switch of protocols only the pair's end counts
            self.sock.end_answer(End(keep, keep))
        return super().relay_is_over(keep=keep)

    def over(self, sending: Sending, *, aborted: bool) -> Event:
        """A response was sent. The client is counted as long as it is answered."""
        self.leave()
        return super().over(sending, aborted=aborted)
