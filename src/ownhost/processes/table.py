"""The processes, as a table: what each role runs. `messages` has who may say what to whom.

Only the forkserver imports this: gate, worker and logger never import each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ownhost import modules
from ownhost.processes import examiner, program, resolver, sweeper
from ownhost.processes.front import front
from ownhost.processes.gate import gate
from ownhost.processes.launcher import launcher
from ownhost.processes.logger import logger
from ownhost.processes.messages import UNCONFINED, Channel
from ownhost.processes.worker import rehearsal, worker

modules.load()  # imported here, so that every process forked later has all of them


@dataclass(frozen=True, slots=True)
class Process:
    """A role that the forkserver can fork.

    `main` runs it on its channel, as its identity, and returns at its end. `rehearse` prepares it
    in the forkserver. `owners`: it runs for an owner, or for sites without one; otherwise it serves
    all owners. Every user of the machine can read titles. So they contain an owner's account, and
    nothing else about owners.
    """

    role: str
    main: Callable[[Channel], None]
    rehearse: Callable[[], None]
    owners: bool = True

    @property
    def no_new_privs(self) -> bool:
        """Whether no program that it executes can gain privileges: owners' own programs may (sudo, sendmail)."""
        return self.role not in UNCONFINED


PROCESSES: dict[str, Process] = {
    process.role: process
    for process in (
        Process("gate", gate.main, gate.rehearse, owners=False),
        Process("front", front.main, front.rehearse, owners=False),
        Process("worker", worker.main, rehearsal.rehearse),
        Process("logger", logger.main, logger.rehearse, owners=False),
        Process("resolver", resolver.main, resolver.rehearse, owners=False),
        Process("launcher", launcher.main, launcher.rehearse),
        Process("examiner", examiner.main, examiner.rehearse),
        Process("sweeper", sweeper.main, sweeper.rehearse),
        Process("program", program.main, program.rehearse),
    )
}
