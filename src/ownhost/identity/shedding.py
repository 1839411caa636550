"""What a child sheds: one list, of all that fork and execve(2) leave a process of whoever started the server.

Each line says how a child gives something up, how it tries to get it back, and what must be seen of it then. A child of
the forkserver walks the list in its order (`become`). A launcher walks the lines that are a program's, too: the rest
a program has from its launcher, and cannot change. `tests/never` looks at every role's real processes by the same list.

Not on it is what the administrator places the whole server in, and what only ever takes rights away: namespaces, root
folder, processor affinity and memory policy, seccomp filters, security modules, securebits, other resource limits.
Timers and pending signals are not inherited.

Sources: fork(2), execve(2), credentials(7), and the manual page that a line names.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from ownhost.identity import capabilities, keyrings, prctl
from ownhost.identity.capabilities import Capability
from ownhost.identity.identity import Identity
from ownhost.identity.seen import IOPRIO_CLASS_SHIFT, IOPRIO_WHO_PROCESS, UNLIMITED, Limits, Seen, look
from ownhost.identity.system_calls import system_call

CONTROL = 3  # the descriptor on which every child has its channel to the supervisor
NULL = os.devnull
UMASK = 0o022
ENVIRONMENT = frozenset(("PATH", "LANG", "LC_CTYPE"))
OF_PYTHON = frozenset((signal.SIGPIPE, signal.SIGXFSZ))  # which the interpreter ignores for itself

_OF_THE_C_LIBRARY = 3 << 31  # signals 32 and 33, which nobody else can reach

LIKELIER = 100  # points of oom_score_adj that an owner's process has more than the server, or than 0
MOST_LIKELY = 1_000
REAL_TIME = (os.SCHED_FIFO, os.SCHED_RR, 6)  # 6: SCHED_DEADLINE
IO_REAL_TIME = 1  # ioprio_set(2): IOPRIO_CLASS_RT; 0 is what follows from the nice value

LOCKED_MEMORY = 8 << 20  # bytes: Linux's own default
QUEUES = 819_200  # bytes: Linux's own default


class BecomeError(Exception):
    """The process is not who it should be. It must end at once."""


@dataclass(frozen=True, slots=True)
class Before:
    """What a child is before it sheds anything: its parent."""

    seen: Seen
    keyring: int
    root: bool

    @classmethod
    def now(cls) -> Before:
        """This process as it is."""
        return cls(look(), keyrings.session_keyring(), os.geteuid() == 0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a child is to be.

    `owners`: it runs for an owner; else it is a neutral process, which everybody depends on. `processes` is the
    soft and the hard RLIMIT_NPROC; None leaves it. `session`: it has one of its own. `control` is the descriptor
    of its channel, which becomes CONTROL; None: it is a part of a command, or a program to be, and its
    descriptors, its environment and its folder are somebody else's care. `ignored` are signals. `parent` is the
    process whose end is its own, too; 0: none. `control_group` is the folder of the control group that is made for
    it; "": it stays in the server's.
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
        """A program that this process is about to start: it is whoever this process is."""
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


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a child sheds.

    `shed` gives it up. Each of `attempts` must fail afterwards (OSError, ValueError). `wrong` says what is to be seen
    that should not be; "" is as it should be. `programs`: a launcher does it for each program.
    """

    name: str
    shed: Callable[[Wanted], None] = _nothing
    attempts: Callable[[Wanted], Iterator[Attempt]] = _no_attempts
    wrong: Callable[[Seen, Wanted], str] = lambda _seen, _wanted: ""
    programs: bool = False


def _differs(what: str, found: object, wanted: object) -> str:
    return "" if found == wanted else f"{what} is {found}, and should be {wanted}"


# The session and its terminal: a hostile process could type into one that it shares (setsid(2), tty_ioctl(4): TIOCSTI).


def _shed_session(wanted: Wanted) -> None:
    if wanted.session:
        os.setsid()


def _attempt_session(wanted: Wanted) -> Iterator[Attempt]:
    if wanted.session:
        yield "open(/dev/tty)", lambda: os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))


def _wrong_session(seen: Seen, wanted: Wanted) -> str:
    return _differs("the session", (seen.leads_session, seen.terminal), (True, 0)) if wanted.session else ""


# Descriptors: close_range(2).


def _shed_descriptors(wanted: Wanted) -> None:
    if wanted.control is None:
        return
    if wanted.control != CONTROL:
        os.dup2(wanted.control, CONTROL, inheritable=False)
    os.closerange(CONTROL + 1, os.sysconf("SC_OPEN_MAX"))
    null = os.open(NULL, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)


def _wrong_descriptors(seen: Seen, wanted: Wanted) -> str:
    if wanted.control is None or seen.descriptors is None:
        return ""
    return _differs("the set of open descriptors", set(seen.descriptors), {0, 1, 2, CONTROL})


# Signals: what is ignored or blocked stays so over fork and execve (signal(7)). nohup(1) ignores SIGHUP.


def shed_signals(wanted: Wanted) -> None:
    """Have every signal do what it does by default, but those that are to be ignored, and block none."""
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
    return _differs("the set of blocked and ignored signals", found, (0, 0))


# The environment: environ(7). Programs get one that is made for them.


def _shed_environment(wanted: Wanted) -> None:
    if wanted.control is not None:
        for name in set(os.environ) - ENVIRONMENT:
            del os.environ[name]


def _wrong_environment(seen: Seen, wanted: Wanted) -> str:
    if wanted.control is None or seen.environment is None:
        return ""
    return _differs("the rest of the environment", set(seen.environment - ENVIRONMENT), set())


# The working directory: chdir(2).


def _shed_folder(wanted: Wanted) -> None:
    if wanted.control is not None:
        os.chdir("/")


def _wrong_folder(seen: Seen, wanted: Wanted) -> str:
    if wanted.control is None or seen.folder is None:
        return ""
    return _differs("the working directory", seen.folder, "/")


# The file mode creation mask: umask(2).


def _shed_umask(wanted: Wanted) -> None:
    os.umask(wanted.umask)


def _wrong_umask(seen: Seen, wanted: Wanted) -> str:
    return _differs("the umask", oct(seen.umask), oct(wanted.umask))


# The execution domain: personality(2). setarch(8) turns off address space randomisation with it.


def _shed_personality(wanted: Wanted) -> None:
    if wanted.before.seen.personality:
        prctl.libc.personality(0)


def _wrong_personality(seen: Seen, _wanted: Wanted) -> str:
    return "" if seen.personality is None else _differs("the personality", seen.personality, 0)


# Limits: getrlimit(2). An owner cannot fork without end, lock memory or raise his priority; nobody dumps core.


def _limits(wanted: Wanted) -> Iterator[tuple[int, str, tuple[int, int]]]:
    """The most of each: resource, its name in /proc/PID/limits, soft and hard."""
    yield resource.RLIMIT_CORE, "Max core file size", (0, 0)
    yield resource.RLIMIT_RTPRIO, "Max realtime priority", (0, 0)
    yield resource.RLIMIT_NICE, "Max nice priority", (0, 0)
    yield resource.RLIMIT_MEMLOCK, "Max locked memory", (LOCKED_MEMORY, LOCKED_MEMORY)
    yield resource.RLIMIT_MSGQUEUE, "Max msgqueue size", (QUEUES, QUEUES)
    if wanted.processes is not None:
        yield resource.RLIMIT_NPROC, "Max processes", wanted.processes


def _shed_limits(wanted: Wanted) -> None:
    for kind, _, most in _limits(wanted):
        before = resource.getrlimit(kind)
        hard = _lower(before[1], most[1])
        resource.setrlimit(kind, (_lower(hard, most[0]), hard))


def _lower(one: int, other: int) -> int:
    """The lower of two limits."""
    return other if one == UNLIMITED else one if other == UNLIMITED else min(one, other)


def _attempt_limits(wanted: Wanted) -> Iterator[Attempt]:
    for kind, name, _ in _limits(wanted):
        soft, hard = resource.getrlimit(kind)
        if hard != UNLIMITED:
            yield f"more of {name}", partial(resource.setrlimit, kind, (soft, hard + 1))


def _wrong_limits(seen: Seen, wanted: Wanted) -> str:
    found: Limits = {name: seen.limits[name] for _, name, _ in _limits(wanted)}
    for _, name, most in _limits(wanted):
        soft, hard = found[name]
        if _lower(soft, most[0]) != soft or _lower(hard, most[1]) != hard:
            return f"{name} is {soft} and {hard}, and should be {most[0]} and {most[1]} at most"
    return ""


# The OOM killer: proc_pid_oom_score_adj(5). A unit that is to be spared (OOMScoreAdjust=-900) spares no owner. What a
# process with CAP_SYS_RESOURCE has set cannot be lowered again without it; in a container that has none, it can.


def _score(wanted: Wanted) -> int:
    return min(MOST_LIKELY, max(0, wanted.before.seen.oom_score) + LIKELIER)


def _write_score(score: int) -> None:
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    try:
        os.write(descriptor, str(score).encode())
    finally:
        os.close(descriptor)


def _shed_oom_score(wanted: Wanted) -> None:
    if wanted.owners and wanted.before.root:
        _write_score(_score(wanted))


def _attempt_oom_score(wanted: Wanted) -> Iterator[Attempt]:
    if wanted.owners and wanted.before.root and wanted.before.seen.effective >> Capability.SYS_RESOURCE & 1:
        yield "a lower oom_score_adj", lambda: _write_score(wanted.before.seen.oom_score)


def _wrong_oom_score(seen: Seen, wanted: Wanted) -> str:
    if not (wanted.owners and wanted.before.root):
        return ""
    return "" if seen.oom_score >= _score(wanted) else _differs("oom_score_adj", seen.oom_score, _score(wanted))


# Scheduling: sched(7), setpriority(2), ioprio_set(2). Neutral processes keep what the server has.


def _nice(wanted: Wanted) -> int:
    """NiceValue, where it says anything; else no owner is favoured because the server is."""
    return wanted.identity.nice or max(0, wanted.before.seen.nice)


def _shed_scheduling(wanted: Wanted) -> None:
    if not wanted.owners:
        return
    if wanted.before.seen.policy in REAL_TIME:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if wanted.before.seen.io_class == IO_REAL_TIME:
        system_call("ioprio_set", IOPRIO_WHO_PROCESS, 0, 0)
    if _nice(wanted) != wanted.before.seen.nice:
        os.setpriority(os.PRIO_PROCESS, 0, _nice(wanted))


def _attempt_scheduling(wanted: Wanted) -> Iterator[Attempt]:
    if not wanted.owners:
        return
    nice = _nice(wanted)
    real_time = IO_REAL_TIME << IOPRIO_CLASS_SHIFT
    yield "SCHED_FIFO", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    yield "real time of input and output", lambda: system_call("ioprio_set", IOPRIO_WHO_PROCESS, 0, real_time)
    if nice > -20:  # the highest priority that there is
        yield "a higher priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, nice - 1)


def _wrong_scheduling(seen: Seen, wanted: Wanted) -> str:
    if not wanted.owners:
        return ""
    if seen.policy in REAL_TIME or seen.io_class == IO_REAL_TIME:
        return f"it is scheduled in real time (policy {seen.policy}, class of input and output {seen.io_class})"
    return "" if seen.nice >= _nice(wanted) else _differs("the nice value", seen.nice, _nice(wanted))


# The control group: cgroups(7), version 2. What is in a group of its own can be ended as a whole.


def _shed_control_group(wanted: Wanted) -> None:
    if wanted.control_group:
        wanted.control_group.mkdir(mode=0o755)
        _enter(wanted.control_group)


def _enter(folder: Path) -> None:
    with open(folder / "cgroup.procs", "w") as file:
        file.write("0")


def _attempt_control_group(wanted: Wanted) -> Iterator[Attempt]:
    if group := wanted.control_group:
        yield "the server's control group", lambda: _enter(group.parent)


def _wrong_control_group(seen: Seen, wanted: Wanted) -> str:
    if not wanted.control_group:
        return ""
    return _differs("the control group", seen.control_group.rpartition("/")[2], wanted.control_group.name)


# Users, groups, capabilities: credentials(7), capabilities(7). The bounding set goes while CAP_SETPCAP is there. Groups
# and gids go before uids: without CAP_SETUID none of the rest could be set. The kernel empties the capability sets with
# the last uid that was 0; that they are set, too, says so whatever securebits say.


def _shed_bounding_set(wanted: Wanted) -> None:
    if wanted.before.root and wanted.no_new_privs:
        capabilities.bound(())


def _wrong_bounding_set(seen: Seen, wanted: Wanted) -> str:
    """Where programs may gain privileges it stays: sudo without capabilities would be root in name only."""
    return _differs("the bounding set", hex(seen.bounding), "0x0") if wanted.before.root and wanted.no_new_privs else ""


def _shed_groups(wanted: Wanted) -> None:
    identity = wanted.identity
    if wanted.before.root:
        if not identity.uid or not identity.gid or 0 in identity.groups:
            raise BecomeError("nothing is ever served as uid 0 or with gid 0")
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)


def _attempt_groups(_wanted: Wanted) -> Iterator[Attempt]:
    yield "setgid(0)", lambda: os.setgid(0)
    yield "setresgid(-1, -1, 0)", lambda: os.setresgid(-1, -1, 0)
    yield "setgroups", lambda: os.setgroups([0])


def _wrong_groups(seen: Seen, wanted: Wanted) -> str:
    identity = wanted.identity
    found = seen.gids, seen.groups - {identity.gid}
    return _differs("the set of groups", found, ((identity.gid,) * 4, frozenset(identity.groups) - {identity.gid}))


def _shed_uids(wanted: Wanted) -> None:
    if wanted.before.root:
        os.setresuid(wanted.identity.uid, wanted.identity.uid, wanted.identity.uid)


def _attempt_uids(_wanted: Wanted) -> Iterator[Attempt]:
    yield "setuid(0)", lambda: os.setuid(0)
    yield "seteuid(0)", lambda: os.seteuid(0)
    yield "setresuid(-1, 0, -1)", lambda: os.setresuid(-1, 0, -1)


def _wrong_uids(seen: Seen, wanted: Wanted) -> str:
    return _differs("the set of uids", seen.uids, (wanted.identity.uid,) * 4)


def _shed_capabilities(wanted: Wanted) -> None:
    if wanted.before.root:
        capabilities.keep(())


def _attempt_capabilities(_wanted: Wanted) -> Iterator[Attempt]:
    yield "capset", lambda: capabilities.keep([Capability.SETUID])
    yield "securebits", lambda: prctl.prctl(prctl.PR_SET_SECUREBITS, 1)


def _wrong_capabilities(seen: Seen, _wanted: Wanted) -> str:
    left = seen.effective | seen.permitted | seen.inheritable | seen.ambient
    return _differs("the set of capabilities", hex(left), "0x0")


# The session keyring: session-keyring(7). Joined as the owner, whose quota it counts for.


def _shed_keyring(_wanted: Wanted) -> None:
    keyrings.join_new_session_keyring()


def _attempt_keyring(wanted: Wanted) -> Iterator[Attempt]:
    if wanted.before.root and wanted.before.keyring:
        yield "the parent's keyring", lambda: keyrings.read_keyring(wanted.before.keyring)


def _wrong_keyring(_seen: Seen, wanted: Wanted) -> str:
    return (
        "the session keyring is still the parent's" if wanted.before.keyring == keyrings.session_keyring() != 0 else ""
    )


# no_new_privs: no set-user-id program helps, and seccomp filters need no privilege (PR_SET_NO_NEW_PRIVS(2const)).


def _shed_new_privs(wanted: Wanted) -> None:
    if wanted.no_new_privs:
        prctl.set_no_new_privs()


def _wrong_new_privs(seen: Seen, wanted: Wanted) -> str:
    return _differs("no_new_privs", seen.no_new_privs, True) if wanted.no_new_privs else ""


# Dumpable: whether another process of the same uid may look in (PR_SET_DUMPABLE(2const)). A change of credentials and
# execve set it anew.


def _shed_dumpable(wanted: Wanted) -> None:
    if wanted.control is not None:
        prctl.set_dumpable(False)


def _wrong_dumpable(seen: Seen, wanted: Wanted) -> str:
    return _differs("dumpable", seen.dumpable, False) if wanted.control is not None else ""


# Its parent's end is its own (PR_SET_PDEATHSIG(2const)). Last, because a change of credentials clears it; the
# parent may have ended before it took effect.


def _shed_life(wanted: Wanted) -> None:
    if wanted.parent:
        prctl.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != wanted.parent:
            os._exit(0)


LINES: tuple[Line, ...] = (
    Line("session", _shed_session, _attempt_session, _wrong_session, programs=True),
    Line("descriptors", _shed_descriptors, wrong=_wrong_descriptors),
    Line("signals", shed_signals, wrong=_wrong_signals, programs=True),
    Line("environment", _shed_environment, wrong=_wrong_environment),
    Line("working directory", _shed_folder, wrong=_wrong_folder),
    Line("umask", _shed_umask, wrong=_wrong_umask),
    Line("personality", _shed_personality, wrong=_wrong_personality),
    Line("limits", _shed_limits, _attempt_limits, _wrong_limits),
    Line("OOM score", _shed_oom_score, _attempt_oom_score, _wrong_oom_score),
    Line("scheduling", _shed_scheduling, _attempt_scheduling, _wrong_scheduling),
    Line("control group", _shed_control_group, _attempt_control_group, _wrong_control_group),
    Line("bounding set", _shed_bounding_set, wrong=_wrong_bounding_set),
    Line("groups", _shed_groups, _attempt_groups, _wrong_groups),
    Line("uids", _shed_uids, _attempt_uids, _wrong_uids),
    Line("capabilities", _shed_capabilities, _attempt_capabilities, _wrong_capabilities),
    Line("keyring", _shed_keyring, _attempt_keyring, _wrong_keyring),
    Line("new privileges", _shed_new_privs, wrong=_wrong_new_privs),
    Line("dumpable", _shed_dumpable, wrong=_wrong_dumpable),
    Line("life", _shed_life, programs=True),
)


def shed(wanted: Wanted) -> None:
    """Walk the list: give all up, try to get it back, look at what is left. For life.

    Raises BecomeError, OSError: upon either, the caller must end the process. Started without root's rights there
    is less to give up, and all to verify.
    """
    for line in LINES:
        line.shed(wanted)
    _try_to_regain(wanted)
    seen = look()
    for line in LINES:
        if wrong := line.wrong(seen, wanted):
            raise BecomeError(wrong)


def _try_to_regain(wanted: Wanted) -> None:
    for line in LINES:
        for name, attempt in line.attempts(wanted):
            try:
                attempt()
            except (OSError, ValueError):
                continue
            raise BecomeError(f"{name} worked after all privileges were dropped")


def shed_for_program(wanted: Wanted) -> None:
    """What a child sheds before it is a program of an owner's: its launcher has shed the rest already."""
    for line in LINES:
        if line.programs:
            line.shed(wanted)
