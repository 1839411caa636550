"""What a child gives up of what it may use: limits, its OOM score, scheduling."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from functools import partial

from ownhost.identity.capabilities import Capability
from ownhost.identity.shedding.line import Attempt, Line, Wanted, differs
from ownhost.identity.shedding.seen import IOPRIO_CLASS_SHIFT, IOPRIO_WHO_PROCESS, UNLIMITED, Limits, Seen
from ownhost.identity.system_calls import system_call

LIKELIER = 100  # points of oom_score_adj that an owner's process has above the server's, or above 0
MOST_LIKELY = 1_000
REAL_TIME = (os.SCHED_FIFO, os.SCHED_RR, 6)  # 6: SCHED_DEADLINE
IO_REAL_TIME = 1  # ioprio_set(2): IOPRIO_CLASS_RT; 0 is what follows from the nice value

LOCKED_MEMORY = 8 << 20  # bytes: Linux's own default
QUEUES = 819_200  # bytes: Linux's own default


# Limits: getrlimit(2). An owner cannot fork without end, lock memory or raise his priority; no
# process dumps core.


def _limits(wanted: Wanted) -> Iterator[tuple[int, str, tuple[int, int]]]:
    """The maximum of each: resource, its name in /proc/PID/limits, soft and hard."""
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


LIMITS = Line("limits", _shed_limits, _attempt_limits, _wrong_limits)


# The OOM killer: proc_pid_oom_score_adj(5). A server that is protected (OOMScoreAdjust=-900) does
# not protect its owners' processes. A score that a process with CAP_SYS_RESOURCE has set cannot be
# lowered again without it; in a container without it, it can.


def _score(wanted: Wanted) -> int:
    return min(MOST_LIKELY, max(0, wanted.before.seen.oom_score) + LIKELIER)


def _write_score(score: int) -> None:
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    try:
        os.write(descriptor, str(score).encode())
    finally:
        os.close(descriptor)


def _shed_oom_score(wanted: Wanted) -> None:
    _write_score(_score(wanted))


def _attempt_oom_score(wanted: Wanted) -> Iterator[Attempt]:
    if wanted.before.seen.effective >> Capability.SYS_RESOURCE & 1:
        yield "a lower oom_score_adj", lambda: _write_score(wanted.before.seen.oom_score)


def _wrong_oom_score(seen: Seen, wanted: Wanted) -> str:
    return "" if seen.oom_score >= _score(wanted) else differs("oom_score_adj", seen.oom_score, _score(wanted))


OOM_SCORE = Line(
    "OOM score",
    _shed_oom_score,
    _attempt_oom_score,
    _wrong_oom_score,
    when=lambda wanted: wanted.owners and wanted.before.root,
)


# Scheduling: sched(7), setpriority(2), ioprio_set(2). Neutral processes keep the server's.


def _nice(wanted: Wanted) -> int:
    """NiceValue, if it is set; otherwise no owner is favoured because the server is."""
    return wanted.identity.nice or max(0, wanted.before.seen.nice)


def _shed_scheduling(wanted: Wanted) -> None:
    if wanted.before.seen.policy in REAL_TIME:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if wanted.before.seen.io_class == IO_REAL_TIME:
        system_call("ioprio_set", IOPRIO_WHO_PROCESS, 0, 0)
    if _nice(wanted) != wanted.before.seen.nice:
        os.setpriority(os.PRIO_PROCESS, 0, _nice(wanted))


def _attempt_scheduling(wanted: Wanted) -> Iterator[Attempt]:
    nice = _nice(wanted)
    real_time = IO_REAL_TIME << IOPRIO_CLASS_SHIFT
    yield "SCHED_FIFO", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    yield "real time of input and output", lambda: system_call("ioprio_set", IOPRIO_WHO_PROCESS, 0, real_time)
    if nice > -20:  # the highest possible priority
        yield "a higher priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, nice - 1)


def _wrong_scheduling(seen: Seen, wanted: Wanted) -> str:
    if seen.policy in REAL_TIME or seen.io_class == IO_REAL_TIME:
        return f"it is scheduled in real time (policy {seen.policy}, class of input and output {seen.io_class})"
    return "" if seen.nice >= _nice(wanted) else differs("the nice value", seen.nice, _nice(wanted))


SCHEDULING = Line(
    "scheduling", _shed_scheduling, _attempt_scheduling, _wrong_scheduling, when=lambda wanted: wanted.owners
)
