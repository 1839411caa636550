"""Which sections apply, and in which order they are merged. Far more of it is in oracle/cases/sections-*.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import Served, values


def order(folder: Path, sections: list[tuple[str, str]], target: str) -> str:
    """The names of the sections that apply to a target, as they are merged; a section is its tag and what is in it."""
    text = "".join(
        f"<{tag}>\nHeader always append X-Order {number}\n{inside}\n</{tag.split()[0]}>\n"
        for number, (tag, inside) in enumerate(sections)
    )
    return ",".join(values(Served(folder, text).ask(target), "X-Order")).replace(" ", "")


def plain(*tags: str) -> list[tuple[str, str]]:
    return [(tag, "") for tag in tags]


@pytest.mark.parametrize(
    ("tags", "target", "expected"),
    [
        (["If true", "Location /d", "Files x.txt", 'DirectoryMatch "d"', "Directory @ROOT@"], "/d/x.txt", "4,3,2,1,0"),
        (["Directory @ROOT@/d", "Directory @ROOT@", "Directory /"], "/d/x.txt", "2,1,0"),
        (['DirectoryMatch "/root/d"', 'DirectoryMatch "/d"', 'DirectoryMatch "txt$"'], "/d/x.txt", "2,1,0"),
        (["Directory @ROOT@/d/x.txt", 'Directory "@ROOT@/d/*"', 'Directory "@ROOT@/*"'], "/d/x.txt", "2,0,1"),
        (['Directory "@ROOT@/d/*"'], "/d/missing", ""),  # only what is there
        (['Directory "@ROOT@/d/*"', 'DirectoryMatch "/d/$"'], "/d/", "1"),  # an index has the sections of its folder
        (['Directory "@ROOT@/d/*"', 'DirectoryMatch "/d/$"'], "/d/index.html", "0"),
        (['DirectoryMatch "/d$"', 'DirectoryMatch "/d/$"', "Files d"], "/d", "0,2"),  # a folder without its slash
        (["Files *", 'FilesMatch "^$"'], "/e/", "0,1"),  # a folder's name is empty
        (["Location /d", "Location /d/", "Location /d/x", "Location /"], "/d/x.txt", "0,1,3"),
    ],
)
def test_the_order_of_merging(tmp_path: Path, tags: list[str], target: str, expected: str) -> None:
    sections = [(tag.replace("@ROOT@", f"{tmp_path}/root"), "") for tag in tags]
    assert order(tmp_path, sections, target) == expected


def test_an_if_within_an_if_comes_after_all_that_are_not(tmp_path: Path) -> None:
    inner = "<If true>\nHeader always append X-Order inner\n</If>\n<Else>\nHeader always append X-Order never\n</Else>"
    sections = [("If true", inner), ("If false", inner), ("Else", ""), ("Location /d", inner)]
    assert order(tmp_path, sections, "/d/x.txt") == "3,0,2,inner,inner"


def test_files_within_other_sections_come_after_those_outside(tmp_path: Path) -> None:
    inner = "<Files x.txt>\nHeader always append X-Order inner\n</Files>"
    sections = [(f"Directory {tmp_path}/root/d", inner), ("Files x.txt", inner)]
    assert order(tmp_path, sections, "/d/x.txt") == "0,1,inner,inner"


def test_named_groups_become_variables(tmp_path: Path) -> None:
    served = Served(
        tmp_path, '<LocationMatch "^/(?<Folder>[^/]+)/">\nHeader set X-Got %{MATCH_FOLDER}e\n</LocationMatch>'
    )
    assert values(served.ask("/d/x.txt"), "X-Got") == ["d"]
