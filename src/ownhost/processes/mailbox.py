"""The mailbox of an identity: how connections move between gates and workers.

A mailbox is one SOCK_SEQPACKET socket pair. Every gate holds one end, every worker of the identity the other. A gate
writes a handover: the client's socket, the virtual host it chose, what the kernel said of both ends, and any bytes
that were already read. A worker that finds a request to be somebody else's writes a return: the socket, the bytes
that it has read and not used, and the ticket.

The ticket proves that a gate accepted this very socket: a keyed BLAKE2 of the kernel's SO_COOKIE, which no process
can choose, under a key that only gates hold. Without it a hostile worker could pass off a socket that it made itself,
with addresses of its choice, as a client's.

Over TLS the stream cannot move. There a worker that has a request for another identity of the same virtual host relays
the connection: it sends a socket of its own, on which the stream goes on in clear, with the client's socket beside it
as the proof of whose it is. From then on that socket moves as connections do; its ticket covers what is known of the
client, too. And a worker may ask which virtual host a name is, at the client's address.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from socket import MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, SCM_RIGHTS, SOL_SOCKET

from ownhost.identity.identity import Assignment
from ownhost.processes.messages import ProtocolError, close_at_once, let_go

SO_COOKIE = 57  # linux/include/uapi/asm-generic/socket.h
TICKET_SIZE = 16  # bytes
MAX_READ_AHEAD = 131_072  # bytes already read that one message can carry
MAX_MOVES = 4  # for one request, before it is a 500
MAX_ORIGIN = 60_000  # bytes of an origin, as it is sent

_HANDOVER = struct.Struct(f"<IB?HH{TICKET_SIZE}sH")
_RETURN = struct.Struct(f"<cB{TICKET_SIZE}sbHH")
_ANSWER = struct.Struct("<I")
_FD = struct.Struct("i")
_FDS = socket.CMSG_SPACE(2 * _FD.size)
_RETURNED, _RELAYED, _ASKED = b"R", b"T", b"Q"
# As plain integers: joining enumeration members costs more than a system call.
_SEND = int(MSG_DONTWAIT | MSG_NOSIGNAL)
_RECEIVE = int(MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
_CUT_OFF = int(MSG_TRUNC | MSG_CTRUNC)
_UNIX, _STREAM = int(socket.AF_UNIX), int(socket.SOCK_STREAM)
_LEVEL, _RIGHTS = int(SOL_SOCKET), int(SCM_RIGHTS)
# One buffer for all: allocating this much per message would cost more than receiving it.
_BUFFER = bytearray(_HANDOVER.size + 2 * 65_535 + MAX_READ_AHEAD)
_VIEW = memoryview(_BUFFER)


class NotASocket(ProtocolError):
    """A worker passed something else than sockets. It is left open: see `receive_return`."""


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
    encrypted: bool = False  # TLS is to be spoken
    origin: str = ""  # of a relayed connection: what is known of the client's (`Origin`), as text


@dataclass(slots=True)
class Return:
    """worker -> gate. `whose` is a suggestion, for a virtual host that chooses per request; None asks the gate.

    Whoever gets the connection checks for itself. With `relay`, the client's socket stays with the worker, and a copy
    of it only proves whose the other one is.
    """

    whose: Assignment | None
    moves: int
    ticket: bytes
    data: bytes
    origin: str = ""  # of a relayed connection: `Origin` as text. Of one that becomes it: "server id, NUL, facts"
    relay: bool = False


@dataclass(slots=True)
class Question:
    """worker -> gate: which virtual host goes by this name at this address? One descriptor: for the answer, its id."""

    host: str
    local: str
    local_port: int


@dataclass(slots=True)
class Origin:
    """Where a relayed connection comes from: the addresses as the kernel told a gate, the rest as a worker did.

    `server` is the virtual host whose key was used, `facts` is http.tls.TLSFacts as text: gates don't read it.
    """

    client: str
    client_port: int
    local: str
    local_port: int
    server: int
    facts: str

    def to_text(self) -> str:
        """As text."""
        parts = (self.client, self.client_port, self.local, self.local_port, self.server, self.facts)
        return "\0".join(map(str, parts))

    @classmethod
    def from_text(cls, text: str) -> Origin:
        """What `to_text` gave. Raises ValueError."""
        client, client_port, local, local_port, server, facts = text.split("\0")
        return cls(client, int(client_port), local, int(local_port), int(server), facts)


def mailbox_pair(buffer_size: int = 4_194_304) -> tuple[socket.socket, socket.socket]:
    """A new mailbox: the gates' end and the workers' end. The kernel caps `buffer_size` at net.core.wmem_max."""
    gates, workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (gates, workers):
        end.setblocking(False)
        end.setsockopt(SOL_SOCKET, socket.SO_SNDBUF, buffer_size)
    return gates, workers


def make_ticket(client: socket.SocketType, secret: bytes, origin: str = "") -> bytes:
    """The ticket of a client's socket: who holds it did not make the socket up, nor where it comes from."""
    cookie = client.getsockopt(_LEVEL, SO_COOKIE, 8)
    return blake2b(cookie + origin.encode(), key=secret, digest_size=TICKET_SIZE).digest()


def ticket_is_good(client: socket.SocketType, secret: bytes, ticket: bytes, origin: str = "") -> bool:
    """Whether `ticket` was made for this very socket."""
    return compare_digest(make_ticket(client, secret, origin), ticket)


def send_handover(mailbox: socket.SocketType, descriptor: int, handover: Handover) -> None:
    """Put a connection into a mailbox. Raises BlockingIOError where it is full, OSError where too much is in flight."""
    texts = (handover.client, handover.local, handover.host, handover.refusal)
    text = "\0".join((*(text.replace("\0", " ") for text in texts), handover.origin)).encode("utf-8", "replace")
    if len(text) > 0xFFFF:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    header = _HANDOVER.pack(
        handover.server,
        handover.moves,
        handover.encrypted,
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
    data, (descriptor, *surplus) = received
    if surplus:
        raise _refusal((descriptor, *surplus), "a handover with two descriptors")
    server, moves, encrypted, client_port, local_port, ticket, length = _HANDOVER.unpack_from(data)
    start = _HANDOVER.size
    client, local, host, refusal, origin = data[start : start + length].decode().split("\0", 4)
    rest = data[start + length :]
    ends = (client, client_port, local, local_port)
    return Handover(server, moves, *ends, host, ticket, rest, refusal, encrypted, origin), descriptor


def send_return(mailbox: socket.SocketType, descriptors: Sequence[int], message: Return) -> None:
    """Give a connection back to the gates. Raises BlockingIOError where they don't keep up, OSError.

    `descriptors` is the connection's; for a relay the client's socket, and the one on which the stream goes on.
    """
    whose = b""
    nice = 0
    if message.whose is not None:
        whose = f"{message.whose.user or ''}\0{message.whose.group or ''}".encode("utf-8", "surrogateescape")
        nice = message.whose.nice
    origin = message.origin.encode()
    kind = _RELAYED if message.relay else _RETURNED
    if max(len(whose), len(origin)) > MAX_ORIGIN:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    header = _RETURN.pack(kind, message.moves, message.ticket, nice, len(whose), len(origin))
    rights = (_LEVEL, _RIGHTS, b"".join(map(_FD.pack, descriptors)))
    mailbox.sendmsg((header, whose, origin, message.data), (rights,), _SEND)


def send_question(mailbox: socket.SocketType, descriptor: int, question: Question) -> None:
    """Ask a gate. Raises BlockingIOError where they don't keep up."""
    header = _RETURN.pack(_ASKED, 0, bytes(TICKET_SIZE), 0, 0, 0)
    rights = (_LEVEL, _RIGHTS, _FD.pack(descriptor))
    text = f"{question.host}\0{question.local}\0{question.local_port}"
    mailbox.sendmsg((header, text.encode()), (rights,), _SEND)


def send_answer(descriptor: int, server: int) -> None:
    """Answer a question. Whoever asked may be gone, or not listen."""
    sock = socket.SocketType(-1, -1, -1, descriptor)
    with contextlib.suppress(OSError):
        sock.send(_ANSWER.pack(server), _SEND)
    close_at_once(sock)


def read_answer(data: bytes) -> int | None:
    """The server id in an answer; None where there was none."""
    return int(_ANSWER.unpack(data)[0]) if len(data) == _ANSWER.size else None


def receive_return(mailbox: socket.SocketType) -> tuple[Return | Question, list[int]] | None:
    """Take what a worker gave back or asks; None at the end of the mailbox. Raises BlockingIOError, ProtocolError.

    The worker may be hostile: nothing in the message is believed yet, but its form is checked. What is no socket may be
    a file of a file system that its owner runs, where even a close may last for ever: it stays open (NotASocket).
    """
    received = _receive(mailbox)
    if received is None:
        return None
    data, descriptors = received
    try:
        if not all(map(_is_socket, descriptors)):
            raise ValueError("what it passed is no socket")
        return _read_return(data, len(descriptors)), descriptors
    except (ValueError, struct.error) as error:
        raise _refusal(descriptors, f"a return that is none: {error}") from None


def _read_return(data: bytes, descriptors: int) -> Return | Question:
    """Raises ValueError, struct.error."""
    kind, moves, ticket, nice, length, more = _RETURN.unpack_from(data)
    rest = data[_RETURN.size :]
    if descriptors != (2 if kind == _RELAYED else 1):
        raise ValueError("another number of descriptors was expected")
    if kind == _ASKED:
        host, local, port = rest.decode().split("\0")
        return Question(host, str(ipaddress.ip_address(local)), int(port))
    if kind not in (_RETURNED, _RELAYED):
        raise ValueError("unknown kind")
    if more > MAX_ORIGIN:
        raise ValueError("too long")
    whose, origin, rest = rest[:length], rest[length : length + more].decode(), rest[length + more :]
    user, _, group = whose.decode("utf-8", "surrogateescape").partition("\0")
    assignment = Assignment(user or None, group or None, nice) if whose else None
    return Return(assignment, moves, ticket, rest, origin, relay=kind == _RELAYED)


def _receive(mailbox: socket.SocketType) -> tuple[bytes, list[int]] | None:
    size, ancillary, flags, _ = mailbox.recvmsg_into((_BUFFER,), _FDS, _RECEIVE)
    data = bytes(_VIEW[:size])
    descriptors: list[int] = []
    for _, _, content in ancillary:
        descriptors += (one for (one,) in _FD.iter_unpack(content[: len(content) // 4 * 4]))
    if 1 <= len(descriptors) <= 2 and not flags & _CUT_OFF:
        return data, descriptors
    if not data and not ancillary:
        return None
    raise _refusal(descriptors, "a mailbox message without its descriptors")


def _is_socket(descriptor: int) -> bool:
    try:
        socket.SocketType(_UNIX, _STREAM, 0, descriptor).detach()  # of any kind: one getsockname(2) tells
    except OSError:
        return False
    return True


def _refusal(descriptors: Sequence[int], why: str) -> ProtocolError:
    """Let go of what came with a message that makes no sense, as far as that is safe."""
    kind = ProtocolError if all(map(_is_socket, descriptors)) else NotASocket
    for descriptor in descriptors:
        let_go(descriptor)  # does nothing to what is no socket
    return kind(why)
