"""The table of processes, and what messages know of roles."""

from __future__ import annotations

from ownhost.processes.messages import FROM_SUPERVISOR, TO_SUPERVISOR
from ownhost.processes.table import PROCESSES


def test_every_role_has_its_words() -> None:
    assert {*PROCESSES, "forkserver"} == set(FROM_SUPERVISOR) == set(TO_SUPERVISOR)


def test_only_owners_own_programs_may_gain_privileges() -> None:
    assert {role for role, process in PROCESSES.items() if not process.no_new_privs} == {"launcher", "program"}


def test_what_everybody_depends_on() -> None:
    neutral = {role for role, process in PROCESSES.items() if not process.owners}
    assert neutral == {"gate", "front", "logger", "resolver"}
