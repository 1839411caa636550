"""A connection that a gate holds: its client, and the socket."""

from __future__ import annotations

from dataclasses import dataclass
from socket import SocketType

from ownhost.processes.gate.client import Client, Event
from ownhost.processes.mailbox import Handover


@dataclass(slots=True, eq=False)
class Held:
    """One that can be delivered (delivery.Parcel)."""

    sock: SocketType
    client: Client

    @property
    def since(self) -> float:
        """Monotonic seconds: since when it waits for its mailbox."""
        return self.client.since

    @since.setter
    def since(self, now: float) -> None:
        self.client.since = now

    def step(self, event: Event) -> str:
        """Go to the next state; returns what is to be done."""
        return self.client.step(event)

    def fileno(self) -> int:
        return self.sock.fileno()

    def handover(self) -> Handover:
        """The data for a worker, or a front."""
        client = self.client
        return Handover(
            client.server,
            client.address,
            client.port,
            client.local,
            client.local_port,
            client.host,
            client.encrypted,
            peer=client.peer,
            peer_port=client.peer_port,
        )

    def kept(self) -> None:
        self.step(Event.FULL)

    def taken(self) -> None:
        self.step(Event.TAKEN)
        self.sock.close()
