"""Descriptors: how many a process may have open (getrlimit(2), RLIMIT_NOFILE), and closing several."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
from collections.abc import Iterable

SO_PASSRIGHTS = 83  # linux/include/uapi/asm-generic/socket.h
FOR_PROGRAMS = 1_024  # the limit that programs with select(2) expect
FOR_ALL = 256  # of the supervisor's: listeners, logs, gates
FOR_EACH = 16  # and for each identity: mailbox, keys, channels and logs of its processes
_INT = struct.Struct("i")


def raise_limit() -> None:
    """Raise the soft limit to the hard one: most sessions and services start with 1,024, and may have more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def too_few_for(identities: int) -> str:
    """Why the limit may be too low for so many identities at work, in one sentence; "" if it is enough."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FOR_ALL + FOR_EACH * identities
    if needed <= limit:
        return ""
    return (
        f"{limit} open files may be too few for {identities} identities at work: "
        f"allow {needed} (LimitNOFILE= of a systemd service, ulimit -Hn of a shell)"
    )


def lower_limit() -> None:
    """Set the limit that programs expect. A program may raise it again."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FOR_PROGRAMS, hard), hard))


def refuse_descriptors(sock: socket.socket) -> None:
    """Have the kernel refuse descriptors from senders at the other end of a unix socket (Linux 6.16 and newer)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)


def receive_with_descriptors(sock: socket.socket, most: int, room: int, flags: int = 0) -> tuple[bytes, list[int], int]:
    """The next message, cut after `most` bytes, at most `room` descriptors that came with it, and its flags.

    No program inherits these, not even one that is started at this moment. socket.recv_fds sets no
    flag (Python 3.11), and so leaves them open across execve(2).
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
