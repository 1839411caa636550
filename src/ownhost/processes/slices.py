"""A slice: what one process is told of the configuration, and how it gets there.

The supervisor pickles a slice into a sealed memory file and sends that, with the descriptors that the slice names by
number. The forkserver only ever sees the channel's end: no owner's setting passes through it, so no process
forked later can have it in memory. Unpickling is safe in this one direction: the supervisor is more trusted
than whoever reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from ownhost.apps.spooling import Spooling
from ownhost.config.model import ListenAddress, VirtualHost
from ownhost.http.limits import HeadLimits
from ownhost.identity.identity import Assignment, Identity
from ownhost.modules.fronts import Fronts
from ownhost.modules.reqtimeout import ReadTimeout
from ownhost.processes.messages import MAX_DESCRIPTORS, Begin, Channel, Descriptors, ProtocolError
from ownhost.processes.tickets import TicketSecret
from ownhost.request.errorlog import LogTarget
from ownhost.request.hosts import HostIndex

DEFAULT_IDENTITY = 0  # the identity number of User and Group
NO_IDENTITY = -1  # stands for gates and fronts, which speak for the main server alone
FRONTS = -1  # what gates call the fronts' mailbox, among those of identities

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(slots=True)
class LoggerSlice:
    """What the logger is told: the logs, whose descriptors come with it in order, and who may say what in them.

    Nothing of it is an owner's secret: names and formats.
    """

    names: list[str]  # of the logs
    main: int  # the number of the main error log
    servers: dict[int, VirtualHost]  # by id: their names, and formats of error logs (routing.logging_view)
    serves: dict[int, list[int]]  # identity number -> ids of servers it speaks for
    # log -> server id -> what each of its access logs' lines there starts with, whatever the request
    starts: dict[int, dict[int, list[str]]]
    rate: float  # bytes a second that an identity may have written; infinite where there is no limit
    burst: float  # bytes


@dataclass(slots=True)
class GateSlice:
    """What a gate is told: where to listen, which name belongs to whom. Nothing that is an owner's secret.

    Its descriptors: the listeners in order, then where its own log lines go.
    """

    listeners: list[ListenAddress]
    index: HostIndex
    own: dict[int, int]  # server id -> the identity that gets its connections
    tls: frozenset[int]  # servers whose connections are encrypted
    fronts: Fronts  # proxies whose connections go to fronts, and that are believed of whom these are from
    handover: int  # bytes of a handover (mailbox.handover_size)
    main: VirtualHost  # the main server's own settings: limits and log level before a virtual host is known


@dataclass(frozen=True, slots=True)
class Limits:
    """What a virtual host's configuration says of heads, and of connections, in seconds."""

    head: HeadLimits
    read_timeout: ReadTimeout
    timeout: float
    keep_alive_timeout: float


@dataclass(slots=True)
class FrontSlice:
    """What a front is told: which name belongs to whom, and how long connections last. Nothing that is an owner's.

    Its descriptors: where connections come from, then where its own log lines go.
    """

    index: HostIndex
    own: dict[int, int]  # server id -> the identity that is asked
    limits: dict[int, Limits]  # by server id
    handover: int  # bytes of a handover (mailbox.handover_size)
    main: VirtualHost


@dataclass(slots=True)
class LogPlaces:
    """Where lines of error logs and of access logs go, as numbers of descriptors.

    `rate` is how much a process may write to error logs of its own: bytes a second, and at once.
    """

    error: dict[LogTarget, int] = field(default_factory=dict)
    access: dict[LogTarget, int] = field(default_factory=dict)
    own: dict[LogTarget, int | None] = field(default_factory=dict)  # of either kind: to be opened here, and their modes
    rate: tuple[float, float] = (inf, inf)


@dataclass(slots=True)
class WorkerSlice:
    """What a worker is told: the virtual hosts that its identity may serve, whole, and nothing of any other.

    The first descriptor is the workers' end of its mailbox, the second where orders for its launcher go; `logs`,
    `counts` and `programs` name others by number.
    """

    identity: Identity
    servers: list[VirtualHost]
    mine: dict[int, frozenset[Assignment]]  # server id -> its assignments that come to this identity
    default: Assignment  # what User and Group say
    main: VirtualHost  # for messages that belong to no virtual host (routing.logging_view)
    names: HostIndex = field(default_factory=lambda: HostIndex({}))  # as far as they are this identity's
    in_range: bool = True  # expressions may name it: LimitUIDRange and LimitGIDRange are not against it
    refused: dict[int, str] = field(default_factory=dict)  # server id -> why nobody may serve it
    left_over: list[int] = field(default_factory=list)  # mailboxes that were shut down: what is in them is served, too
    logs: LogPlaces = field(default_factory=LogPlaces)
    counts: list[Count] = field(default_factory=list)
    # command -> where it is talked to, and where it complains
    programs: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)
    tls: dict[int, TLSGiven] = field(default_factory=dict)  # server id -> what it speaks TLS with
    opened: dict[int, dict[str, list[int]]] = field(default_factory=dict)  # server id -> file or folder -> descriptors
    idle_timeout: float = 60.0  # seconds without a connection before the worker leaves
    spooling: Spooling = field(default_factory=Spooling)  # what it may keep in files


@dataclass(slots=True)
class TLSGiven:
    """What a worker needs to speak TLS for one virtual host.

    `opened` has the descriptors of its files and folders, by name, as far as they are root's to open.
    """

    opened: dict[str, list[int]]
    secret: TicketSecret
    protocols: tuple[str, ...]  # that ALPN may choose
    problem: str = ""  # why it cannot


@dataclass(frozen=True, slots=True)
class Count:
    """Where a worker counts the clients of some virtual hosts (scoreboard.Clients): two descriptors and a page."""

    servers: tuple[int, ...]
    writing: int
    reading: int
    page: int


@dataclass(slots=True)
class LauncherSlice:
    """What a launcher is told. Its first descriptor is where workers' orders arrive; `logs` names others by number."""

    name: str
    at_once: int  # requests that the identity's programs serve at the same time
    queue: int  # requests that wait beside them
    servers: list[VirtualHost]  # whose error logs are written to (routing.logging_view)
    main: VirtualHost  # for messages that belong to no virtual host (routing.logging_view)
    logs: LogPlaces = field(default_factory=LogPlaces)
    state: str = ""  # the folder for sockets and the like; "" for the system's /tmp


@dataclass(slots=True)
class ExaminerSlice:
    """What an examiner is told: one owner's virtual hosts, and which of their files are to be looked at."""

    servers: list[VirtualHost]
    tls: set[int]  # ids of those that speak TLS with clients
    backends: dict[int, tuple[int, ...]]  # server id -> its scopes (proxy_directives.scopes) that do with other servers
    opened: dict[str, list[int]]  # file or folder -> descriptors, where root opened it
    logs: dict[int, list[str]]  # server id -> logs that its own processes are going to open


@dataclass(slots=True)
class SweeperSlice:
    """What a sweeper is told: the folder to be emptied."""

    folder: str


@dataclass(slots=True)
class ProgramSlice:
    """What a program's process is told: the command. Its descriptors: standard input and output, standard error."""

    command: tuple[str, ...]


def send_slice(channel: Channel, content: object, descriptors: Sequence[int]) -> None:
    """Send a slice and its descriptors over a channel to a new process."""
    memory = os.memfd_create("slice", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(memory, "wb", closefd=False) as file:
            pickle.dump(content, file, pickle.HIGHEST_PROTOCOL)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS)
        channel.send(Begin(len(descriptors)), [memory])
    finally:
        os.close(memory)
    for start in range(0, len(descriptors), MAX_DESCRIPTORS):
        channel.send(Descriptors(), descriptors[start : start + MAX_DESCRIPTORS])


def receive_slice(channel: Channel) -> tuple[Any, list[int]]:
    """Receive what `send_slice` sent (a blocking channel). Raises ProtocolError, EOFError."""
    message, (memory,) = _expect(channel, Begin)
    assert isinstance(message, Begin)
    with contextlib.closing(mmap.mmap(memory, 0, access=mmap.ACCESS_READ)) as content:
        loaded = pickle.loads(content)  # noqa: S301 - from the supervisor, see above
    os.close(memory)
    descriptors: list[int] = []
    while len(descriptors) < message.descriptors:
        _, more = _expect(channel, Descriptors)
        descriptors += more
    return loaded, descriptors


def _expect(channel: Channel, kind: type) -> tuple[Any, list[int]]:
    received = channel.receive()
    if received is None:
        raise EOFError("the supervisor is gone")
    if not isinstance(received[0], kind):
        raise ProtocolError(f"expected {kind.__name__}, got {received[0]}")
    return received
