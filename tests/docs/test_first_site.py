"""docs/first-site.md, done step by step on a machine whose changes are thrown away."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from apart import apart

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "first-site.md"
# What a test cannot do: the packages are here already, and there is no systemd; Ownhost runs from this checkout.
NOT_HERE = ("sudo ./scripts/install", "sudo apt-get ", "sudo systemctl disable ")
RESTART = "sudo systemctl restart ownhost"
# The whole machine, under a layer that takes what is written.
THROWN_AWAY = """
ip link set lo up
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
for folder in tmp run; do mount -t tmpfs -o mode=755 tmpfs "$1/root/$folder"; done
chmod 1777 "$1/root/tmp"
exec chroot "$1/root" bash -eu -o pipefail -s
"""
START = """
ownhost run >/run/ownhost.out 2>&1 &
timeout 30 grep -q 'listening on' <(tail -n +1 -F /run/ownhost.out 2>/dev/null) || { cat /run/ownhost.out; exit 1; }
"""


def blocks() -> list[tuple[str, str]]:
    """Languages and texts of what stands in fences, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def script() -> tuple[str, list[tuple[int, str]]]:
    """The page as a script, and what it shows of the output of which block. Marks in the output tell blocks apart."""
    steps = [
        "mkdir -p /etc/ownhost /var/log/ownhost",
        f"printf '#!/bin/sh\\nexec {shlex.quote(sys.executable)} -m ownhost \"$@\"\\n' >/usr/local/bin/ownhost",
        "chmod 755 /usr/local/bin/ownhost; export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    shown = []
    for number, (language, text) in enumerate(blocks()):
        if language == "apache":
            steps.append(f"cat >/etc/ownhost/ownhost.conf <<'END'\n{text}END")
        elif language == "sh":
            lines = [line for line in text.splitlines() if not line.startswith(NOT_HERE)]
            steps += [f"echo =={number}", *(START if line == RESTART else line for line in lines), "echo =="]
        else:
            shown.append((number - 1, text))
    steps.append("kill $(jobs -p); wait")
    return "\n".join(steps), shown


def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    text, shown = script()
    command = [*apart("--net", "--pid", "--fork", "--kill-child"), "sh", "-ec", THROWN_AWAY, "sh", str(tmp_path)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(re.findall(r"^==(\d+)\n(.*?)^==$", done.stdout, re.MULTILINE | re.DOTALL))
    for number, output in shown:
        assert said[str(number)] == output
    assert "Syntax OK" in done.stdout
    assert re.search(r"^alice +ownhost: worker alice", done.stdout, re.MULTILINE)
    assert re.search(r"^bob +ownhost: worker bob", done.stdout, re.MULTILINE)
