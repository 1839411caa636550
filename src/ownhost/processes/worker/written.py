"""Where a worker writes: Landlock forbids all else (identity/landlock.py)."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ownhost.modules.mod_cgi import SCRIPT_LOG
from ownhost.processes.slices import WorkerSlice


def written_folders(slice_: WorkerSlice) -> Iterator[str]:
    """The folders in which a worker makes files: for spools, and for logs of its virtual hosts."""
    yield slice_.spooling.folder
    for target in slice_.logs.own:
        yield folder_of(target.value)
    for server in slice_.servers:
        if log := server.settings[SCRIPT_LOG]:
            yield folder_of(log)
            yield folder_of(os.path.realpath(log))  # it may be a link


def folder_of(name: str) -> str:
    """The folder of a file; if that must still be made, the nearest existing one above it.

    "" if that is the root: no owner writes there.
    """
    folder = os.path.dirname(name)  # noqa: PTH120 - as a string
    while not os.path.isdir(folder) and folder != "/":  # noqa: PTH112 - what may not be seen is not there, either
        folder = os.path.dirname(folder)  # noqa: PTH120
    return "" if folder == "/" else folder
