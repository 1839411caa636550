"""What workers give back, checked: nothing that a worker says is believed where a lie would hurt another owner.

A ticket proves that a gate accepted the socket; the kernel, or what a gate has put under a ticket, says who is at its
ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from socket import AF_INET, AF_UNIX, SO_RCVLOWAT, SOCK_STREAM, SOL_SOCKET, SocketType

from ownhost.processes import mailbox
from ownhost.processes.gate.delivery import Client
from ownhost.processes.mailbox import Origin, Return
from ownhost.processes.messages import close_at_once
from ownhost.processes.slices import GateSlice

_INET, _STREAM = int(AF_INET), int(SOCK_STREAM)
SpeaksTLS = Callable[[str, int], bool]  # of an address and a port


def check(
    message: Return, descriptors: list[int], slice_: GateSlice, identity: int, speaks_tls: SpeaksTLS
) -> Client | None:
    """The connection that a worker of an identity gives back; None, and all closed, where no gate ever accepted it."""
    if message.relay:
        return _relayed(message, descriptors, slice_, identity)
    return _returned(message, descriptors, slice_, speaks_tls)


def _returned(message: Return, descriptors: list[int], slice_: GateSlice, speaks_tls: SpeaksTLS) -> Client | None:
    """A connection that comes back as it went, if a gate accepted it."""
    sock = SocketType(_INET, _STREAM, 0, descriptors[0])  # or another family: nothing here depends on it
    try:
        if not mailbox.ticket_is_good(sock, slice_.secret, message.ticket, message.origin):
            raise ValueError("made up")
        if message.origin:
            origin = Origin.from_text(message.origin)
            ends = (origin.client, origin.client_port, origin.local, origin.local_port)
        else:
            ends = ends_of(sock)
            if speaks_tls(ends[2], ends[3]):
                raise ValueError("a stream that is encrypted stays where it is")
        sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 1)
    except (OSError, ValueError):
        close_at_once(sock)
        return None
    moves = min(message.moves + 1, 255)
    since = time.monotonic()
    return Client(sock, *ends, since, moves=moves, data=message.data, ticket=message.ticket, origin=message.origin)


def _relayed(message: Return, descriptors: list[int], slice_: GateSlice, identity: int) -> Client | None:
    """A connection under TLS that goes on in clear, on another socket. The client's own proves whose it is.

    Only who has a virtual host's key may relay for it: others could put words into clients' mouths.
    """
    proof, sock = (SocketType(-1, -1, -1, descriptor) for descriptor in descriptors)
    server, _, facts = message.origin.partition("\0")
    try:
        if not mailbox.ticket_is_good(proof, slice_.secret, message.ticket):
            raise ValueError("made up")
        if int(server) not in slice_.tls or slice_.own[int(server)] != identity or "\0" in facts:
            raise ValueError("not its own")
        if sock.family != AF_UNIX or sock.type != SOCK_STREAM:
            raise ValueError("no end of a stream between processes")
        ends = ends_of(proof)
    except (OSError, ValueError):
        close_at_once(sock)
        return None
    finally:
        close_at_once(proof)
    origin = Origin(*ends, int(server), facts).to_text()
    moves = min(message.moves + 1, 255)
    return Client(sock, *ends, time.monotonic(), moves=moves, data=message.data, origin=origin)


def ends_of(sock: SocketType) -> tuple[str, int, str, int]:
    """Address and port of a connection's client, and of our end. Raises OSError."""
    address, port = sock.getpeername()[:2]
    local, local_port = sock.getsockname()[:2]
    return unmapped(address), port, unmapped(local), local_port


def unmapped(address: str) -> str:
    """An IPv4 client of a dual-stack listener, as IPv4."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address
