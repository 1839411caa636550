"""What a child gives up of its surroundings: session, descriptors, signals, environment, folder, masks, cgroup."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ownhost.identity import prctl
from ownhost.identity.shedding.line import Attempt, Line, Wanted, differs, in_full
from ownhost.identity.shedding.seen import Seen

CONTROL = 3  # the descriptor on which every child has its channel to the supervisor
NULL = os.devnull
ENVIRONMENT = frozenset(("PATH", "LANG", "LC_CTYPE"))

_OF_THE_C_LIBRARY = 3 << 31  # signals 32 and 33, which no other code can reach


# The session and its terminal: a hostile process could type into one that it shares (setsid(2), tty_ioctl(4): TIOCSTI).


def _shed_session(_wanted: Wanted) -> None:
    os.setsid()


def _attempt_session(_wanted: Wanted) -> Iterator[Attempt]:
    yield "open(/dev/tty)", lambda: os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))


def _wrong_session(seen: Seen, _wanted: Wanted) -> str:
    return differs("the session", (seen.leads_session, seen.terminal), (True, 0))


SESSION = Line(
    "session", _shed_session, _attempt_session, _wrong_session, when=lambda wanted: wanted.session, programs=True
)


# Descriptors: close_range(2).


def _shed_descriptors(wanted: Wanted) -> None:
    if wanted.control not in (None, CONTROL):
        os.dup2(wanted.control, CONTROL, inheritable=False)
    os.closerange(CONTROL + 1, os.sysconf("SC_OPEN_MAX"))
    null = os.open(NULL, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)


def _wrong_descriptors(seen: Seen, _wanted: Wanted) -> str:
    if seen.descriptors is None:
        return ""
    return differs("the set of open descriptors", set(seen.descriptors), {0, 1, 2, CONTROL})


DESCRIPTORS = Line("descriptors", _shed_descriptors, wrong=_wrong_descriptors, when=in_full)


# Signals: ignored or blocked ones stay so over fork and execve (signal(7)). nohup(1) ignores
# SIGHUP.


def shed_signals(wanted: Wanted) -> None:
    """Reset every signal to its default, except those that must be ignored, and block none."""
    signal.set_wakeup_fd(-1)
    changed = (wanted.before.seen.ignored | wanted.before.seen.caught) & ~_OF_THE_C_LIBRARY
    while changed:  # a bit for each: most are as they should be
        number = changed.bit_length()
        changed ^= 1 << (number - 1)
        signal.signal(number, signal.SIG_IGN if number in wanted.ignored else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _wrong_signals(seen: Seen, wanted: Wanted) -> str:
    ignored = sum(1 << (number - 1) for number in wanted.ignored)
    found = seen.blocked & ~_OF_THE_C_LIBRARY, seen.ignored & ~_OF_THE_C_LIBRARY & ~ignored
    return differs("the set of blocked and ignored signals", found, (0, 0))


SIGNALS = Line("signals", shed_signals, wrong=_wrong_signals, programs=True)


# The environment: environ(7). Programs get one made for them.


def _shed_environment(_wanted: Wanted) -> None:
    for name in set(os.environ) - ENVIRONMENT:
        del os.environ[name]


def _wrong_environment(seen: Seen, _wanted: Wanted) -> str:
    if seen.environment is None:
        return ""
    return differs("the rest of the environment", set(seen.environment - ENVIRONMENT), set())


ENVIRON = Line("environment", _shed_environment, wrong=_wrong_environment, when=in_full)


# The working directory: chdir(2).


def _shed_folder(_wanted: Wanted) -> None:
    os.chdir("/")


def _wrong_folder(seen: Seen, _wanted: Wanted) -> str:
    return "" if seen.folder is None else differs("the working directory", seen.folder, "/")


FOLDER = Line("working directory", _shed_folder, wrong=_wrong_folder, when=in_full)


# The file mode creation mask: umask(2).


def _shed_umask(wanted: Wanted) -> None:
    os.umask(wanted.umask)


def _wrong_umask(seen: Seen, wanted: Wanted) -> str:
    return differs("the umask", oct(seen.umask), oct(wanted.umask))


MASK = Line("umask", _shed_umask, wrong=_wrong_umask)


# The execution domain: personality(2). setarch(8) turns off address space randomisation with it.


def _shed_personality(wanted: Wanted) -> None:
    if wanted.before.seen.personality:
        prctl.libc.personality(0)


def _wrong_personality(seen: Seen, _wanted: Wanted) -> str:
    return "" if seen.personality is None else differs("the personality", seen.personality, 0)


PERSONALITY = Line("personality", _shed_personality, wrong=_wrong_personality)


# The control group: cgroups(7), version 2. All processes in a group of its own can be ended at
# once.


def _shed_control_group(wanted: Wanted) -> None:
    assert wanted.control_group is not None
    wanted.control_group.mkdir(mode=0o755)
    _enter(wanted.control_group)


def _enter(folder: Path) -> None:
    with open(folder / "cgroup.procs", "w") as file:
        file.write("0")


def _attempt_control_group(wanted: Wanted) -> Iterator[Attempt]:
    assert wanted.control_group is not None
    yield "the server's control group", partial(_enter, wanted.control_group.parent)


def _wrong_control_group(seen: Seen, wanted: Wanted) -> str:
    assert wanted.control_group is not None
    return differs("the control group", seen.control_group.rpartition("/")[2], wanted.control_group.name)


CONTROL_GROUP = Line(
    "control group",
    _shed_control_group,
    _attempt_control_group,
    _wrong_control_group,
    when=lambda wanted: wanted.control_group is not None,
)


# It ends with its parent (PR_SET_PDEATHSIG(2const)). Last, because a change of credentials clears
# it; the parent may have ended before it took effect.


def _shed_life(wanted: Wanted) -> None:
    prctl.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != wanted.parent:
        os._exit(0)


LIFE = Line("life", _shed_life, when=lambda wanted: wanted.parent != 0, programs=True)
