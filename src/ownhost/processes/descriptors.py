"""Descriptors: how many a process may have open (getrlimit(2), RLIMIT_NOFILE), and an end to several."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Iterable

SO_PASSRIGHTS = 83  # linux/include/uapi/asm-generic/socket.h
FOR_PROGRAMS = 1_024  # what those expect that use select(2)
FOR_ALL = 256  # of the supervisor's: listeners, logs, gates
FOR_EACH = 16  # and for an identity: mailbox, keys, channels and logs of its processes


def raise_limit() -> None:
    """Use all that the administrator lets us have: most sessions and services start with 1,024, and may have more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def too_few_for(identities: int) -> str:
    """Why the limit may not do for so many identities at work, in one sentence; "" where it does."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FOR_ALL + FOR_EACH * identities
    if needed <= limit:
        return ""
    return (
        f"{limit} open files may be too few for {identities} identities at work: "
        f"allow {needed} (LimitNOFILE= of a systemd service, ulimit -Hn of a shell)"
    )


def lower_limit() -> None:
    """Have what a program expects; it may raise it again."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FOR_PROGRAMS, hard), hard))


def refuse_descriptors(sock: socket.socket) -> None:
    """Have the kernel refuse descriptors to whoever sends on the other end of a unix socket (Linux 6.16 and newer)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)


def close_all(descriptors: Iterable[int]) -> None:
    """Close them."""
    for descriptor in descriptors:
        os.close(descriptor)
