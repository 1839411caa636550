"""The processes, as a table: what each role runs. Who may say what to whom stands in `messages`.

Only the forkserver imports this: gate, worker and logger never import each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ownhost import modules
from ownhost.processes import logger, program
from ownhost.processes.front import front
from ownhost.processes.gate import gate
from ownhost.processes.launcher import launcher
from ownhost.processes.messages import Channel
from ownhost.processes.worker import worker

modules.load()  # so that every process forked later has all of them, already imported


@dataclass(frozen=True, slots=True)
class Process:
    """A role that the forkserver can fork.

    `main` runs it on its channel, as its identity, and returns at its end. `rehearse` makes the forkserver warm for it.
    `no_new_privs`: no program that it executes can gain privileges; owners' own programs may (sudo, sendmail).
    """

    role: str
    main: Callable[[Channel], None]
    rehearse: Callable[[], None]
    no_new_privs: bool = True


PROCESSES: dict[str, Process] = {
    process.role: process
    for process in (
        Process("gate", gate.main, gate.rehearse),
        Process("front", front.main, front.rehearse),
        Process("worker", worker.main, worker.rehearse),
        Process("logger", logger.main, logger.rehearse),
        Process("launcher", launcher.main, launcher.rehearse, no_new_privs=False),
        Process("program", program.main, program.rehearse, no_new_privs=False),
    )
}
