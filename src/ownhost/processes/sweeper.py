"""A sweeper.

NAME        empties the folder that an owner's programs had when the server was killed
TRUSTS      the supervisor
RUNS AS     that owner; no capabilities; an allow-list of system calls; it can remove what is there, and nothing else
TALKS TO    no process
ENDS WHEN   the folder is empty, or it takes longer than the supervisor waits
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

from ownhost.identity import landlock, seccomp
from ownhost.processes.messages import Channel
from ownhost.processes.slices import SweeperSlice, receive_slice


def main(channel: Channel) -> NoReturn:
    """Remove what is in the folder: see the head of this file."""
    slice_, _ = receive_slice(channel)
    assert isinstance(slice_, SweeperSlice)
    landlock.restrict(landlock.removing(slice_.folder))
    seccomp.install(seccomp.SWEEPER)
    sweep(slice_.folder)
    raise SystemExit(0)


def sweep(folder: str) -> None:
    """Remove what is in a folder; links are removed, not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink()


def rehearse() -> None:
    """Have the filter ready."""
    seccomp.compiled(seccomp.SWEEPER)
