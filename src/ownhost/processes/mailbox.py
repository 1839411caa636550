"""The mailbox of an identity: how connections move between gates and workers.

A mailbox is one SOCK_SEQPACKET socket pair. Every gate holds one end, every worker of the identity the other. A gate
writes a handover: the client's socket, the virtual host it chose, what the kernel said of both ends, and any bytes
that were already read. A worker that finds a request to be somebody else's writes a return: the socket, the bytes
that it has read and not used, and the ticket.

The ticket proves that a gate accepted this very socket: a keyed BLAKE2 of the kernel's SO_COOKIE, which no process
can choose, under a key that only gates hold. Without it a hostile worker could pass off a socket that it made itself,
with addresses of its choice, as a client's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from socket import MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, SCM_RIGHTS, SOL_SOCKET

from ownhost.identity.identity import Assignment
from ownhost.processes.messages import ProtocolError

SO_COOKIE = 57  # linux/include/uapi/asm-generic/socket.h
TICKET_SIZE = 16  # bytes
MAX_READ_AHEAD = 131_072  # bytes already read that one message can carry
MAX_MOVES = 4  # for one request, before it is a 500

_HANDOVER = struct.Struct(f"<IBHH{TICKET_SIZE}sH")
_RETURN = struct.Struct(f"<B{TICKET_SIZE}sbH")
_FD = struct.Struct("i")
_ONE_FD = socket.CMSG_SPACE(_FD.size)
# As plain integers: joining enumeration members costs more than a system call.
_SEND = int(MSG_DONTWAIT | MSG_NOSIGNAL)
_RECEIVE = int(MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
_CUT_OFF = int(MSG_TRUNC | MSG_CTRUNC)
_LEVEL, _RIGHTS = int(SOL_SOCKET), int(SCM_RIGHTS)
# One buffer for all: allocating this much per message would cost more than receiving it.
_BUFFER = bytearray(_HANDOVER.size + 65_535 + MAX_READ_AHEAD)
_VIEW = memoryview(_BUFFER)


@dataclass(slots=True)
class Handover:
    """gate -> worker. Addresses are numeric; `host` is what the gate chose the server by, normalised.

    `refusal` says why nobody may serve the request: the worker answers 500 and logs it.
    """

    server: int
    moves: int
    client: str
    client_port: int
    local: str
    local_port: int
    host: str
    ticket: bytes
    data: bytes
    refusal: str = ""


@dataclass(slots=True)
class Return:
    """worker -> gate. `whose` is a suggestion, for a virtual host that chooses per request; None asks the gate.

    Whoever gets the connection checks for itself.
    """

    whose: Assignment | None
    moves: int
    ticket: bytes
    data: bytes


def mailbox_pair(buffer_size: int = 4_194_304) -> tuple[socket.socket, socket.socket]:
    """A new mailbox: the gates' end and the workers' end. The kernel caps `buffer_size` at net.core.wmem_max."""
    gates, workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (gates, workers):
        end.setblocking(False)
        end.setsockopt(SOL_SOCKET, socket.SO_SNDBUF, buffer_size)
    return gates, workers


def make_ticket(client: socket.SocketType, secret: bytes) -> bytes:
    """The ticket of a client's socket: who holds it did not make the socket up."""
    cookie = client.getsockopt(_LEVEL, SO_COOKIE, 8)
    return blake2b(cookie, key=secret, digest_size=TICKET_SIZE).digest()


def ticket_is_good(client: socket.SocketType, secret: bytes, ticket: bytes) -> bool:
    """Whether `ticket` was made for this very socket."""
    return compare_digest(make_ticket(client, secret), ticket)


def send_handover(mailbox: socket.SocketType, descriptor: int, handover: Handover) -> None:
    """Put a connection into a mailbox. Raises BlockingIOError where it is full, OSError where too much is in flight."""
    text = "\0".join((handover.client, handover.local, handover.host, handover.refusal)).encode("utf-8", "replace")
    header = _HANDOVER.pack(
        handover.server,
        handover.moves,
        handover.client_port,
        handover.local_port,
        handover.ticket,
        len(text),
    )
    rights = (_LEVEL, _RIGHTS, _FD.pack(descriptor))
    mailbox.sendmsg((header, text, handover.data), (rights,), _SEND)


def receive_handover(mailbox: socket.SocketType) -> tuple[Handover, int] | None:
    """Take the next connection; None at the end of the mailbox. Raises BlockingIOError where it is empty."""
    received = _receive(mailbox)
    if received is None:
        return None
    data, descriptor = received
    server, moves, client_port, local_port, ticket, length = _HANDOVER.unpack_from(data)
    start = _HANDOVER.size
    client, local, host, refusal = data[start : start + length].decode().split("\0")
    rest = data[start + length :]
    return Handover(server, moves, client, client_port, local, local_port, host, ticket, rest, refusal), descriptor


def send_return(mailbox: socket.SocketType, descriptor: int, message: Return) -> None:
    """Give a connection back to the gates. Raises BlockingIOError where they don't keep up."""
    whose = b""
    nice = 0
    if message.whose is not None:
        whose = f"{message.whose.user or ''}\0{message.whose.group or ''}".encode("utf-8", "surrogateescape")
        nice = message.whose.nice
    header = _RETURN.pack(message.moves, message.ticket, nice, len(whose))
    rights = (_LEVEL, _RIGHTS, _FD.pack(descriptor))
    mailbox.sendmsg((header, whose, message.data), (rights,), _SEND)


def receive_return(mailbox: socket.SocketType) -> tuple[Return, int] | None:
    """Take what a worker gave back; None at the end of the mailbox. Raises BlockingIOError, ProtocolError.

    The worker may be hostile: nothing in the message is believed yet, but its form is checked.
    """
    received = _receive(mailbox)
    if received is None:
        return None
    data, descriptor = received
    if len(data) < _RETURN.size:
        os.close(descriptor)
        raise ProtocolError("a return without its header")
    moves, ticket, nice, length = _RETURN.unpack_from(data)
    whose, rest = data[_RETURN.size : _RETURN.size + length], data[_RETURN.size + length :]
    if not whose:
        return Return(None, moves, ticket, rest), descriptor
    user, _, group = whose.decode("utf-8", "surrogateescape").partition("\0")
    return Return(Assignment(user or None, group or None, nice), moves, ticket, rest), descriptor


def _receive(mailbox: socket.SocketType) -> tuple[bytes, int] | None:
    size, ancillary, flags, _ = mailbox.recvmsg_into((_BUFFER,), _ONE_FD, _RECEIVE)
    data = bytes(_VIEW[:size])
    if len(ancillary) == 1 and len(ancillary[0][2]) == _FD.size and not flags & _CUT_OFF:
        descriptor: int = _FD.unpack(ancillary[0][2])[0]
        return data, descriptor
    for _, _, content in ancillary:
        for (descriptor,) in _FD.iter_unpack(content[: len(content) // 4 * 4]):
            with contextlib.suppress(OSError):
                os.close(descriptor)
    if not data and not ancillary:
        return None
    raise ProtocolError("a mailbox message without exactly one descriptor")
