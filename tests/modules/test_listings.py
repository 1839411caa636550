"""The parts of listings: options and how they merge, order, widths, labels, what a query asks."""

from __future__ import annotations

import random
from functools import cmp_to_key

import pytest

from ownhost.config.arguments import words
from ownhost.config.directive import ArgumentError, Call, Source, Where
from ownhost.modules.listings import labels, options, page, view
from ownhost.modules.listings.entries import Entry, natural_key, ordered
from ownhost.modules.listings.options import Column, IndexOptions, Look


def call(*args: str, section: str = "", kind: str = "") -> Call:
    return Call("X", args, " ".join(args), Source("x", 1), Where.SERVER, "/", section=section, section_kind=kind)


def read(*lines: str) -> IndexOptions:
    """The options of a scope with these lines."""
    found: IndexOptions | None = None
    for line in lines:
        found = options.fold(found, options.parse_options(call(*words(1)(call(*line.split())))))
    return found or IndexOptions()


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("FancyIndexing", "+XHTML", Look.FANCY | Look.XHTML),
        ("FancyIndexing", "XHTML", Look.XHTML),
        ("FancyIndexing", "None", Look.PLAIN),
        ("+FancyIndexing", "-FancyIndexing", Look.PLAIN),
        ("FancyIndexing", "-FancyIndexing +HTMLTable", Look.TABLE),
        ("FancyIndexing", "XHTML +HTMLTable", Look.XHTML),  # names without a sign count alone
        ("None", "+FancyIndexing", Look.FANCY),
        ("FancyIndexing", "+fancyindexing IconWidth", Look.FANCY),
    ],
)
def test_options_of_two_scopes(outer: str, inner: str, expected: Look) -> None:
    assert options.merge(options.merge(IndexOptions(), read(outer)), read(inner)).look == expected


def test_what_is_changed_stays_changed_further_inside() -> None:
    added = options.merge(read("FancyIndexing"), read("+XHTML"))
    assert options.merge(added, read("+HTMLTable")).look == Look.FANCY | Look.XHTML | Look.TABLE
    assert options.merge(added, read("NameWidth=*")).look == Look.FANCY | Look.XHTML


def test_sizes_and_texts() -> None:
    found = read("IconWidth IconHeight=7 NameWidth=30 DescriptionWidth=* Charset=utf-8 Type=text/x")
    assert (found.icon_width, found.icon_height, found.charset, found.type) == (20, 7, "utf-8", "text/x")
    assert (found.name, found.description) == (Column(30), Column(23, fits=True))
    inner = options.merge(found, read("-NameWidth Charset="))
    assert (inner.name, inner.charset, inner.icon_height, inner.type) == (Column(23), "", 7, "text/x")
    assert read("NameWidth=30", "NameWidth=*").name == Column(30, fits=True)


@pytest.mark.parametrize(
    "line",
    ["Fancy", "+None", "None FancyIndexing", "NameWidth", "+NameWidth", "-NameWidth=5", "NameWidth=4", "NameWidth=x",
     "DescriptionWidth=11", "IconWidth=-1", "-Charset=x", "Charset"],
)  # fmt: skip
def test_options_that_are_errors(line: str) -> None:
    with pytest.raises(ArgumentError):
        read(line)


NAMES = [
    "a1",
    "a2",
    "a10",
    "a010",
    "a01",
    "A1",
    "a 1",
    "a",
    "a1b",
    "a1.5",
    "a1.05",
    "é",
    "1",
    "01",
    "001",
    "",
    "a-",
    "a~",
]


def strnatcmp(one: str, other: str) -> int:
    """apr_strnatcmp(3), as its description has it: a reference that is slow and simple."""
    a, b = (text.encode("latin-1") + b"\0" for text in (one, other))
    i = j = 0
    while True:
        while a[i : i + 1].isspace():
            i += 1
        while b[j : j + 1].isspace():
            j += 1
        if a[i : i + 1].isdigit() and b[j : j + 1].isdigit():
            left, right = (digits(a, i), digits(b, j))
            if 48 in (a[i], b[j]):
                if left != right:
                    return -1 if left < right else 1
            elif left != right:
                return -1 if (len(left), left) < (len(right), right) else 1
        x, y = (byte - 256 if byte > 127 else byte for byte in (a[i], b[j]))
        if x != y:
            return -1 if x < y else 1
        if x == 0:
            return 0
        i, j = i + 1, j + 1


def digits(data: bytes, start: int) -> bytes:
    end = start
    while data[end : end + 1].isdigit():
        end += 1
    return data[start:end]


def test_versions_are_sorted_as_apr_does() -> None:
    chance = random.Random(1)
    texts = NAMES + ["".join(chance.choices("ab01 9.é", k=chance.randrange(6))) for _ in range(300)]
    expected = sorted(texts, key=cmp_to_key(strnatcmp))
    assert [natural_key(text) for text in sorted(texts, key=natural_key)] == [natural_key(text) for text in expected]


def entries() -> list[Entry]:
    return [
        Entry("b", size=3, modified=2.0),
        Entry("A", size=1, modified=3.0, description="z"),
        Entry("sub/", is_folder=True, modified=1.0),
        Entry("/up/", is_parent=True),
        Entry("a10", size=1, modified=3.0),
        Entry("a9", size=1, modified=3.0),
    ]


@pytest.mark.parametrize(
    ("query", "look", "expected"),
    [
        ("", "", "/up/ A a10 a9 b sub/"),
        ("O=D", "", "/up/ sub/ b a9 a10 A"),
        ("O=D", "FancyIndexing FoldersFirst", "/up/ sub/ b a9 a10 A"),
        ("", "HTMLTable FoldersFirst VersionSort", "/up/ sub/ A a9 a10 b"),
        ("", "FoldersFirst", "/up/ A a10 a9 b sub/"),  # only columns know folders
        ("", "IgnoreCase", "/up/ A a10 a9 b sub/"),
        ("C=S;O=A", "", "/up/ sub/ A a10 a9 b"),
        ("C=M&O=D", "", "/up/ a9 a10 A b sub/"),
        ("C=D;V=1", "", "/up/ a9 a10 b sub/ A"),
        ("nonsense&O=D", "", "/up/ A a10 a9 b sub/"),
        ("O=D", "IgnoreClient", "/up/ A a10 a9 b sub/"),
    ],
)
def test_order(query: str, look: str, expected: str) -> None:
    asked = view.asked(query, read(look).look if look else Look.PLAIN, ("N", False))
    assert [entry.name for entry in ordered(entries(), asked)] == expected.split()


def test_many_entries_are_ordered_like_few() -> None:
    many = [Entry(str(number * 7_919 % 5_003)) for number in range(5_003)]
    asked = view.asked("V=1;O=D", Look.PLAIN, ("N", False))
    assert [entry.name for entry in ordered(many, asked)] == [str(number) for number in range(5_002, -1, -1)]


@pytest.mark.parametrize(
    ("query", "arguments", "shown"),
    [
        ("P=*.txt", ";P=*.txt", "a.txt"),
        ("F=2;V=1;P=%61*", ";F=2;V=1;P=a*", "a.txt a"),
        ("P=%3Cb%3E", ";P=%3cb%3e", ""),
        ("P=[^a]*", ";P=%5b%5ea%5d*", "\\b"),
        ("P=\\b", ";P=%5cb", "\\b"),
        ("P=.*", ";P=.*", ".a"),
        ("P=%zz", "", ".a a.txt a \\b"),
        ("P=%2f", "", ".a a.txt a \\b"),
        ("P=&C=M", "", ".a a.txt a \\b"),
    ],
)
def test_patterns_of_clients(query: str, arguments: str, shown: str) -> None:
    asked = view.asked(query, Look.PLAIN, ("N", False))
    assert asked.arguments == arguments
    names = (".a", "a.txt", "a", "\\b")
    assert " ".join(name for name in names if asked.shows is None or asked.shows(name)) == shown


def test_no_pattern_takes_for_ever() -> None:
    pattern = "*a" * 300
    asked = view.asked(f"P={pattern}b", Look.PLAIN, ("N", False))
    assert asked.shows is not None
    assert not asked.shows("a" * 255)
    assert labels.wildcard("*a" * 60 + "*?b")("a" * 255) is None


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (-1, "  - "), (0, "  0 "), (972, "972 "), (973, "1.0K"), (1_536, "1.5K"), (10_188, "9.9K"), (10_189, " 10K"),
        (10_240, " 10K"), (995_000, "972K"), (996_352, "1.0M"), (5 << 30, "5.0G"), (1 << 62, "4.0E"),
    ],
)  # fmt: skip
def test_sizes(size: int, shown: str) -> None:
    assert page.shown_size(size) == shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 12, "short"),
        ("twelve chars", 12, "twelve chars"),
        ("thirteen char", 12, "thirteen ch>"),
        ("<b>twelve</b> &amp;&amp;&amp;&amp;", 12, "<b>twelve</b> &amp;&amp;&amp;&amp;"),
        ("<b>thirteen char", 12, "<b>thirteen ch>"),
        ("a <b never ends", 12, "a <b never ends"),
    ],
)
def test_descriptions_are_shortened(text: str, width: int, shown: str) -> None:
    assert page.shortened(text, width) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a b", "a%20b"), ("a:b", "./a:b"), ("/a:b/", "/a:b/"), ('"<&', "%22%3c&amp;"), ("\xff", "%ff"),
     ("a?#%", "a%3f%23%25"), ("javascript:x", "./javascript:x")],
)  # fmt: skip
def test_links(name: str, shown: str) -> None:
    assert page.link(name) == shown


def test_labels_hold_below_the_folder_of_their_section() -> None:
    by = labels.parse_icon(labels.By.NAME)
    inner = by(call("(TXT,/t)", ".txt", "README", section="/srv/a", kind="Directory"))
    outer = by(call("/all", "*"))
    both = labels.inner_first(outer, inner)
    here = labels.Labelling("/srv/a/", both, labels.Ignored(), ())
    assert [here.icons.by_name(f"/srv/a/{name}") for name in ("x.txt", "README", "x")] == ["/t", "/t", "/all"]
    assert here.alts.by_name("/srv/a/x.txt") == "TXT"
    assert labels.Labelling("/srv/b/", both, labels.Ignored(), ()).icons.by_name("/srv/b/x.txt") == "/all"


def test_labels_by_type_and_encoding() -> None:
    by_type = labels.parse_icon(labels.By.TYPE)(call("/t", "Text/*"))
    found = labels.and_more(by_type, labels.parse_icon(labels.By.ENCODING)(call("/e", "x-?zip")))
    icons = labels.Labelling("/", found, labels.Ignored(), ()).icons
    assert icons.of_file("/x", "text/plain", "") == "/t"
    assert icons.of_file("/x", "text/plain", "X-GZip") == "/e"
    assert icons.of_file("/x", "text/plain", "br") is None
    assert icons.of_file("/x", "", "") is None


@pytest.mark.parametrize("icon", ["(TXT,/t", "(TXT /t)"])
def test_icons_that_are_errors(icon: str) -> None:
    with pytest.raises(ArgumentError):
        labels.parse_icon(labels.By.NAME)(call(icon, "x"))


def test_descriptions() -> None:
    said = labels.parse_description(call("part", "b.t")) + labels.parse_description(call("glob", "[xy].?"))
    said += labels.parse_description(call("path", "sub/z"))
    found = labels.Labelling("/", labels.Labels(), labels.Ignored(), said)
    paths = ("/a/b.txt", "/b.t/z", "/a/xy.c", "/a/sub/zz")
    assert [found.description(path) for path in paths] == ["part", None, "glob", "path"]


def test_what_is_left_out() -> None:
    outer, inner = labels.parse_ignored(call("*~", "/a/b")), labels.parse_ignored(call(".??*"))
    both = labels.ignored(outer, inner)
    found = labels.Labelling("/", labels.Labels(), both, ())
    assert [name for name in ("a~", "b", "c", ".ab", "..") if found.leaves_out(name)] == ["a~", "b", ".ab"]
    alone = labels.ignored(outer, labels.ignored_more(inner, labels.Ignored(alone=True)))
    assert not labels.Labelling("/", labels.Labels(), alone, ()).leaves_out("a~")
