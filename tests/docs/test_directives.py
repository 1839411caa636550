"""docs/directives.md is what the declarations make of it; and how it is made."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from ownhost import modules
from ownhost.admin import manual, reference
from ownhost.admin.cli import main
from ownhost.config.directive import ANYWHERE, REGISTRY, Answer, Directive, Override

PAGE = Path(__file__).parents[2] / "docs" / "directives.md"

SHOWN = reference.entry(
    Directive(
        name="TestWord",
        module="mod_test",
        syntax="on|<word>",
        where=ANYWHERE,
        help="Says *something* of <Files>.",
        parse=lambda call: call.args,
        override=Override.FILE_INFO,
        default="on",
        differs="Says more.",
    )
)


def test_the_page_is_fresh() -> None:
    made = CliRunner().invoke(main, ["directives", "--markdown"])
    assert made.exit_code == 0, made.output
    again = (
        "docs/directives.md is not what is declared: run .venv/bin/ownhost directives --markdown >docs/directives.md"
    )
    assert PAGE.read_text() == made.stdout, again


def test_every_directive_that_is_obeyed_has_its_part() -> None:
    modules.load()
    titles = re.findall(r"^### (.*)$", PAGE.read_text(), re.MULTILINE)
    assert sorted(re.sub(r"[\\<>]", "", title) for title in titles) == sorted(
        one.name for one in REGISTRY.values() if one.answer is Answer.OBEYED
    )


def test_each_guide_is_of_a_module_that_has_directives() -> None:
    modules.load()
    assert set(manual.GUIDES) <= {one.module for one in REGISTRY.values() if one.answer is Answer.OBEYED}


def test_a_part_says_all_that_is_declared() -> None:
    part = manual.page([SHOWN]).partition("## mod_test")[2].partition("\n## ")[0]
    assert part == (
        "\n\n### TestWord\n\n    TestWord on|<word>\n\nSays \\*something\\* of \\<Files\\>.\n\n"
        "- *Context*: server config, virtual host, directory, .htaccess\n- *Override*: FileInfo\n"
        "- *Default*: `on`\n- *Differs*: Says more.\n"
    )


def test_words_follow_the_first_directive_that_has_them() -> None:
    words = {"Colours of TestWord": [reference.WordEntry("red=shade", ("crimson",), "Is *red*.", "Is pale.")]}
    page = manual.page([replace(SHOWN, words=words), replace(SHOWN, name="TestXword", words=words)])
    first, second = page.partition("### TestWord")[2].split("### TestXword")
    assert first.endswith(
        "\n#### Colours of TestWord\n\n- `red=shade`, `crimson`: Is \\*red\\*. *Differs*: Is pale.\n\n"
    )
    assert second.partition("\n## ")[0].endswith("\n[Colours of TestWord](#colours-of-testword) are listed above.\n")


def test_what_is_not_obeyed_is_named_alone() -> None:
    page = manual.page([replace(SHOWN, answer=Answer.UNSUPPORTED.value)], ["Another"])
    assert "### " not in page
    assert page.endswith("## Known but unsupported\n\nAnother, TestWord\n")


def test_the_page_is_of_all_directives() -> None:
    for more in (["Listen"], ["--json"]):
        assert CliRunner().invoke(main, ["directives", "--markdown", *more]).exit_code == 2
