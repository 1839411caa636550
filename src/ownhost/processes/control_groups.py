"""Our own control groups: all processes in one can be ended at once, however fast they fork.

If the server's control group (version 2) was delegated to it, each launcher and each program gets a
group below it, before it becomes its owner. The kernel ends all of that group at once
(`cgroup.kill`, from Linux 5.14). Only root may write there, so no process leaves. Elsewhere
`descendants` ends them in rounds.

A group is delegated if its manager has marked it: systemd does for a unit with Delegate=yes. No
other group is touched.

Sources: cgroups(7); Documentation/admin-guide/cgroup-v2.rst of Linux; systemd's "Control Group APIs
and Delegation".
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

MARKS = ("user.delegate", "trusted.delegate")  # extended attributes that systemd sets on delegated groups
FOLDER = "ownhost"  # below the delegated group
MOMENT = 0.005  # seconds for killed processes to end


def delegated() -> Path | None:
    """The folder of this process's control group, if it was delegated; None otherwise."""
    try:
        folder = own_group(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    except OSError:
        return None
    if folder is None or not _is_marked(folder) or not os.access(folder, os.W_OK):
        return None
    return folder if (folder / "cgroup.kill").exists() else None


def own_group(groups: str, mounts: str) -> Path | None:
    """From /proc/self/cgroup and /proc/self/mountinfo: the place of this process's group of version 2. See proc(5)."""
    group = next((line[3:] for line in groups.splitlines() if line.startswith("0::/")), None)
    if group is None:
        return None
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, place = left.split()[3:5]
        if right.split()[0] == "cgroup2" and (root == "/" or group == root or group.startswith(f"{root}/")):
            return Path(place + (group if root == "/" else group[len(root) :])) if group != "/" else Path(place)
    return None


def _is_marked(folder: Path) -> bool:
    for mark in MARKS:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, mark) == b"1":
                return True
    return False


class ControlGroups:
    """The groups of our children, by number. Without delegation, none is ever made."""

    def __init__(self, delegated: Path | None) -> None:
        self.folder = delegated / FOLDER if delegated is not None else None
        self.ended: set[Path] = set()  # that could not be removed yet

    def begin(self) -> None:
        """Prepare for children. Processes that a killed server left here are ended first."""
        if self.folder is not None:
            self.end()
            self.folder.mkdir(exist_ok=True)

    def name(self, number: int) -> Path | None:
        """The folder of a child's group, which the child makes; None without delegation."""
        return self.folder / str(number) if self.folder is not None else None

    def end_one(self, number: int) -> None:
        """End all processes in one group, and remove it once it is empty."""
        if self.folder is not None:
            group = self.folder / str(number)
            _kill(group)
            self.ended.add(group)
        for group in list(self.ended):
            if _remove(group):
                self.ended.discard(group)

    def end(self, seconds: float = 1.0) -> bool:
        """End all processes in all groups, and remove them.

        Returns whether that is done: it takes at most `seconds`.
        """
        if self.folder is None:
            return True
        until = time.monotonic() + seconds
        while self.folder.exists():
            _kill(self.folder)
            with contextlib.suppress(OSError):
                for group in [*self.folder.iterdir()]:
                    if group.is_dir():
                        _remove(group)
            if _remove(self.folder):
                break
            if time.monotonic() > until:
                return False
            time.sleep(MOMENT)
        return True


def _kill(group: Path) -> None:
    """Have the kernel end all processes in a group and below it. Nothing happens if the group does not exist."""
    with contextlib.suppress(OSError):
        (group / "cgroup.kill").write_text("1")


def _remove(group: Path) -> bool:
    """Whether a group is gone. A group with processes stays."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
