"""SetEnv, PassEnv, UnsetEnv."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import Served


def variables(folder: Path, text: str, path: str = "/d/x.txt") -> dict[str, str]:
    site = Served(folder, text)
    site.ask(path)
    return site.request.env


def test_sections_change_what_the_server_set(tmp_path: Path) -> None:
    text = "SetEnv A a\nSetEnv B\nSetEnv C c\n<Directory @ROOT@/d>\nUnsetEnv A\nSetEnv C d\n</Directory>"
    found = variables(tmp_path, text)
    assert (found.get("A"), found["B"], found["C"]) == (None, "", "d")
    assert variables(tmp_path, text, "/a.txt")["A"] == "a"


def test_a_variable_that_a_request_has_stays(tmp_path: Path) -> None:
    text = "SetEnvIf Request_URI . A=early B=early\nSetEnv A late\nUnsetEnv B"
    found = variables(tmp_path, text)
    assert (found["A"], found["B"]) == ("early", "early")


def test_the_last_word_of_a_scope_counts(tmp_path: Path) -> None:
    found = variables(tmp_path, "SetEnv A 1\nUnsetEnv A\nUnsetEnv B\nSetEnv B 2")
    assert (found.get("A"), found["B"]) == (None, "2")


def test_variables_of_the_server_itself_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNHOST_TEST_PASSED", "yes")
    found = variables(tmp_path, "PassEnv OWNHOST_TEST_PASSED OWNHOST_TEST_MISSING")
    assert found["OWNHOST_TEST_PASSED"] == "yes"
    assert "OWNHOST_TEST_MISSING" not in found
