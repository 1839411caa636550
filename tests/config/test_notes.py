"""Remarks that say the same of one file are one line, with a count."""

from ownhost.config.directive import Problem, Source
from ownhost.config.notes import folded


def test_what_says_the_same_of_one_file_is_one_line_at_its_first_place() -> None:
    notes = [Problem(Source("a.conf", line), "AddIcon is accepted without effect") for line in (9, 3, 5)]
    other = [Problem(Source("b.conf", 7), "AddIcon is accepted without effect"), Problem(Source("a.conf", 4), "else")]
    assert list(map(str, folded([*notes, *other]))) == [
        "a.conf:3: note: AddIcon is accepted without effect (2 more in this file)",
        "b.conf:7: note: AddIcon is accepted without effect",
        "a.conf:4: note: else",
    ]


def test_the_same_remark_twice_is_one() -> None:
    notes = [Problem(Source("a.conf", 3), "x")] * 2
    assert [(note.more, str(note)) for note in folded(notes)] == [(0, "a.conf:3: note: x")]
