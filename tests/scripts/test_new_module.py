"""scripts/new-module, in a copy of the tree: what it makes passes as it is, and what cannot be made is not begun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAMES = ("mod_x", "mod_two_words")
RECORDED = "tests/oracle/test_recorded.py::test_virtual_hosts_answer_as_recorded"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree without what is made in it."""
    for name in ("src", "tests", "docs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{copy}/src", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)


def new_module(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(copy, "scripts/new_module/new_module.py", *arguments)


def tree(copy: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


def test_what_is_made_passes(copy: Path) -> None:
    for name in NAMES:
        made = new_module(copy, name)
        assert made.returncode == 0, made.stderr
        assert f"tests/modules/test_{name}.py" in made.stdout
    tests = [f"tests/modules/test_{name}.py" for name in NAMES]
    ran = python(
        copy,
        *("-m", "pytest", "-p", "no:cacheprovider", *tests),
        *("tests/oracle/test_cases.py", "tests/docs/test_directives.py", "tests/modules/test_places.py"),
        *(f"{RECORDED}[{name.removeprefix('mod_')}]" for name in NAMES),
    )
    assert ran.returncode == 0, ran.stdout
    for check in (["ruff", "check"], ["ruff", "format", "--check"]):
        checked = python(copy, "-m", *check)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("name", "why"),
    [("hello", "such as mod_hello"), ("mod_", "such as"), ("mod_A", "such as"), ("mod_expires", "is known")],
)
def test_what_cannot_be_made_is_not_begun(copy: Path, name: str, why: str) -> None:
    before = tree(copy)
    made = new_module(copy, name)
    assert (made.returncode, made.stdout) == (1, "")
    assert why in made.stderr
    assert tree(copy) == before


def test_no_file_is_overwritten(copy: Path) -> None:
    (copy / "tests/oracle/cases/hello.txt").write_text("mine\n")
    before = tree(copy)
    assert "is there already" in new_module(copy, "mod_hello").stderr
    assert tree(copy) == before


def test_help_and_a_wrong_call_say_how() -> None:
    assert new_module(ROOT, "--help").returncode == 0
    assert new_module(ROOT).returncode == 2
