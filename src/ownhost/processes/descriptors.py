"""Descriptors: how many a process may have open (getrlimit(2), RLIMIT_NOFILE), and an end to several."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
from collections.abc import Iterable

SO_PASSRIGHTS = 83  # linux/include/uapi/asm-generic/socket.h
FOR_PROGRAMS = 1_024  # what those expect that use select(2)
FOR_ALL = 256  # of the supervisor's: listeners, logs, gates
FOR_EACH = 16  # and for an identity: mailbox, keys, channels and logs of its processes
_INT = struct.Struct("i")


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


def receive_with_descriptors(sock: socket.socket, most: int, room: int, flags: int = 0) -> tuple[bytes, list[int], int]:
    """The next message, cut after `most` bytes, at most `room` descriptors that came with it, and its flags.

    No program inherits one of them, not even one that is started at this moment: socket.recv_fds sets no flag (Python
    3.11), and so leaves them open to every execve(2) until somebody says otherwise.
    """
    data, control, found, _ = sock.recvmsg(most, socket.CMSG_LEN(room * _INT.size), flags | socket.MSG_CMSG_CLOEXEC)
    descriptors = [
        one
        for level, kind, content in control
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for (one,) in _INT.iter_unpack(content[: len(content) // _INT.size * _INT.size])
    ]
    return data, descriptors, found


def close_all(descriptors: Iterable[int]) -> None:
    """Close them."""
    for descriptor in descriptors:
        os.close(descriptor)
