"""What `sudo ./scripts/...` leaves in somebody's checkout: nothing that is not that person's."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ALICE, free_port

ROOT = Path(__file__).parents[2]
NEEDED = (
    "src",
    "demo",
    "bench",
    "scripts",
    *(f"tests/{name}.py" for name in ("conftest", "clock", "encrypted", "harness", "certificates", "waiting")),
)
ASKED = """\
from hypothesis import given, strategies
@given(strategies.text())
def test_text(text):
    assert text == text
"""
# In place of what needs the network or long: it leaves files where the real one does.
TOOL = "#!/bin/sh\nmkdir -p .cache && touch .cache/$(basename $0)\n"
PIP = "import os; os.mkdir('src/ownhost.egg-info')\n"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that are not the owner's"),
]


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A copy of this checkout that is Alice's, below a folder that others may enter, with what is in .venv."""
    folder = Path(tempfile.mkdtemp(prefix="ownhost-test-"))
    folder.chmod(0o711)
    project = folder / "project"
    for name in (*NEEDED, "pyproject.toml", "README.md"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, project / name)
    (project / "tests/test_asked.py").write_text(ASKED)
    shutil.copytree(ROOT / ".venv", project / ".venv", symlinks=True)
    for file in (*(project / ".venv/bin").iterdir(), *project.glob(".venv/lib/*/site-packages/*ownhost*.pth")):
        if not file.is_symlink() and str(ROOT).encode() in file.read_bytes():
            file.write_bytes(file.read_bytes().replace(str(ROOT).encode(), str(project).encode()))
    for tool in ("mypy", "ruff", "lint-imports"):
        (project / ".venv/bin" / tool).write_text(TOOL)
    (pip,) = project.glob(".venv/lib/*/site-packages/pip/__main__.py")
    pip.write_text(PIP)
    subprocess.run(["chown", "-R", f"{ALICE}:{ALICE}", project], check=True)
    yield project
    shutil.rmtree(folder)


def run(checkout: Path, command: str, *arguments: str) -> str:
    # What this run of the tests was told about files must not tell the scripts.
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    result = subprocess.run([checkout / "scripts" / command, *arguments], env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def not_alices(checkout: Path) -> list[Path]:
    return [path for path in (checkout, *checkout.rglob("*")) if path.lstat().st_uid != ALICE]


def test_what_root_runs_leaves_nothing_of_roots(checkout: Path) -> None:
    assert "All is right" in run(checkout, "demo", "--check", "--port", str(free_port()))
    assert (checkout / "src/ownhost.egg-info").is_dir()
    assert not not_alices(checkout)
    shutil.rmtree(checkout / "src/ownhost.egg-info")
    assert "1 passed" in run(checkout, "test", "tests/test_asked.py")
    assert not not_alices(checkout)
    assert "1 passed" in run(checkout, "test", "fast", "tests/test_asked.py")
    assert not not_alices(checkout)
    run(checkout, "check")
    assert {path.name for path in (checkout / ".cache").iterdir()} == {"mypy", "ruff", "lint-imports"}
    assert not not_alices(checkout)
    run(checkout, "bench", "--help")
    assert not not_alices(checkout)
