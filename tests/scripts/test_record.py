"""scripts/record, in a copy of the tree: a case without Apache's answers gets them, and changed ones are found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """The folder of cases in a copy of the tests."""
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__", "server", "never"))
    return tmp_path / "tests/oracle/cases"


def record(cases: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What scripts/record runs once all is installed."""
    tests = cases.parents[1]
    env = {**os.environ, "PYTHONPATH": f"{tests}:{ROOT}/src", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "oracle.record", *arguments]
    return subprocess.run(command, cwd=tests, env=env, capture_output=True, text=True, check=False)


def test_a_new_case_gets_its_answers(cases: Path) -> None:
    (cases / "new.conf").write_text("Header set X-New yes\n")
    (cases / "new.txt").write_text("GET /d/x.txt\n\nGET /missing\n")
    assert record(cases, "--check", "new").returncode == 1
    assert not (cases / "new.answers").exists()
    done = record(cases, "new", "env")
    assert (done.returncode, done.stdout) == (0, "new.answers: written\n1 of 2 cases changed\n"), done.stderr
    found, missing = (cases / "new.answers").read_text().split("\n\n")[1:]
    assert found.startswith("GET /d/x.txt HTTP/1.1\n200\n")
    assert "\nx-new: yes\nx-uid: 50001\n> d x\n>" in found
    assert missing.startswith("GET /missing HTTP/1.1\n404\n")
    assert missing.endswith("\n> <!DOCTYPE HTML PUBLIC\n")


def test_answers_that_are_not_apaches_are_found(cases: Path) -> None:
    changed = cases / "env.answers"
    before = changed.read_text()
    changed.write_text(before.replace("\n200\n", "\n404\n", 1))
    done = record(cases, "--check", "env")
    assert (done.returncode, done.stdout) == (1, "env.answers: Apache answers otherwise\n1 of 1 cases differ\n")
    assert changed.read_text() != before
    assert record(cases, "env").returncode == 0
    assert changed.read_text() == before
    done = record(cases, "--check", "env")
    assert (done.returncode, done.stdout) == (0, "0 of 1 cases differ\n")


def test_an_unknown_case_is_an_error(cases: Path) -> None:
    done = record(cases, "no-such-case")
    assert done.returncode == 2
    assert "no such case: no-such-case" in done.stderr
