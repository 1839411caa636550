"""What the supervisor does once, before the loop: listeners, limits, the pid file."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ownhost.config.model import Config, ListenAddress
from ownhost.identity.accounts import look_up as look_up_account
from ownhost.identity.assignment import ALL_BUT_ROOT, LIMIT_GID_RANGE, LIMIT_UID_RANGE
from ownhost.identity.identity import Assignment, Identity, Refusal
from ownhost.modules.core_server import PID_FILE
from ownhost.modules.mpm import LISTEN_BACKLOG
from ownhost.modules.unixd import GROUP, USER

DEFER_ACCEPT = 30  # seconds that the kernel keeps a connection to itself until its first bytes are here


class StartError(Exception):
    """The server cannot start. The message is one clear sentence for the administrator."""


def look_up(config: Config) -> Callable[[Assignment], Identity | Refusal]:
    """How assignments become identities, within LimitUIDRange and LimitGIDRange.

    Without root there is one identity, the caller's: `User` and `Group` mean it too, as they have no effect then.
    """
    uid_range = config.main.settings[LIMIT_UID_RANGE]
    gid_range = config.main.settings[LIMIT_GID_RANGE]

    def look_up_as_root(assignment: Assignment) -> Identity | Refusal:
        return look_up_account(assignment, uid_range, gid_range)

    own = _own()
    default = Assignment(config.main.settings[USER], config.main.settings[GROUP])

    def look_up_own(assignment: Assignment) -> Identity | Refusal:
        found = look_up_as_root(assignment)
        if assignment == default or (isinstance(found, Identity) and (found.uid, found.gid) == (own.uid, own.gid)):
            return own
        raise StartError(
            f"AssignUserID {assignment.user} {assignment.group} needs root, and this is uid {own.uid}: "
            "start as root, or serve only your own files"
        )

    return look_up_as_root if os.geteuid() == 0 else look_up_own


def neutral(config: Config) -> Identity | Refusal:
    """What `User` and `Group` come to for gates and the logger: they serve nobody, so no range speaks of them."""
    if os.geteuid() != 0:
        return _own()
    main = config.main.settings
    gids = main[LIMIT_GID_RANGE]
    found = look_up_account(Assignment(main[USER], main[GROUP]), ALL_BUT_ROOT, ALL_BUT_ROOT)
    if isinstance(found, Refusal):
        return found
    return replace(found, groups=tuple(gid for gid in found.groups if gids[0] <= gid <= gids[1]))


def _own() -> Identity:
    return Identity(os.geteuid(), os.getegid(), tuple(sorted(os.getgroups())), f"#{os.geteuid()}")


def open_listeners(config: Config) -> list[socket.socket]:
    """Bind and listen on every Listen line. Raises StartError naming the address and the line."""
    listeners = []
    backlog = config.main.settings[LISTEN_BACKLOG]
    for listener in config.listeners:
        try:
            listeners.append(_listen(listener.address, backlog))
        except OSError as error:
            for opened in listeners:
                opened.close()
            raise StartError(f"{listener.source}: {_why(error, listener.address)}") from error
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
    """One listening socket. What it sets, every connection accepted from it has from the start."""
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


class PidFile:
    """The file that PidFile names, if it does: our pid while we run."""

    def __init__(self, config: Config) -> None:
        path = config.main.settings[PID_FILE]
        self.path = Path(path) if path else None
        if self.path is None:
            return
        try:
            # A new file, never somebody's link: whoever can write to the folder must not choose what we overwrite.
            self.path.unlink(missing_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            source = config.main.origins.get(PID_FILE.name, config.main.source)
            raise StartError(f"{source}: cannot write the PidFile {path}: {error.strerror}") from error
        with open(descriptor, "w") as file:
            file.write(f"{os.getpid()}\n")

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()


def notify_systemd(state: str) -> None:
    """Tell systemd (sd_notify(3)), where it asked to be told: NOTIFY_SOCKET is set."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.sendto(state.encode(), "\0" + path[1:] if path[0] == "@" else path)
