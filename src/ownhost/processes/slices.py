"""A slice: the part of the configuration that one process is told, and how it gets there.

The supervisor pickles a slice into a sealed memory file and sends that, with the descriptors that
the slice names by number. The forkserver only ever sees the channel's end: no owner's setting
passes through it, so no process that is forked later can have it in memory. Unpickling is safe in
this one direction: the supervisor is more trusted than the reader.
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
NO_IDENTITY = -1  # stands for gates and fronts, which speak only for the main server
FRONTS = -1  # what gates call the fronts' mailbox, among those of identities

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(slots=True)
class LoggerSlice:
    """The logger's part: the logs, whose descriptors come with it in order, and who may write what in them.

    Nothing in it is an owner's secret: names and formats.
    """

    names: list[str]  # of the logs
    main: int  # the number of the main error log
    servers: dict[int, VirtualHost]  # by id: their names, and formats of error logs (routing.main_for_logging)
    serves: dict[int, list[int]]  # identity number -> ids of servers it speaks for
    # log -> server id -> what each of its access logs' lines there starts with, whatever the request
    starts: dict[int, dict[int, list[str]]]
    rate: float  # bytes a second that an identity may write; infinite without a limit
    burst: float  # bytes


@dataclass(slots=True)
class GateSlice:
    """A gate's part: where to listen, and which identity has which name. It has no owner's secret.

    Its descriptors: the listeners in order, then the socket for its own log lines.
    """

    listeners: list[ListenAddress]
    index: HostIndex
    own: dict[int, int]  # server id -> the identity that gets its connections
    tls: frozenset[int]  # servers whose connections are encrypted
    fronts: Fronts  # listed proxies: their connections go to fronts, and they are believed about their clients
    handover: int  # bytes of a handover (mailbox.handover_size)
    main: VirtualHost  # the main server's own settings: limits and log level before a virtual host is known


@dataclass(frozen=True, slots=True)
class Limits:
    """A virtual host's limits on heads, and its time limits on connections, in seconds."""

    head: HeadLimits
    read_timeout: ReadTimeout
    timeout: float
    keep_alive_timeout: float


@dataclass(slots=True)
class FrontSlice:
    """A front's part: which identity has which name, and the time limits of connections. It has no owner's secret.

    Its descriptors: the mailbox, then the socket for its own log lines.
    """

    index: HostIndex
    own: dict[int, int]  # server id -> the identity that gets its requests
    limits: dict[int, Limits]  # by server id
    handover: int  # bytes of a handover (mailbox.handover_size)
    main: VirtualHost


@dataclass(slots=True)
class LogPlaces:
    """The places of error and access logs, as numbers of descriptors.

    `rate` is how much a process may write to its own error logs: bytes a second, and at once.
    """

    error: dict[LogTarget, int] = field(default_factory=dict)
    access: dict[LogTarget, int] = field(default_factory=dict)
    own: dict[LogTarget, int | None] = field(default_factory=dict)  # of either kind: to be opened here, and their modes
    rate: tuple[float, float] = (inf, inf)


@dataclass(slots=True)
class WorkerSlice:
    """A worker's part: the virtual hosts that its identity may serve, whole, and nothing of any other.

    The first descriptor is the workers' end of its mailbox, the second is for orders to its
    launcher; `logs`, `counts` and `programs` name others by number.
    """

    identity: Identity
    servers: list[VirtualHost]
    mine: dict[int, frozenset[Assignment]]  # server id -> its assignments that come to this identity
    default: Assignment  # what User and Group say
    main: VirtualHost  # for messages that belong to no virtual host (routing.main_for_logging)
    names: HostIndex = field(default_factory=lambda: HostIndex({}))  # if they are this identity's
    in_range: bool = True  # expressions may name it: LimitUIDRange and LimitGIDRange allow it
    refused: dict[int, str] = field(default_factory=dict)  # server id -> why no identity may serve it
    left_over: list[int] = field(default_factory=list)  # mailboxes that were shut down: what is in them is served, too
    logs: LogPlaces = field(default_factory=LogPlaces)
    counts: list[Count] = field(default_factory=list)
    # command -> the sockets to talk to it and for its standard error
    programs: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)
    tls: dict[int, TLSGiven] = field(default_factory=dict)  # server id -> its TLS settings and keys
    opened: dict[int, dict[str, list[int]]] = field(default_factory=dict)  # server id -> file or folder -> descriptors
    idle_timeout: float = 60.0  # seconds without a connection before the worker leaves
    spooling: Spooling = field(default_factory=Spooling)  # what it may keep in files


@dataclass(slots=True)
class TLSGiven:
    """What a worker needs to speak TLS for one virtual host.

    `opened` has the descriptors of its files and folders, by name, if root opened them.
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
    """A launcher's part. Its first descriptor is for workers' orders; `logs` names others by number."""

    name: str
    at_once: int  # requests that the identity's programs serve at the same time
    queue: int  # requests that wait beside them
    servers: list[VirtualHost]  # whose error logs are written to (routing.main_for_logging)
    main: VirtualHost  # for messages that belong to no virtual host (routing.main_for_logging)
    logs: LogPlaces = field(default_factory=LogPlaces)
    state: str = ""  # the folder for sockets and the like; "" for the system's /tmp


@dataclass(slots=True)
class ExaminerSlice:
    """An examiner's part: one owner's virtual hosts, and which of their files to check."""

    servers: list[VirtualHost]
    tls: set[int]  # ids of those that speak TLS with clients
    backends: dict[int, tuple[int, ...]]  # server id -> its scopes (proxy_directives.scopes) that do with other servers
    opened: dict[str, list[int]]  # file or folder -> descriptors, where root opened it
    logs: dict[int, list[str]]  # server id -> logs that its own processes will open


@dataclass(slots=True)
class SweeperSlice:
    """A sweeper's part: the folder to empty."""

    folder: str


@dataclass(slots=True)
class ProgramSlice:
    """The part of a program's process: the command. Its descriptors: standard input and output, standard error."""

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
