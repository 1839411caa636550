"""The argument of conditions, as Apache 2.4.71 reads it: a `!` before the quotes negates, and the first word counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config.directive import ConfigError
from ownhost.config.reader import read

modules.load()

# What is there, what is not, and what each condition asks about.
SUBJECTS = {
    "IfModule": ("core.c", "nope.c"),
    "IfDefine": ("X", "N"),
    "IfFile": ("/etc", "/nope"),
    "IfDirective": ("ServerName", "Nope"),
    "IfSection": ("Files", "Nope"),
}
FORMS = [  # with * for the name: what is so where it is there, and where it is not
    ("*", True, False),
    ('"*"', True, False),
    ("'*'", True, False),
    ("!*", False, True),
    ('!"*"', False, True),
    ("!'*'", False, True),
    ("! *", False, True),
    ('!  "*"', False, True),
    ('"!*"', False, False),
    ("!!*", True, True),
    ("* more", True, False),
    ('"*" more', True, False),
    ('"*', True, False),
    ('!"*', False, True),
]


def holds(folder: Path, condition: str, argument: str) -> bool:
    path = folder / "site.conf"
    path.write_text(f"Define X\n<{condition} {argument}>\nServerAdmin yes\n</{condition}>\n")
    return read(str(path)).main.settings.values.get("ServerAdmin") == "yes"


@pytest.mark.parametrize("condition", SUBJECTS)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form[0])
def test_an_argument(tmp_path: Path, condition: str, form: tuple[str, bool, bool]) -> None:
    written, if_there, if_not = form
    there, missing = SUBJECTS[condition]
    assert holds(tmp_path, condition, written.replace("*", there)) is if_there
    assert holds(tmp_path, condition, written.replace("*", missing)) is if_not


@pytest.mark.parametrize("condition", SUBJECTS)
@pytest.mark.parametrize("argument", ["", "!", '""', '!""', "!  "])
def test_an_argument_that_is_none(tmp_path: Path, condition: str, argument: str) -> None:
    with pytest.raises(ConfigError, match="expected one argument, got none"):
        holds(tmp_path, condition, argument)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [("<Files", True), ('"<Files"', True), ("Files", False), ("!<Files", False), ("servername", True)],
)
def test_a_section_is_a_directive_with_its_bracket(tmp_path: Path, argument: str, expected: bool) -> None:
    assert holds(tmp_path, "IfDirective", argument) is expected
