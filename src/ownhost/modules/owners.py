"""Ownhost's own directives about owners' processes: how many there may be, and their umask."""

from __future__ import annotations

from ownhost.config.arguments import integer, number, octal, single
from ownhost.config.directive import SERVER_ONLY, Call, Directive, Setting, declare
from ownhost.config.model import Section, VirtualHost
from ownhost.identity.shedding.line import UMASK as DEFAULT_UMASK
from ownhost.modules.core_programs import NO_LIMIT, RLIMIT_NPROC

MAX_WORKERS = Setting("MaxWorkers", 0)  # 0: what the machine has room for
MAX_OWNER_PROCESSES = Setting("MaxOwnerProcesses", 1_024)  # NO_LIMIT: as many as the server may have
UMASK = Setting("Umask", DEFAULT_UMASK)


def parse_processes(call: Call) -> int:
    """A number; "max" is no limit."""
    word = single(call)
    return NO_LIMIT if word.lower() == "max" else number(word, 16)


def processes_of(most: int, servers: list[VirtualHost]) -> tuple[int, int]:
    """RLIMIT_NPROC of the owner's processes, soft and hard. RLimitNPROC of a program may exceed the default."""
    said = [most]
    for server in servers:
        said += _said(server)
    return most, NO_LIMIT if NO_LIMIT in said else max(said)


def _said(scope: VirtualHost | Section) -> list[int]:
    limit = scope.settings[RLIMIT_NPROC]
    found = [limit[1]] if limit else []
    for section in scope.sections:
        found += _said(section)
    return found


for _directive in (
    Directive(
        "MaxWorkers",
        "ownhost",
        "number",
        SERVER_ONLY,
        (
            "How many workers there may be, over all identities. At that number, those without a "
            "connection leave first; a client whose owner gets none within ten seconds is answered "
            "503. By default it is what memory, processes and open files of the machine allow. "
            "Ownhost's own directive."
        ),
        integer(1),
        setting=MAX_WORKERS,
        default="what the machine has room for",
    ),
    Directive(
        "MaxOwnerProcesses",
        "ownhost",
        "number|max",
        SERVER_ONLY,
        (
            "How many processes and threads a user may have when a process of the server starts "
            "another as that user (RLIMIT_NPROC). RLimitNPROC may set more or less for a program. "
            "Ownhost's own directive."
        ),
        parse_processes,
        setting=MAX_OWNER_PROCESSES,
        default="1024",
    ),
    Directive(
        "Umask",
        "ownhost",
        "octal",
        SERVER_ONLY,
        (
            "The file mode creation mask of owners' processes. The mask that the server was started "
            "with does not count. Ownhost's own."
        ),
        octal(0o777),
        setting=UMASK,
        default="022",
    ),
):
    declare(_directive)
