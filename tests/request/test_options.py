"""Options: what Apache 2.4 makes of each line, alone and within a folder that says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost import modules
from ownhost.config.directive import ConfigError
from ownhost.config.reader import read
from ownhost.request.links import OPTIONS, Option

modules.load()

LETTERS = {  # what each letter of the table stands for
    "I": Option.INDEXES,
    "E": Option.EXEC_CGI,
    "F": Option.FOLLOW_SYMLINKS,
    "S": Option.INCLUDES,
    "X": Option.INCLUDES_EXEC,
    "M": Option.MULTI_VIEWS,
}
SAID = [  # the line, what is on with it alone, and within "Options Indexes MultiViews", "IncludesNOEXEC", "All"
    ("All -Indexes", "EFSX", "EFSX", "EFSX", "EFSX"),
    ("all -indexes", "EFSX", "EFSX", "EFSX", "EFSX"),
    ("None +FollowSymLinks", "F", "F", "F", "F"),
    ("None -Indexes", "", "", "", ""),
    ("None Indexes", "I", "I", "I", "I"),
    ("All Indexes", "IEFSX", "IEFSX", "IEFSX", "IEFSX"),
    ("All -ExecCGI +MultiViews", "IFSXM", "IFSXM", "IFSXM", "IFSXM"),
    ("All +Indexes -ExecCGI", "IFSX", "IFSX", "IFSX", "IFSX"),
    ("-Indexes +ExecCGI", "EF", "EM", "ES", "EFSX"),
    ("+ExecCGI -ExecCGI", "F", "IM", "S", "IFSX"),
    ("-FollowSymLinks", "", "IM", "S", "IESX"),
    ("IncludesNOEXEC", "S", "S", "S", "S"),
    ("Includes IncludesNOEXEC", "SX", "SX", "SX", "SX"),
    ("+IncludesNOEXEC", "FS", "IMS", "S", "IEFS"),
    ("-IncludesNOEXEC", "F", "IM", "", "IEF"),
    ("+Includes -IncludesNOEXEC", "F", "IM", "", "IEF"),
    ("", "F", "IM", "S", "IEFSX"),
]
OUTER = ["", "Options Indexes MultiViews", "Options IncludesNOEXEC", "Options All"]


@pytest.mark.parametrize("line", SAID, ids=lambda line: line[0])
@pytest.mark.parametrize("outer", range(4))
def test_what_is_on(tmp_path: Path, line: tuple[str, ...], outer: int) -> None:
    path = tmp_path / "site.conf"
    path.write_text(
        f"<Directory /a>\n{OUTER[outer]}\n</Directory>\n<Directory /a/b>\nOptions {line[0]}\n</Directory>\n"
    )
    config = read(str(path))
    settings = config.main.settings
    for section in config.main.sections:
        settings = settings.merged(section.settings)
    found = settings[OPTIONS].effective
    if Option.INCLUDES not in found:
        found &= ~Option.INCLUDES_EXEC  # means nothing alone
    expected = Option.NONE
    for letter in line[1 + outer]:
        expected |= LETTERS[letter]
    assert found == expected


@pytest.mark.parametrize(
    "line",
    [
        "Indexes +ExecCGI", "+ExecCGI Indexes", "Indexes None", "Indexes All", "+All", "-All", "+None", "-None",
        "All None", "None All", "All -All", "None +All", "All -Indexes ExecCGI", "+Indexes All", "+None Indexes",
        "Bogus", "-", "+", "Indexes, ExecCGI",
    ],
)  # fmt: skip
def test_what_is_an_error(tmp_path: Path, line: str) -> None:
    path = tmp_path / "site.conf"
    path.write_text(f"<Directory /a>\nOptions {line}\n</Directory>\n")
    with pytest.raises(ConfigError, match="Options: "):
        read(str(path))
