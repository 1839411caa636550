"""CONTRIBUTING.md: its commands, done as they stand. The map of the tree in docs/architecture.md, complete."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import free_port
from waiting import eventually

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
MAP = (ROOT / "docs" / "architecture.md").read_text().partition("## The tree")[2].partition("\n## ")[0]
FOLDER = "/tmp/site"
PORT = "8086"
OWNER = 51234
SERVED = ("Run a server by hand", "Look into a worker")
# Commands of other parts that are not done here, and why.
NOT_HERE = {
    "./scripts/check": "a minute, and done before each commit",
    "./scripts/coverage": "it runs all fast tests",
    "./scripts/test fast": "this runs within the tests",
    "sudo ./scripts/test": "this runs within the tests",
    "sudo ./scripts/test tests/server/test_files.py": "this runs within the tests",
    "sudo ./scripts/record env": "tests/scripts/test_record.py does it in a copy",
    "sudo ./scripts/test tests/oracle -k env": "this runs within the tests",
    "./scripts/new-module mod_hello": "tests/scripts/test_new_module.py does it in a copy",
    "./scripts/test fast tests/modules/test_mod_hello.py": "tests/scripts/test_new_module.py does it in a copy",
    ".venv/bin/ownhost directives --markdown >docs/directives.md": "tests/docs/test_directives.py compares",
    "python3 -m venv /tmp/tools": "py-spy comes from the network",
    "/tmp/tools/bin/pip install py-spy": "py-spy comes from the network",
    'sudo /tmp/tools/bin/py-spy dump --pid "$worker"': "py-spy comes from the network",
    'sudo /tmp/tools/bin/py-spy record --pid "$worker" --duration 20 --output /tmp/worker.svg': "as above",
}


def parts() -> dict[str, str]:
    """The commands below each heading."""
    found = re.split(r"^## (.*)$", TEXT, flags=re.MULTILINE)[1:]
    return {
        title: "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        for title, text in zip(found[::2], found[1::2], strict=True)
    }


def single() -> list[str]:
    """The commands that stand alone, without remarks."""
    lines = [line for title, text in parts().items() if title not in SERVED for line in text.splitlines()]
    return [re.sub(r"\s+# .*", "", line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("command", [line for line in single() if line not in NOT_HERE])
def test_commands_run(command: str) -> None:
    done = subprocess.run(["bash", "-ec", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_what_is_not_done_here_is_there() -> None:
    assert set(NOT_HERE) <= set(single())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, as /tmp is."""
    with tempfile.TemporaryDirectory(prefix="ownhost-contributing-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.slow
def test_a_server_by_hand_and_a_look_into_its_worker(folder: Path) -> None:
    script = "\n".join(parts()[title] for title in SERVED)
    assert f"worker #{OWNER}" in script
    script = script.replace("sudo ", "").replace(FOLDER, str(folder)).replace(PORT, str(free_port()))
    # The server is the only one in the background; it ends with the script, which a trap sees to.
    script = f"trap 'kill $!; wait $!' EXIT\n{script}"
    with subprocess.Popen(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as done:
        try:
            said, _ = done.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(done.pid, signal.SIGTERM)
            raise
    assert done.returncode == 0, said
    for expected in ("Syntax OK", "hello\n", "alice.test", f" {OWNER} ", "socket:[", "epoll_pwait("):
        assert expected in said, said
    eventually(lambda: not _workers())


def _workers() -> list[str]:
    found = subprocess.run(["pgrep", "--full", f"^ownhost: worker #{OWNER}"], capture_output=True, text=True)
    return found.stdout.split()


def test_the_map_has_every_folder() -> None:
    told = set(re.findall(r"^\| `([\w/]+)` \|", MAP, re.MULTILINE))
    ours = {path.parent.name for path in (ROOT / "src/ownhost").glob("*/__init__.py")}
    packages = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "src/ownhost").rglob("*/__init__.py")}
    assert packages <= told
    assert {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")} - ours <= {
        name.removeprefix("tests/") for name in told
    }
    assert not [name for name in told - {"tests/NAME", "src/ownhost/NAME"} if not (ROOT / name).exists()]


def test_lines_are_short() -> None:
    assert not [line for line in TEXT.splitlines() if len(line) > 100]
