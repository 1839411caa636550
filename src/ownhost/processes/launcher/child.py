"""Starting a program: fork, and what a child does before it is the program."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from ownhost.identity.shedding.line import Wanted
from ownhost.identity.shedding.walk import shed_for_program
from ownhost.processes.descriptors import lower_limit
from ownhost.request.programs import Limits

# When libuv is imported, it registers a fork handler: in each new process, it closes the
# descriptors of its pipe in the forkserver and opens another, whatever has those low numbers by
# then. So a program's descriptors are kept out of its way.
SAFE = 256
_LIMITED = (("cpu", resource.RLIMIT_CPU), ("memory", resource.RLIMIT_AS), ("processes", resource.RLIMIT_NPROC))
_ENDING = (signal.SIGTERM, signal.SIGINT)

UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Start:
    """A program to start. `standard` are the descriptors of input, output and errors."""

    command: tuple[bytes, ...]
    environment: Mapping[bytes, bytes]
    folder: str
    standard: tuple[int, ...]
    limits: Limits = UNLIMITED


def start(what: Start) -> int:
    """Start a program in a session of its own, which ends with its parent. Returns its pid. Raises OSError.

    An early signal waits for the program: before, the child would take it as its parent.
    """
    wanted = Wanted.program(os.getpid())
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, SAFE) for descriptor in what.standard]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        pid = os.fork()
        if pid == 0:
            _become(what, high, wanted)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for descriptor in high:
            os.close(descriptor)
    return pid


def _become(what: Start, standard: list[int], wanted: Wanted) -> NoReturn:
    try:
        shed_for_program(wanted)
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        _limit(what.limits)
        os.chdir(what.folder)
        os.execve(what.command[0], what.command, dict(what.environment))
    except BaseException as error:
        name = what.command[0].decode("utf-8", "backslashreplace")
        reason = f"({error.errno}){error.strerror}" if isinstance(error, OSError) else repr(error)
        os.write(2, f"{reason}: exec of '{name}' failed\n".encode("utf-8", "backslashreplace"))  # Apache's words
    finally:
        os._exit(127)


def _limit(limits: Limits) -> None:
    lower_limit()
    for name, kind in _LIMITED:
        wanted = getattr(limits, name)
        if wanted is not None:
            resource.setrlimit(kind, wanted)
