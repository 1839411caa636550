"""Where a worker writes: all else is behind its fence (identity/landlock.py)."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ownhost.modules.mod_cgi import SCRIPT_LOG
from ownhost.processes.slices import WorkerSlice


def written_folders(slice_: WorkerSlice) -> Iterator[str]:
    """The folders that a worker makes files in: for spools, and for what its virtual hosts have it log to."""
    yield slice_.spooling.folder
    for target in slice_.logs.own:
        yield folder_of(target.value)
    for server in slice_.servers:
        if log := server.settings[SCRIPT_LOG]:
            yield folder_of(log)
            yield folder_of(os.path.realpath(log))  # it may be a link


def folder_of(name: str) -> str:
    """The folder that a file is in; where that is to be made yet, the first one above it that is there.

    "" where that is the root: no owner writes there.
    """
    folder = os.path.dirname(name)  # noqa: PTH120 - as a string
    while not os.path.isdir(folder) and folder != "/":  # noqa: PTH112 - what may not be seen is not there, either
        folder = os.path.dirname(folder)  # noqa: PTH120
    return "" if folder == "/" else folder
