"""docs/troubleshooting.md: each command says what the page shows, on a machine with just those faults."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.machine import ACCOUNTS, Machine

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
FILE = "etc/ownhost/ownhost.conf"
WINDOWS = "#!/bin/sh\r\necho Content-Type: text/plain\r\n"


def shown() -> list[tuple[str, str]]:
    """Each command of the page, and what it shows of its output. A last line "..." stands for what is left out."""
    blocks = re.findall(r"^```console\n# (.*?)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [(command, output) for command, output in blocks]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    (text,) = re.findall(r"^```apache\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    with tempfile.TemporaryDirectory(prefix="ownhost-example-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        made = Machine(Path(folder))
        prepared = made.prepare(text).read_text()
        Path(folder, "home/bob/public_htm").rmdir()
        for name, files in {
            "alice": {},
            "bob": {},
            "carol": {"hello.cgi": WINDOWS, "shop/x": "x\n", "files/upload.php": "<?php"},
        }.items():
            root = Path(folder, "home", name, "public_html")
            for relative, content in {"index.html": f"{name}\n", **files}.items():
                (root / relative).parent.mkdir(parents=True, exist_ok=True)
                (root / relative).write_bytes(content.encode())
            for path in (root.parent, root, *root.rglob("*")):
                os.chown(path, ACCOUNTS[name], ACCOUNTS[name])
                path.chmod(0o700)
        path = Path(folder, FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prepared)
        yield made


def said(machine: Machine, command: str) -> str:
    """What a command says on that machine, in the page's names."""
    words = command.split()
    with machine.running(*words[1:], "-f", f"{machine.folder}/{FILE}") as process:
        output, messages = process.communicate(timeout=60)
    return (messages + output).replace(str(machine.folder), "")


@pytest.mark.parametrize(("command", "output"), shown(), ids=[command for command, _ in shown()])
def test_the_commands_say_what_the_page_shows(machine: Machine, command: str, output: str) -> None:
    found = said(machine, command)
    lines = output.removesuffix("...\n").splitlines()
    if command.startswith("ownhost check"):
        assert set(lines) <= set(found.splitlines()), found
    else:
        assert found.splitlines()[: len(lines)] == lines


def test_the_page_shows_something() -> None:
    assert len(shown()) > 8
    assert all(output for _, output in shown())
