"""The mailbox of an identity: how connections get to its workers. It is one-way, downward.

A mailbox is one SOCK_SEQPACKET socket pair. Gates and the supervisor write to one end; every worker
of the identity reads from the other. A gate writes a client's socket, the virtual host that it
chose, and the kernel's word about both ends. The supervisor and fronts write one end of a pair on
which another worker, or a front, relays requests (see `processes.relay`). Fronts have a mailbox,
too, into which gates put the connections of listed proxies.

Nothing comes back: the upper end is shut down for reading before any process has the lower one, so
a worker that writes gets EPIPE from the kernel (unix(7), shutdown(2)).

A mailbox takes a fixed number of handovers. They are in flight until a worker takes them. The
kernel counts what is in flight for the sender's uid, over all mailboxes together, against
RLIMIT_NOFILE. All handovers have the same size, so the kernel's own limit on a socket's memory
(SO_SNDBUF) is that number.
"""

from __future__ import annotations

import errno
import fcntl
import resource
import select
import socket
import struct
import termios
from dataclasses import dataclass
from functools import cache
from socket import MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, SCM_RIGHTS, SOL_SOCKET

from ownhost.processes.descriptors import close_all
from ownhost.processes.messages import ProtocolError

MOST = 64  # handovers in flight in one mailbox
SMALL, LARGE = 512, 4_096  # bytes of a handover: a socket's smallest buffer takes four small ones, and one large one
LONGEST_HOST = 255  # characters of a host's name in a handover

_HANDOVER = struct.Struct("<IBHHHH")
_RELAY, _TLS, _FRONT = 1, 2, 4  # flags
_FD = struct.Struct("i")
_FDS = socket.CMSG_SPACE(_FD.size)
# As plain integers: joining enumeration members costs more than a system call.
_SEND = int(MSG_DONTWAIT | MSG_NOSIGNAL)
_RECEIVE = int(MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
_CUT_OFF = int(MSG_TRUNC | MSG_CTRUNC)
_LEVEL, _RIGHTS = int(SOL_SOCKET), int(SCM_RIGHTS)
# One buffer for all: allocating this much per message would cost more than receiving it.
_BUFFER = bytearray(LARGE)
_VIEW = memoryview(_BUFFER)


class Full(Exception):
    """A mailbox is full for now, or the kernel lets nothing more be in flight."""


class Broken(Exception):
    """A mailbox is broken for good: a process with its lower end has shut it down."""


@dataclass(slots=True)
class Handover:
    """above -> worker. Addresses are numeric. `host` chose the virtual host; it has at most LONGEST_HOST characters.

    `peer` is the front proxy of the connection, if it has said who its client is.

    For a relay there is only the virtual host: the records on the pair say the rest.
    """

    server: int
    client: str = ""
    client_port: int = 0
    local: str = ""
    local_port: int = 0
    host: str = ""
    encrypted: bool = False  # TLS is spoken
    relay: bool = False
    front: bool = False  # of a relay: a front has its other end, not a worker
    peer: str = ""
    peer_port: int = 0


def credits_for(identities: int) -> int:
    """How many handovers each of so many mailboxes may hold: all together at most half of what may be in flight."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MOST, limit // 2 // max(1, identities)))


def mailbox_pair(capacity: int = MOST) -> tuple[socket.socket, socket.socket]:
    """A new mailbox that takes so many handovers: the upper end and the workers' end."""
    upper, workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    upper.shutdown(socket.SHUT_RD)
    upper.setblocking(False)
    workers.setblocking(False)
    upper.setsockopt(SOL_SOCKET, socket.SO_SNDBUF, capacity * _cost(handover_size(capacity)) // 2)  # it is doubled
    return upper, workers


def handover_size(capacity: int) -> int:
    """Bytes of each handover in a mailbox that takes so many."""
    return SMALL if capacity >= 4 else LARGE


@cache
def _cost(size: int) -> int:
    """The kernel's charge for a message of so many bytes, including its overhead (SIOCOUTQ)."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        one.send(bytes(size))
        return int(struct.unpack("i", fcntl.ioctl(one, termios.TIOCOUTQ, bytes(4)))[0])


def is_broken(upper: socket.socket) -> bool:
    """Whether a worker has shut down a mailbox."""
    return bool(_poll(upper, 0) & select.POLLHUP)


def has_mail(workers: socket.socket) -> bool:
    """Whether something waits in a mailbox."""
    return bool(_poll(workers, select.POLLIN) & select.POLLIN)


def _poll(sock: socket.socket, events: int) -> int:
    poll = select.poll()
    poll.register(sock, events)
    return next((found for _, found in poll.poll(0)), 0)


def send_handover(mailbox: socket.SocketType, descriptor: int, handover: Handover, size: int = SMALL) -> None:
    """Put a connection into a mailbox whose handovers have this size. Raises Full, Broken, OSError."""
    host = handover.host[:LONGEST_HOST].replace("\0", " ")
    text = "\0".join((handover.client, handover.local, handover.peer, host)).encode("latin-1", "replace")
    flags = _RELAY * handover.relay | _TLS * handover.encrypted | _FRONT * handover.front
    ports = handover.client_port, handover.local_port, handover.peer_port
    header = _HANDOVER.pack(handover.server, flags, *ports, len(text))
    rights = (_LEVEL, _RIGHTS, _FD.pack(descriptor))
    try:
        mailbox.sendmsg(((header + text).ljust(size, b"\0"),), (rights,), _SEND)
    except BlockingIOError:
        raise Full from None
    except OSError as error:
        if error.errno in (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM):
            raise Full from None
        if error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
            raise Broken from None
        raise


def receive_handover(mailbox: socket.SocketType) -> tuple[Handover, int] | None:
    """Take the next connection; None at the end of the mailbox. Raises BlockingIOError if it is empty."""
    size, ancillary, flags, _ = mailbox.recvmsg_into((_BUFFER,), _FDS, _RECEIVE)
    descriptors = [one for _, _, data in ancillary for (one,) in _FD.iter_unpack(data[: len(data) // 4 * 4])]
    if not size and not descriptors:
        return None
    if len(descriptors) != 1 or flags & _CUT_OFF or size < _HANDOVER.size:
        close_all(descriptors)
        raise ProtocolError("a mailbox message that is not a handover")
    server, kind, client_port, local_port, peer_port, length = _HANDOVER.unpack_from(_VIEW)
    client, local, peer, host = str(_VIEW[_HANDOVER.size : _HANDOVER.size + length], "latin-1").split("\0")
    ends = client, client_port, local, local_port
    said = bool(kind & _TLS), bool(kind & _RELAY), bool(kind & _FRONT)
    found = Handover(server, *ends, host, *said, peer, peer_port)
    return found, descriptors[0]
