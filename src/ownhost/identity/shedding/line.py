"""What a child must be, and the parts of one line of the list of what it gives up (`walk` has the list)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ownhost.identity import keyrings
from ownhost.identity.identity import Identity
from ownhost.identity.shedding.seen import Seen, look

UMASK = 0o022
OF_PYTHON = frozenset((signal.SIGPIPE, signal.SIGXFSZ))  # which the interpreter ignores for itself


class BecomeError(Exception):
    """The process is not what it must be. It must end at once."""


@dataclass(frozen=True, slots=True)
class Before:
    """What a child is before it gives up anything: a copy of its parent."""

    seen: Seen
    keyring: int
    root: bool

    @classmethod
    def now(cls) -> Before:
        """This process as it is."""
        return cls(look(), keyrings.session_keyring(), os.geteuid() == 0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a child must be.

    `owners`: it runs for an owner; else it is a neutral process, on which all owners depend.
    `processes` is the soft and the hard RLIMIT_NPROC; None leaves it. `session`: it has one of its
    own. `control` is the descriptor of its channel, which becomes CONTROL; None: it is a part of a
    command, or will be a program, and its descriptors, environment and folder are handled
    elsewhere. `ignored` are signals. `parent` is the process with which it ends; 0: none.
    `control_group` is the folder of the control group that is made for it; "": it stays in the
    server's.
    """

    identity: Identity
    before: Before
    owners: bool = True
    no_new_privs: bool = True
    processes: tuple[int, int] | None = None
    umask: int = UMASK
    session: bool = False
    control: int | None = None
    ignored: frozenset[signal.Signals] = OF_PYTHON
    parent: int = 0
    control_group: Path | None = None

    @classmethod
    def program(cls, parent: int) -> Wanted:
        """A program that this process is about to start: it has this process's identity."""
        identity = Identity(os.getuid(), os.getgid(), tuple(os.getgroups()), "")
        return cls(identity, _own_before(), no_new_privs=False, session=True, ignored=frozenset(), parent=parent)


@cache
def _own_before() -> Before:
    return Before.now()


Attempt = tuple[str, Callable[[], object]]


def _nothing(_wanted: Wanted) -> None:
    """There is nothing to do."""


def _no_attempts(_wanted: Wanted) -> Iterator[Attempt]:
    yield from ()


def always(_wanted: Wanted) -> bool:
    """Of every child."""
    return True


def in_full(wanted: Wanted) -> bool:
    """For a child of the forkserver. For a part of a command, or a future program, this is handled elsewhere."""
    return wanted.control is not None


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a child gives up.

    `shed` gives it up. Each of `attempts` must fail afterwards (OSError, ValueError). `wrong` says
    what is not as it should be; "" if all is right. `when`: for which processes the line applies at
    all. `programs`: a launcher does it for each program.
    """

    name: str
    shed: Callable[[Wanted], None] = _nothing
    attempts: Callable[[Wanted], Iterator[Attempt]] = _no_attempts
    wrong: Callable[[Seen, Wanted], str] = lambda _seen, _wanted: ""
    when: Callable[[Wanted], bool] = always
    programs: bool = False

    def look(self, seen: Seen, wanted: Wanted) -> str:
        """What is wrong with a process, as far as it can be seen."""
        return self.wrong(seen, wanted) if self.when(wanted) else ""


def differs(what: str, found: object, wanted: object) -> str:
    """The difference, in words."""
    return "" if found == wanted else f"{what} is {found}, and should be {wanted}"
