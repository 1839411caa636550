"""What is said about a directive."""

from dataclasses import replace

import pytest

from ownhost.admin import reference
from ownhost.config.directive import SERVERS, Answer, Block, Directive, Override
from ownhost.config.words import Word, Words


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Directive]:
    known: dict[str, Directive] = {}
    monkeypatch.setattr(reference, "REGISTRY", known)
    for name, section in (("TestName", False), ("TestPath", False), ("TestSection", True)):
        known[name.lower()] = Directive(
            name=name,
            module="core",
            syntax="path" if section else "word [word]",
            where=SERVERS,
            help="Says something.",
            parse=lambda call: call.args,
            override=Override.FILE_INFO,
            answer=Answer.NO_EFFECT,
            default="nothing",
            block=Block.SETTING if section else None,
        )
    return known


def test_an_entry_speaks_the_manuals_words(registry: dict[str, Directive]) -> None:
    entry = reference.entry(registry["testname"])
    assert entry.syntax == "TestName word [word]"
    assert entry.contexts == ["server config", "virtual host"]
    assert (entry.default, entry.override, entry.answer) == ("nothing", "FileInfo", "accepted without effect")


def test_a_section_is_written_in_angle_brackets(registry: dict[str, Directive]) -> None:
    entry = reference.entry(registry["testsection"])
    assert (entry.name, entry.syntax) == ("<TestSection>", "<TestSection path>")


@pytest.mark.parametrize("name", ["TestName", "testname", "TESTNAME"])
def test_names_are_found_in_any_case(registry: dict[str, Directive], name: str) -> None:
    assert reference.find(name) is registry["testname"]


def test_a_section_is_found_in_angle_brackets(registry: dict[str, Directive]) -> None:
    assert reference.find("<TestSection>") is registry["testsection"]


def test_a_mistyped_name_gets_the_nearest_ones(registry: dict[str, Directive]) -> None:
    with pytest.raises(LookupError, match="TestNmae is not a known directive; did you mean TestName"):
        reference.find("TestNmae")


def test_a_name_like_no_other_gets_where_to_look(registry: dict[str, Directive]) -> None:
    with pytest.raises(LookupError, match="'ownhost directives' lists those that are"):
        reference.find("Zzz")


def test_the_text_leaves_out_what_there_is_not(registry: dict[str, Directive]) -> None:
    text = reference.text(reference.entry(registry["testname"]))
    assert "Default:  nothing" in text
    assert "Note:" not in text


def test_the_text_lists_the_words_of_a_directive(registry: dict[str, Directive]) -> None:
    words = Words("Colours", "colour", Word("red", "shade", "Is red.", None, ("crimson",), "Is pale."))
    lines = reference.text(reference.entry(replace(registry["testname"], words=(words,)))).splitlines()
    assert lines[-2:] == ["Colours:", "  red shade, crimson  Is red. Differs: Is pale."]
