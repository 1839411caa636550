"""Reading from a socket whose other end may be hostile: bytes come, and no descriptors with them.

A process that is passed a descriptor (SCM_RIGHTS) must close it, and a close can hang as long as
its sender likes: a socket that lingers, a file of a file system that the sender itself runs (FUSE).
That is also true for descriptors without room: the kernel closes those in the reader's name.

Linux 6.16 and later refuse them at the sender (SO_PASSRIGHTS, socket(7)). On an older kernel the
reader has room for as many as one message can hold, and keeps them for good: neither the
descriptors nor their socket are closed before the process ends. That costs a few numbers, and no
time.
"""

from __future__ import annotations

import array
import contextlib
import resource
import socket
import struct

SO_PASSRIGHTS = 83  # asm-generic/socket.h, from Linux 6.16 on
MOST = 253  # descriptors of one message: SCM_MAX_FD
_ROOM = socket.CMSG_SPACE(MOST * array.array("i").itemsize)
_CREDENTIALS = struct.Struct("iii")  # struct ucred: pid, uid, gid
_SPACE = _ROOM + socket.CMSG_SPACE(_CREDENTIALS.size)

kept: list[int] = []  # descriptors that must not be closed by this process


class DescriptorsCame(Exception):
    """A process sent descriptors where none are taken.

    The socket must not be read again, nor closed except by `end`.
    """


def guard(sock: socket.socket) -> bool:
    """Have the kernel say who sends (`receive`), and refuse descriptors. False if it is too old for the latter."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
    except OSError:
        return False
    return True


def receive(sock: socket.socket, most: int) -> tuple[bytes, int]:
    """The next message to a guarded socket, cut after `most` bytes, and the pid of its sender. At the end b"" and 0.

    Raises OSError; DescriptorsCame.
    """
    data, control, _, _ = sock.recvmsg(most, _SPACE, socket.MSG_CMSG_CLOEXEC)
    pid = 0
    came = False
    for level, kind, content in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid = _CREDENTIALS.unpack(content)[0]
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            kept.extend(array.array("i", content))
            came = True
    if came:
        raise DescriptorsCame
    return data, pid


def end(sock: socket.socket, *, refuses: bool) -> None:
    """Close a guarded socket for good, with its unread messages. `refuses` is the result of `guard`.

    If descriptors may wait in it, it is closed only if it is empty, and kept if there are any.
    """
    if refuses:
        sock.close()
        return
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)  # nothing more comes
    sock.setblocking(False)
    try:
        while any(receive(sock, 1)):
            pass
    except DescriptorsCame:
        kept.append(sock.detach())
        return
    except OSError:
        pass
    sock.close()


def too_many() -> bool:
    """Whether so much is kept that this process should leave, and another one replace it."""
    return bool(kept) and len(kept) > resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
