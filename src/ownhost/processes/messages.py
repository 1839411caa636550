"""The whole vocabulary between the supervisor and its processes, and who may say what.

Control messages travel over SOCK_SEQPACKET socket pairs, one JSON object each, with descriptors
beside them (SCM_RIGHTS). A receiver lists the messages that it takes. Any other message, any
malformed one and any surplus descriptor is a `ProtocolError`, and the channel is closed.
Descriptors go down only: a channel on which none may come refuses them (`passrights`). Nothing
received is ever unpickled, except a `Begin` slice, which comes from the supervisor alone.

Connections travel in mailboxes, which have a binary form of their own: see `mailbox`.
"""

from __future__ import annotations

import array
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ownhost.processes import passrights
from ownhost.processes.descriptors import close_all, receive_with_descriptors

MAX_MESSAGE = 65_536  # bytes
MAX_DESCRIPTORS = 200  # in one message; Linux allows 253 (SCM_MAX_FD)


class ProtocolError(Exception):
    """A peer sent something that it may not send."""


@dataclass(frozen=True, slots=True)
class Message:
    """Base of all control messages. Fields are integers, strings, booleans or lists of integers."""


@dataclass(frozen=True, slots=True)
class Fork(Message):
    """supervisor -> forkserver: fork a process for `role` as this identity. Descriptors: its control end, its page.

    `processes` is RLIMIT_NPROC, soft and hard; empty where it has none of its own. `umask` is what it starts with.
    """

    serial: int
    role: str
    uid: int
    gid: int
    groups: list[int]
    name: str
    nice: int
    processes: list[int]
    umask: int


@dataclass(frozen=True, slots=True)
class Signal(Message):
    """supervisor -> forkserver: send a signal to one of your children."""

    pid: int
    number: int


@dataclass(frozen=True, slots=True)
class Started(Message):
    """forkserver -> supervisor: the answer to a `Fork`; pid 0 if the fork failed."""

    serial: int
    pid: int


@dataclass(frozen=True, slots=True)
class Exited(Message):
    """forkserver -> supervisor: a child is gone. `status` as os.waitstatus_to_exitcode gives it."""

    pid: int
    status: int


@dataclass(frozen=True, slots=True)
class Begin(Message):
    """supervisor -> gate, front, worker, logger: your slice. One descriptor: a memfd with a pickle.

    `descriptors` more follow, in `Descriptors` messages; the slice names them by their place in that order.
    """

    descriptors: int


@dataclass(frozen=True, slots=True)
class Descriptors(Message):
    """supervisor -> gate, front, worker, logger: more of the descriptors that `Begin` announced."""


@dataclass(frozen=True, slots=True)
class Want(Message):
    """gate, front -> supervisor: I have a connection for this identity, but no working mailbox.

    For gates, FRONTS is one, too.
    """

    identity: int


@dataclass(frozen=True, slots=True)
class Mailbox(Message):
    """supervisor -> gate, front: the answer to a `Want`. One descriptor: the gate's end of the mailbox."""

    identity: int


@dataclass(frozen=True, slots=True)
class Shut(Message):
    """supervisor -> gate: no worker reads this identity's mailbox any more: forget it, and ask for it again."""

    identity: int


@dataclass(frozen=True, slots=True)
class Relay(Message):
    """worker -> supervisor: make a pair with the identity that serves a virtual host of mine as this.

    "" is User or Group.

    Answered by `Relayed` or by `NotRelayed`, in any order; `serial` names the question.
    """

    serial: int
    server: int
    user: str
    group: str
    nice: int


@dataclass(frozen=True, slots=True)
class Relayed(Message):
    """supervisor -> worker: the other end of a pair is in a mailbox. One descriptor: yours."""

    serial: int


@dataclass(frozen=True, slots=True)
class NotRelayed(Message):
    """supervisor -> worker: there is no such identity, and why. "" is for a full mailbox: try again."""

    serial: int
    reason: str


@dataclass(frozen=True, slots=True)
class Resolve(Message):
    """supervisor -> resolver: look this user and this group up, each a name or "#number". Answered by `Resolved`."""

    serial: int
    user: str
    group: str


@dataclass(frozen=True, slots=True)
class Resolved(Message):
    """resolver -> supervisor: the answer of the user and group databases (`identity.accounts.Found`)."""

    serial: int
    name: str
    uid: int
    gid: int
    groups: list[int]


@dataclass(frozen=True, slots=True)
class Sender(Message):
    """supervisor -> logger: one more process writes to this log. One descriptor: the socket for its lines.

    `log` is its number, `kind` "error" or "access", `identity` the number of the process's
    identity, -1 for a gate. `server` is the one virtual host that it may speak for, -1 if the
    logger's slice says which.
    """

    log: int
    kind: str
    identity: int
    name: str
    server: int


@dataclass(frozen=True, slots=True)
class Busy(Message):
    """worker -> supervisor: my mailbox fills faster than I can empty it."""


@dataclass(frozen=True, slots=True)
class Ready(Message):
    """gate -> supervisor: I accept connections."""


@dataclass(frozen=True, slots=True)
class Failed(Message):
    """gate, front, worker, logger -> supervisor: my last words, for the log. Nothing else of mine will be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop(Message):
    """supervisor -> gate, front, worker, logger: finish active work, then exit. (A hard stop is a signal.)"""


@dataclass(frozen=True, slots=True)
class Leave(Message):
    """supervisor -> worker: others need your place. Leave, unless you have a connection; then ignore this."""


@dataclass(frozen=True, slots=True)
class Certified(Message):
    """examiner -> supervisor: a virtual host's certificate number `place` is for these names, one a line.

    `since` and `until`: when it is valid, in seconds since 1970.
    """

    server: int
    place: int
    since: int
    until: int
    names: str


@dataclass(frozen=True, slots=True)
class Unusable(Message):
    """examiner -> supervisor: why a virtual host cannot use what a setting names.

    `scope` 0: with its clients; above, with servers behind it, where scope number `scope` - 1 of its own counts. Below,
    it is a log that cannot be opened. `passing`: a file could not be read, and perhaps can be later.
    """

    server: int
    scope: int
    setting: str
    reason: str
    passing: bool


MESSAGES: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        Fork,
        Signal,
        Started,
        Exited,
        Begin,
        Descriptors,
        Want,
        Mailbox,
        Shut,
        Relay,
        Relayed,
        NotRelayed,
        Resolve,
        Resolved,
        Sender,
        Busy,
        Ready,
        Failed,
        Stop,
        Leave,
        Certified,
        Unusable,
    )
}

# The messages that each kind of receiver takes from each kind of sender.
FROM_SUPERVISOR: dict[str, tuple[type[Message], ...]] = {
    "forkserver": (Fork, Signal),
    "gate": (Begin, Descriptors, Mailbox, Shut, Stop),
    "front": (Begin, Descriptors, Mailbox, Shut, Stop),
    "worker": (Begin, Descriptors, Relayed, NotRelayed, Stop, Leave),
    "launcher": (Begin, Descriptors, Stop),
    "logger": (Begin, Descriptors, Sender, Stop),
    "program": (Begin, Descriptors),
    "resolver": (Begin, Descriptors, Resolve),
    "examiner": (Begin, Descriptors),
    "sweeper": (Begin, Descriptors),
}
TO_SUPERVISOR: dict[str, tuple[type[Message], ...]] = {
    "forkserver": (Started, Exited),
    "gate": (Ready, Want, Failed),
    "front": (Want, Failed),
    "worker": (Busy, Relay, Failed),
    "logger": (Failed,),
    "program": (Failed,),
    "resolver": (Resolved, Failed),
    "launcher": (Failed,),
    "examiner": (Certified, Unusable, Failed),
    "sweeper": (Failed,),
}

# The number of descriptors with a message; with `Descriptors`, the highest number.
_DESCRIPTORS_TAKEN = {Fork: 2, Begin: 1, Mailbox: 1, Relayed: 1, Sender: 1, Descriptors: MAX_DESCRIPTORS}

# The roles whose programs may gain privileges (sudo, sendmail): the forkserver forks them. All others are forked by the
# confined one, below it.
UNCONFINED = ("launcher", "program")


def encode(message: Message) -> bytes:
    """A message as bytes."""
    return json.dumps([type(message).__name__, asdict(message)]).encode()


def decode(data: bytes, allowed: Sequence[type[Message]]) -> Message:
    """Bytes as one of the allowed messages. Raises ProtocolError for all others."""
    try:
        name, values = json.loads(data)
        kind = MESSAGES[name]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProtocolError(f"not a message: {data[:60]!r}") from error
    if kind not in allowed:
        raise ProtocolError(f"{name} may not come from this peer")
    expected = {field.name: str(field.type) for field in fields(kind)}
    if not isinstance(values, dict) or values.keys() != expected.keys():
        raise ProtocolError(f"{name} has the wrong fields")
    if not all(_has_type(values[key], expected[key]) for key in expected):
        raise ProtocolError(f"{name} has a field of the wrong type")
    return kind(**values)


def _has_type(value: Any, wanted: str) -> bool:
    if wanted == "list[int]":
        return isinstance(value, list) and all(type(item) is int for item in value)
    return type(value).__name__ == wanted


class Channel:
    """One end of a control channel. `allowed` are the messages that the other end may send."""

    def __init__(self, sock: socket.socket, allowed: Sequence[type[Message]]) -> None:
        self.sock = sock
        self.allowed = tuple(allowed)
        self.guarded = bool(self.allowed) and not any(kind in _DESCRIPTORS_TAKEN for kind in self.allowed)
        self.refuses = self.guarded and passrights.guard(sock)

    def fileno(self) -> int:
        """The descriptor, for an event loop."""
        return self.sock.fileno()

    def close(self) -> None:
        """Close this end; the other sees the end of the channel."""
        passrights.end(self.sock, refuses=self.refuses or not self.guarded)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send one message. Raises BlockingIOError if a non-blocking channel is full."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.sock.sendmsg([encode(message)], rights, socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message and its descriptors; None at the end of the channel. Raises ProtocolError."""
        try:
            if self.guarded:
                return self._receive_bare()
            data, descriptors, flags = receive_with_descriptors(self.sock, MAX_MESSAGE + 1, MAX_DESCRIPTORS)
        except ConnectionResetError:
            return None
        if not data:
            return None
        try:
            if flags & socket.MSG_CTRUNC:
                raise ProtocolError("more descriptors than any message has")
            message = self._decode(data)
            taken = _DESCRIPTORS_TAKEN.get(type(message), 0)
            if not isinstance(message, Descriptors) and len(descriptors) != taken:
                raise ProtocolError(f"{type(message).__name__} with {len(descriptors)} descriptors")
        except ProtocolError:
            close_all(descriptors)
            raise
        return message, descriptors

    def _receive_bare(self) -> tuple[Message, list[int]] | None:
        """The next message from a peer that may send no descriptors."""
        try:
            data, sender = passrights.receive(self.sock, MAX_MESSAGE + 1)
        except passrights.DescriptorsCame:
            raise ProtocolError("descriptors, which it may not send") from None
        return (self._decode(data), []) if data or sender else None

    def _decode(self, data: bytes) -> Message:
        if len(data) > MAX_MESSAGE:
            raise ProtocolError("a message that is too long")
        return decode(data, self.allowed)


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a new control channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
