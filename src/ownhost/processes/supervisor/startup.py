"""The work of `preparation`'s steps: identities, listeners, the pid file; and what can be checked without effect."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ownhost.config.directive import ConfigError, Problem, Source
from ownhost.config.model import Config, ListenAddress
from ownhost.identity.accounts import Found, find, judge
from ownhost.identity.assignment import ALL_BUT_ROOT, LIMIT_GID_RANGE, LIMIT_UID_RANGE
from ownhost.identity.identity import Assignment, Identity, Refusal
from ownhost.identity.roles import RESERVED, ROLE_USERS, identities_of, reserved_for
from ownhost.modules.core_server import PID_FILE
from ownhost.modules.mpm import LISTEN_BACKLOG
from ownhost.modules.unixd import GROUP, USER
from ownhost.processes.supervisor import trusted
from ownhost.processes.supervisor.plan import Plan, make_plan
from ownhost.processes.supervisor.trusted import NotRoots, Place

DEFER_ACCEPT = 30  # seconds that the kernel holds back a connection until its first bytes arrive


class StartError(ConfigError):
    """The server cannot start, because of the machine. `text` is the form for `run`."""

    def __init__(self, problems: list[Problem], text: str = "") -> None:
        super().__init__(problems)
        self.text = text or "\n".join(map(str, problems))

    def __str__(self) -> str:
        return self.text


class NeedsRoot(StartError):
    """The configuration is for a server that root starts."""


class Forbidden(StartError):
    """The server cannot start as this user; as root it might."""


def plan(config: Config, *, as_root: bool) -> Plan:
    """Who serves what, within LimitUIDRange and LimitGIDRange. Raises ConfigError if `User` or `Group` is unusable.

    Without root there is one identity, the caller's. `User` and `Group` mean it, too, as they have
    no effect then.
    """
    main = config.main
    main_users = main.settings[USER], main.settings[GROUP]
    default = Assignment(*main_users)
    uids, gids = main.settings[LIMIT_UID_RANGE], main.settings[LIMIT_GID_RANGE]

    def within(assignment: Assignment, found: Found) -> Identity | Refusal:
        return judge(assignment, found, uids, gids)

    if as_root:
        roles = _roles(config)
        anybody = reserved_for(roles, lambda wanted, found: judge(wanted, found, ALL_BUT_ROOT, ALL_BUT_ROOT))
        neutral = anybody(default, find(*main_users))  # serves no requests: no range applies to it
        if isinstance(neutral, Identity):
            neutral = replace(neutral, groups=tuple(gid for gid in neutral.groups if gids[0] <= gid <= gids[1]))
        return make_plan(config, reserved_for(roles, within), neutral, roles)
    own = own_identity()

    def own_alone(assignment: Assignment, found: Found) -> Identity:
        comes_to = within(assignment, found)
        if assignment == default or (
            isinstance(comes_to, Identity) and (comes_to.uid, comes_to.gid) == (own.uid, own.gid)
        ):
            return own
        who = f"AssignUserID {assignment.user} {assignment.group} needs root, and this is uid {own.uid}"
        message = f"{who}: start as root, or serve only your own files"
        raise NeedsRoot([Problem(main.source, message)], message)

    return make_plan(config, own_alone, own, dict.fromkeys(RESERVED, own))


def _roles(config: Config) -> dict[str, Identity]:
    """The identities of neutral processes. Raises ConfigError."""
    main = config.main
    found = identities_of(main.settings[ROLE_USERS])
    if isinstance(found, Refusal):
        raise ConfigError([Problem(main.origins.get(ROLE_USERS.name, main.source), found.reason)])
    return found


def own_identity() -> Identity:
    """The identity of this process."""
    return Identity(os.geteuid(), os.getegid(), tuple(sorted(os.getgroups())), f"#{os.geteuid()}")


def check_listeners(config: Config) -> None:
    """Raise ConfigError if there is no Listen line, or one address is part of another."""
    if not config.listeners:
        expected = "expected at least one, such as Listen 80"
        raise ConfigError(
            [Problem(config.main.source, f"there is no Listen line, so no client could connect: {expected}")]
        )
    problems = []
    for wide in config.listeners:
        for other in config.listeners:
            if other is not wide and other.address.port == wide.address.port and _covers(wide.address, other.address):
                message = f"Listen: {other.address} is part of {wide.address} ({wide.source}): remove one of the two"
                problems.append(Problem(other.source, message))
    if problems:
        raise ConfigError(problems)


def _covers(wide: ListenAddress, other: ListenAddress) -> bool:
    return wide.host in ("", "::") or (wide.host == "0.0.0.0" and ":" not in other.host)  # noqa: S104 - compared


def unreachable(config: Config) -> list[Problem]:
    """Virtual hosts at addresses without a listener."""
    notes = []
    for server in config.virtual_hosts:
        for address in server.addresses:
            if not any(_meet(address, listener.address) for listener in config.listeners):
                message = (
                    f"<VirtualHost>: there is no Listen line for {address}: no client reaches this virtual host there"
                )
                notes.append(Problem(server.source, message))
    return notes


def _meet(address: ListenAddress, listener: ListenAddress) -> bool:
    any_host = ("", "0.0.0.0", "::")  # noqa: S104 - compared
    return address.port in (0, listener.port) and (
        address.host in any_host or listener.host in any_host or address.host == listener.host
    )


def open_listeners(config: Config) -> list[socket.socket]:
    """Bind and listen on every Listen line. Raises ConfigError naming the address and the line."""
    listeners = []
    backlog = config.main.settings[LISTEN_BACKLOG]
    for listener in config.listeners:
        try:
            listeners.append(_listen(listener.address, backlog))
        except OSError as error:
            for opened in listeners:
                opened.close()
            raise StartError([Problem(listener.source, _why(error, listener.address))]) from error
    return listeners


def _why(error: OSError, address: ListenAddress) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"another program listens on {address} already; stop it or choose another port in Listen"
        case errno.EACCES:
            return f"only root may listen on {address}; start as root or choose a port from 1024 up"
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address {address.host}; Listen takes one of its own, or only a port"
        case _:
            return f"cannot listen on {address}: {error.strerror}"


def _listen(address: ListenAddress, backlog: int) -> socket.socket:
    """One listening socket. Its options apply to every connection that it accepts, from the start."""
    if address.host:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return _bind(family, address.host, address.port, backlog)
    try:
        return _bind(socket.AF_INET6, "::", address.port, backlog)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _bind(socket.AF_INET, "0.0.0.0", address.port, backlog)  # noqa: S104 - Listen PORT means all


def _bind(family: int, host: str, port: int, backlog: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT)
        listener.bind((host, port))
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def try_listeners(config: Config) -> list[Problem]:
    """Raise ConfigError if this machine has no such address. What only root may do is a note."""
    try:
        unprivileged = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        unprivileged = 1024
    problems, notes = [], []
    for listener in config.listeners:
        host, port = listener.address.host, listener.address.port
        if port < unprivileged and os.geteuid() != 0:
            notes.append(Problem(listener.source, f"only root may listen on {listener.address}"))
        try:
            _listen(ListenAddress(host, 0), 1).close()  # at any port: its own may be the running server's
        except OSError as error:
            problems.append(Problem(listener.source, _why(error, listener.address)))
    if problems:
        raise ConfigError(problems)
    return notes


class PidFile:
    """The file of PidFile, if there is one: it has our pid while we run."""

    def __init__(self) -> None:
        self.place: Place | None = None  # where it stands

    def write(self, config: Config, owners: Collection[int]) -> None:
        """Make it: a new file, whatever existed. Raises StartError, NotRoots."""
        self.place = find_pid_file(config, owners)
        if self.place is None:
            return
        name, folder = self.place.name, self.place.folder
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=folder)
        except OSError as error:
            raise StartError([_pid_problem(config, error)]) from error
        with open(descriptor, "w") as file:
            file.write(f"{os.getpid()}\n")

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self.place is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.place.name, dir_fd=self.place.folder)


def find_pid_file(config: Config, owners: Collection[int]) -> Place | None:
    """The place of PidFile; None if there should be none. Raises StartError, NotRoots.

    Forbidden: root perhaps could write there.
    """
    name = config.main.settings[PID_FILE]
    if not name:
        return None
    try:
        place = trusted.walk(Path(name), owners, follows=False)
        if not place.name:
            raise IsADirectoryError(errno.EISDIR, "")
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=place.folder, effective_ids=True):
            raise PermissionError(errno.EACCES, "")
    except NotRoots:
        raise
    except PermissionError as error:
        raise Forbidden([_pid_problem(config, error)]) from None
    except OSError as error:
        raise StartError([_pid_problem(config, error)]) from None
    return place


def _pid_problem(config: Config, error: OSError) -> Problem:
    why = os.strerror(error.errno or 0)
    return Problem(pid_file_source(config), f"cannot write the PidFile {config.main.settings[PID_FILE]}: {why}")


def pid_file_source(config: Config) -> Source:
    """The place of the PidFile line."""
    return config.main.origins.get(PID_FILE.name, config.main.source)


def machine() -> tuple[int, int, int]:
    """The machine's limits for workers: bytes of memory, pids, open files of this process."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return memory, int(Path("/proc/sys/kernel/pid_max").read_text()), resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def notify_systemd(state: str) -> None:
    """Tell systemd (sd_notify(3)), if it wants to be told: NOTIFY_SOCKET is set."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.sendto(state.encode(), "\0" + path[1:] if path[0] == "@" else path)
