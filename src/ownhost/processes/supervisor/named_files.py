"""Files and folders that the configuration names, opened as root if their names are root's, and never read here.

Each is opened once, even if several virtual hosts name it. What is in folders that others may write
to is left to the process that needs it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from ownhost.processes.descriptors import close_all
from ownhost.processes.supervisor import trusted
from ownhost.processes.supervisor.trusted import NotRoots
from ownhost.request.given_files import names_in


class NamedFiles:
    """All of them, by name. `owners` are the groups that sites are served with."""

    def __init__(self, owners: Collection[int] = ()) -> None:
        self.owners = owners
        self.opened: dict[str, list[int]] = {}
        self.failed: dict[str, OSError] = {}
        self.left: set[str] = set()  # for the processes that need them

    def open(self, name: str, *, is_folder: bool) -> None:
        """Open one, or the files in a folder, unless that was tried before."""
        if name in self.opened or name in self.failed or name in self.left:
            return
        try:
            opened = self._open_folder(name) if is_folder else [trusted.open_file(Path(name), self.owners)]
        except NotRoots:
            self.left.add(name)
        except OSError as error:
            self.failed[name] = error
        else:
            self.opened[name] = opened

    def _open_folder(self, name: str) -> list[int]:
        folder = trusted.open_folder(Path(name), self.owners)
        found: list[int] = []
        try:
            for inside in names_in(folder):
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # a link that leads nowhere, a folder
                    found.append(trusted.open_file(Path(name, inside), self.owners))
        except BaseException:
            close_all(found)
            raise
        finally:
            os.close(folder)
        return _different(found)

    def of(self, names: Iterable[str]) -> dict[str, list[int]]:
        """The descriptors of those among some names that are open."""
        return {name: self.opened[name] for name in names if name in self.opened}

    def close(self) -> None:
        """Close them all."""
        for descriptors in self.opened.values():
            close_all(descriptors)


def _different(opened: Iterable[int]) -> list[int]:
    """Descriptors without duplicates of one file, which are closed.

    A folder of certificates has each file a second time, under the hash that OpenSSL looks for.
    """
    found: dict[tuple[int, int], int] = {}
    for one in opened:
        status = os.fstat(one)
        if found.setdefault((status.st_dev, status.st_ino), one) != one:
            os.close(one)
    return list(found.values())
