"""Starting a program: fork, and what a child does before it is the program."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from ownhost.identity import prctl
from ownhost.request.programs import Limits

DESCRIPTORS = 1_024  # what programs expect that use select(2)
_LIMITED = (("cpu", resource.RLIMIT_CPU), ("memory", resource.RLIMIT_AS), ("processes", resource.RLIMIT_NPROC))


@dataclass(frozen=True, slots=True)
class Start:
    """What to start. `standard` are the descriptors of input, output and errors."""

    command: tuple[bytes, ...]
    environment: Mapping[bytes, bytes]
    folder: str
    standard: tuple[int, ...]
    limits: Limits = Limits()


def start(what: Start) -> int:
    """Start a program in a session of its own, which ends with its parent. Its pid. Raises OSError."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(what, parent)
    return pid


def _become(what: Start, parent: int) -> NoReturn:
    try:
        os.setsid()
        prctl.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        _take_standard(what.standard)
        _limit(what.limits)
        os.chdir(what.folder)
        os.execve(what.command[0], what.command, dict(what.environment))
    except BaseException as error:
        name = what.command[0].decode("utf-8", "backslashreplace")
        reason = getattr(error, "strerror", None) or repr(error)
        os.write(2, f"{name} cannot be run: {reason}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(127)


def _take_standard(descriptors: tuple[int, ...]) -> None:
    """Make these 0, 1 and 2, wherever they are, and close all else."""
    high = [os.dup(descriptor) for descriptor in descriptors]
    while min(high) < 3:
        high = [os.dup(descriptor) for descriptor in high]
    for standard, descriptor in enumerate(high):
        os.dup2(descriptor, standard)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def _limit(limits: Limits) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))
    for name, kind in _LIMITED:
        wanted = getattr(limits, name)
        if wanted is not None:
            resource.setrlimit(kind, wanted)
