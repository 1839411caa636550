"""Control groups: where ours is, whether it was delegated, and that all in it ends as a whole."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ALICE, PYTHON, World
from ownhost.processes.control_groups import MARKS, ControlGroups, delegated, own_group
from waiting import eventually

UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "32 31 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "33 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
INSIDE = "30 23 0:26 /machine/one /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"  # a container sees its part alone


@pytest.mark.parametrize(
    ("groups", "mounts", "found"),
    [
        ("0::/system.slice/ownhost.service\n", UNIFIED, "/sys/fs/cgroup/system.slice/ownhost.service"),
        ("9:pids:/x\n0::/a\n", HYBRID, "/sys/fs/cgroup/unified/a"),
        ("0::/\n", UNIFIED, "/sys/fs/cgroup"),
        ("0::/machine/one/web\n", INSIDE, "/sys/fs/cgroup/web"),
        ("0::/machine/one\n", INSIDE, "/sys/fs/cgroup"),
        ("0::/machine/oneself\n", INSIDE, None),
        ("9:pids:/x\n", UNIFIED, None),
        ("0::/a\n", "", None),
    ],
)
def test_where_the_own_group_is(groups: str, mounts: str, found: str | None) -> None:
    assert own_group(groups, mounts) == (Path(found) if found else None)


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of version 2 that was delegated to whoever is put into it."""
    mounts = Path("/proc/self/mountinfo").read_text()
    root = next((Path(line.split()[4]) for line in mounts.splitlines() if " - cgroup2 " in line), None)
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("there are no control groups of version 2 here to divide")
    made = root / f"ownhost-test-{os.getpid()}"
    made.mkdir()
    if not (made / "cgroup.kill").exists():
        made.rmdir()
        pytest.skip("this kernel cannot end a control group")
    os.setxattr(made, MARKS[0], b"1")
    try:
        yield made
    finally:
        ControlGroups(made).end()
        (made / "cgroup.kill").write_text("1")
        made.rmdir()


def test_nobody_elses_group_is_touched() -> None:
    assert delegated() is None, "the group of whoever runs the tests was not delegated to them"
    groups = ControlGroups(None)
    assert groups.name(1) is None
    groups.end_one(1)
    assert groups.end()


def crowd(group: Path, number: int) -> int:
    """A child in a group, with children; its pid."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        (group / "cgroup.procs").write_text("0")
        for _ in range(number):
            os.fork()
        os.close(reading)
        os.write(writing, b".")
        while True:
            os.read(os.pipe()[0], 1)
    os.close(writing)
    for _ in range(2**number):
        assert os.read(reading, 1) == b"."
    os.close(reading)
    return pid


def test_a_group_ends_as_a_whole_and_the_others_go_on(group: Path) -> None:
    groups = ControlGroups(group)
    groups.begin()
    pids = []
    for number in (1, 2):
        name = groups.name(number)
        assert name is not None
        name.mkdir()
        pids.append(crowd(name, 4))
    groups.end_one(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == -9
    assert os.waitpid(pids[1], os.WNOHANG) == (0, 0)
    assert groups.end(10)
    assert os.waitstatus_to_exitcode(os.waitpid(pids[1], 0)[1]) == -9
    assert not (group / "ownhost").exists()


def test_what_a_killed_server_left_ends_with_the_next_ones_start(group: Path) -> None:
    before = ControlGroups(group)
    before.begin()
    name = before.name(7)
    assert name is not None
    name.mkdir()
    pid = crowd(name, 3)
    ControlGroups(group).begin()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


def test_a_server_puts_each_owners_programs_into_a_group_of_their_own(group: Path, world: World) -> None:
    """Nobody leaves it, all in it ends with its launcher, and nothing of it outlives the server."""
    script = f"#!{PYTHON}\nimport os\nprint('Content-Type: text/plain\\n')\nprint(open('/proc/self/cgroup').read())\n"
    script += (
        "try: open('/proc/self/cgroup'), open('@GROUP@/cgroup.procs', 'w')\nexcept PermissionError: print('refused')\n"
    )
    script += "if os.fork() == 0:\n for n in 0, 1, 2: os.close(n)\n os.setsid()\n import time; time.sleep(60)\n"
    files: dict[str, str | bytes] = {"index.html": "alice\n", "run.cgi": script.replace("@GROUP@", str(group))}
    extra = "AddHandler cgi-script .cgi\n<Location />\nOptions +ExecCGI\n</Location>\n"
    server = world.server(world.virtual_host("alice", ALICE, extra, files), start=False)
    starter = world.folder / "starter"
    starter.write_text(f'#!/bin/sh\necho 0 >{group}/cgroup.procs\nexec {sys.executable} "$@"\n')
    starter.chmod(0o755)
    server.start(python=str(starter))
    said = server.get("alice.test", "/run.cgi").content.decode()
    (launcher,) = server.processes("launcher")
    assert f"{group.name}/ownhost/" in said
    assert "refused" in said
    left = eventually(lambda: [one for one in server.processes() if one.uid == ALICE and not one.role])
    os.kill(launcher.pid, signal.SIGKILL)
    eventually(lambda: not any(process.alive for process in left))
    assert "no control group" not in server.log()
    assert server.get("alice.test", "/run.cgi").status == 200
    everybody = server.processes()
    assert server.stop() == 0
    assert not any(process.alive for process in everybody)
    assert not (group / "ownhost").exists()
