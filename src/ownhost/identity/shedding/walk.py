"""What a child gives up: one list, of all that fork and execve(2) leave a process from its starter.

Each line says how a child gives something up, how it tries to get it back, and how the result is
verified. A child of the forkserver walks the list in order (`become`). A launcher also walks the
lines that apply to a program; the rest a program has from its launcher, and cannot change.
`tests/never` checks every role's real processes with the same list.

Not on it is what the administrator places the whole server in, and what only takes rights away:
namespaces, root folder, processor affinity and memory policy, seccomp filters, security modules,
securebits, other resource limits. Timers and pending signals are not inherited.

Sources: fork(2), execve(2), credentials(7), and the manual page that a line names.
"""

from __future__ import annotations

from ownhost.identity.shedding import allowances, credentials, surroundings
from ownhost.identity.shedding.line import BecomeError, Line, Wanted
from ownhost.identity.shedding.seen import look

LINES: tuple[Line, ...] = (
    surroundings.SESSION,
    surroundings.DESCRIPTORS,
    surroundings.SIGNALS,
    surroundings.ENVIRON,
    surroundings.FOLDER,
    surroundings.MASK,
    surroundings.PERSONALITY,
    allowances.LIMITS,
    allowances.OOM_SCORE,
    allowances.SCHEDULING,
    surroundings.CONTROL_GROUP,
    credentials.BOUNDING_SET,
    credentials.GROUPS,
    credentials.UIDS,
    credentials.CAPABILITIES,
    credentials.KEYRING,
    credentials.NEW_PRIVILEGES,
    credentials.DUMPABLE,
    surroundings.LIFE,
)


def shed(wanted: Wanted) -> None:
    """Walk the list: give all up, try to get it back, verify what is left. For life.

    Raises BecomeError, OSError: then the caller must end the process. Without root's rights there
    is less to give up, and all to verify.
    """
    lines = [line for line in LINES if line.when(wanted)]
    for line in lines:
        line.shed(wanted)
    _try_to_regain(lines, wanted)
    seen = look()
    for line in lines:
        if wrong := line.wrong(seen, wanted):
            raise BecomeError(wrong)


def _try_to_regain(lines: list[Line], wanted: Wanted) -> None:
    for line in lines:
        for name, attempt in line.attempts(wanted):
            try:
                attempt()
            except (OSError, ValueError):
                continue
            raise BecomeError(f"{name} worked after all privileges were dropped")


def shed_for_program(wanted: Wanted) -> None:
    """What a child gives up before it is a program of an owner's: its launcher has given up the rest already."""
    for line in LINES:
        if line.programs and line.when(wanted):
            line.shed(wanted)
