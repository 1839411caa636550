"""How many descriptors a process may have open: getrlimit(2), RLIMIT_NOFILE."""

from __future__ import annotations

import contextlib
import resource

FOR_PROGRAMS = 1_024  # what those expect that use select(2)


def raise_limit() -> None:
    """Use all that the administrator lets us have: most sessions and services start with 1,024, and may have more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def lower_limit() -> None:
    """Have what a program expects; it may raise it again."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FOR_PROGRAMS, hard), hard))
