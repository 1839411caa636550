"""IndexOptions: how listings look.

As in Apache, names without a sign replace what scopes around say, and names with + or - change it.
If a scope has both, only the names without a sign count (merge_autoindex_configs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Flag, auto
from typing import Any

from ownhost.config.arguments import known_word, number, words
from ownhost.config.directive import ArgumentError, Call
from ownhost.config.words import Word, Words

NAME_WIDTH = 23  # bytes of a column, unless an option says otherwise
DESCRIPTION_WIDTH = 23
ICON_WIDTH = 20  # pixels, of Apache's own icons
ICON_HEIGHT = 22
_LEAST_NAME = 5
_LEAST_DESCRIPTION = 12
_WIDEST = 1_000  # of either column: a listing is for people
_NONE = "none"


class Look(Flag):
    """The options that are on or off."""

    PLAIN = 0
    FANCY = auto()
    TABLE = auto()
    FOLDERS_FIRST = auto()
    ICONS_ARE_LINKS = auto()
    IGNORE_CASE = auto()
    IGNORE_CLIENT = auto()
    SCAN_TITLES = auto()
    NO_SORTING = auto()
    NO_DESCRIPTION = auto()
    NO_PREAMBLE = auto()
    NO_ICON = auto()
    NO_MODIFIED = auto()
    NO_SIZE = auto()
    NO_RULES = auto()
    TRACK_MODIFIED = auto()
    VERSION_SORT = auto()
    XHTML = auto()
    SHOW_FORBIDDEN = auto()
    ALT_CLASS = auto()
    OLD_DATES = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """The width of a column: so many bytes, or as wide as its widest entry (`fits`)."""

    width: int
    fits: bool = False


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """The value of IndexOptions. What a scope leaves out is None; an icon's size of 0 is not said at all."""

    listed: Look | None = None
    none: bool = False  # None: the scopes around do not count
    added: Look = Look.PLAIN
    removed: Look = Look.PLAIN
    icon_width: int = 0
    icon_height: int = 0
    name: Column | None = None
    description: Column | None = None
    charset: str | None = None
    type: str | None = None

    @property
    def look(self) -> Look:
        """The options that are on, if there is no scope around this one."""
        return merge(IndexOptions(), self).listed or Look.PLAIN


def merge(outer: IndexOptions, inner: IndexOptions) -> IndexOptions:
    """The options of a scope within another one."""
    added = removed = Look.PLAIN
    if inner.none:
        listed = Look.PLAIN
    elif inner.listed is None:
        added = (outer.added | inner.added) & ~inner.removed
        removed = (outer.removed & ~inner.added) | inner.removed
        listed = ((outer.listed or Look.PLAIN) | added) & ~removed
    else:
        listed = inner.listed
    return IndexOptions(
        listed,
        inner.none,
        added,
        removed,
        inner.icon_width or outer.icon_width,
        inner.icon_height or outer.icon_height,
        inner.name or outer.name,
        inner.description or outer.description,
        outer.charset if inner.charset is None else inner.charset,
        outer.type if inner.type is None else inner.type,
    )


Change = Callable[[IndexOptions], IndexOptions]
Read = Callable[[str, str], Change]  # of the sign, "" for none, and what follows the equals sign


def fold(before: IndexOptions | None, changes: tuple[Change, ...]) -> IndexOptions:
    """The options of a scope after one more line of it."""
    options = before or IndexOptions()
    for change in changes:
        options = change(options)
    return options


def parse_options(call: Call) -> tuple[Change, ...]:
    """Names, with + or - in front or without, some with a value; or None."""
    found = words(1)(call)
    unsigned = [word.lower() for word in found if word[0] not in "+-"]
    if _NONE in unsigned and set(unsigned) != {_NONE}:
        raise ArgumentError("None stands without other options")
    return tuple(map(_change, found))


def _change(word: str) -> Change:
    sign = word[0] if word[0] in "+-" else ""
    name, equals, value = word[len(sign) :].partition("=")
    if equals and sign == "-":
        raise ArgumentError(f"-{name} has no value: write -{name} alone")
    return known_word(OPTIONS, f"{name}{equals}").means(sign, value)


def _with(options: IndexOptions, name: str, value: Any) -> IndexOptions:
    return replace(options, **{name: value})


def _flag(look: Look) -> Read:
    def read(sign: str, _: str) -> Change:
        if sign == "+":
            return lambda o: replace(o, added=o.added | look, removed=o.removed & ~look)
        if sign == "-":
            return lambda o: replace(o, added=o.added & ~look, removed=o.removed | look)
        return lambda o: replace(o, listed=(o.listed or Look.PLAIN) | look, added=Look.PLAIN, removed=Look.PLAIN)

    return read


def _no_options(sign: str, _: str) -> Change:
    if sign:
        raise ArgumentError("None has no + or - in front of it")
    return lambda o: replace(o, none=True, listed=None, added=Look.PLAIN, removed=Look.PLAIN)


def _size(name: str, usual: int) -> Read:
    def read(sign: str, _: str) -> Change:
        return lambda o: _with(o, name, 0 if sign == "-" else usual)

    return read


def _size_of(name: str) -> Read:
    def read(_: str, value: str) -> Change:
        pixels = number(value, 0, _WIDEST)
        return lambda o: _with(o, name, pixels)

    return read


def _usual_width(name: str, option: str, usual: int) -> Read:
    def read(sign: str, _: str) -> Change:
        if sign != "-":
            raise ArgumentError(f"{option} without a value stands only as -{option}")
        return lambda o: _with(o, name, Column(usual))

    return read


def _width(name: str, usual: int, least: int) -> Read:
    def read(_: str, value: str) -> Change:
        if value == "*":
            return lambda o: _with(o, name, Column((getattr(o, name) or Column(usual)).width, fits=True))
        width = number(value, least, _WIDEST)
        return lambda o: _with(o, name, Column(width))

    return read


def _text(name: str) -> Read:
    def read(_: str, value: str) -> Change:
        if not value.isprintable():
            raise ArgumentError(f"expected a word that can be in a field, not {value!r}")
        return lambda o: _with(o, name, value)

    return read


OPTIONS: Words[Read] = Words(
    "Options of IndexOptions",
    "option of listings",
    Word("None", "", "Plain lists of names, whatever scopes around say.", _no_options),
    Word("FancyIndexing", "", "Columns: icon, name, date, size, description.", _flag(Look.FANCY)),
    Word("HTMLTable", "", "The columns are an HTML table.", _flag(Look.TABLE)),
    Word("FoldersFirst", "", "Folders stand before files.", _flag(Look.FOLDERS_FIRST)),
    Word("IconsAreLinks", "", "Icons are links, too.", _flag(Look.ICONS_ARE_LINKS)),
    Word("IgnoreCase", "", "Capitals are sorted like small letters.", _flag(Look.IGNORE_CASE)),
    Word("IgnoreClient", "", "A query changes nothing.", _flag(Look.IGNORE_CLIENT)),
    Word("ScanHTMLTitles", "", "HTML files are described by their titles.", _flag(Look.SCAN_TITLES)),
    Word("SuppressColumnSorting", "", "The columns' names are no links.", _flag(Look.NO_SORTING)),
    Word("SuppressDescription", "", "There are no descriptions.", _flag(Look.NO_DESCRIPTION)),
    Word("SuppressHTMLPreamble", "", "An HTML header file brings the page's head itself.", _flag(Look.NO_PREAMBLE)),
    Word("SuppressIcon", "", "There are no icons.", _flag(Look.NO_ICON)),
    Word("SuppressLastModified", "", "There are no dates.", _flag(Look.NO_MODIFIED)),
    Word("SuppressSize", "", "There are no sizes.", _flag(Look.NO_SIZE)),
    Word("SuppressRules", "", "There are no horizontal lines.", _flag(Look.NO_RULES)),
    Word("TrackModified", "", "Listings have Last-Modified and ETag, those of the folder.", _flag(Look.TRACK_MODIFIED)),
    Word("VersionSort", "", "Numbers in names are sorted as numbers.", _flag(Look.VERSION_SORT)),
    Word("XHTML", "", "Pages are XHTML 1.0.", _flag(Look.XHTML)),
    Word("ShowForbidden", "", "What a client may not see is listed as well.", _flag(Look.SHOW_FORBIDDEN)),
    Word("AddAltClass", "", "Rows have their alternative text as a class.", _flag(Look.ALT_CLASS)),
    Word("UseOldDateFormat", "", "Dates are written as 22-Feb-1998.", _flag(Look.OLD_DATES)),
    Word("IconWidth", "", "Icons are 20 pixels wide.", _size("icon_width", ICON_WIDTH)),
    Word("IconWidth=", "pixels", "The width of icons.", _size_of("icon_width")),
    Word("IconHeight", "", "Icons are 22 pixels high.", _size("icon_height", ICON_HEIGHT)),
    Word("IconHeight=", "pixels", "The height of icons.", _size_of("icon_height")),
    Word("NameWidth", "", "-NameWidth: names have 23 bytes.", _usual_width("name", "NameWidth", NAME_WIDTH)),
    Word("NameWidth=", "bytes|*", "The bytes of names that are shown, from 5; * for all.",
         _width("name", NAME_WIDTH, _LEAST_NAME)),
    Word("DescriptionWidth", "", "-DescriptionWidth: descriptions have 23 bytes.",
         _usual_width("description", "DescriptionWidth", DESCRIPTION_WIDTH)),
    Word("DescriptionWidth=", "bytes|*", "The characters of descriptions that are shown, from 12; * for all.",
         _width("description", DESCRIPTION_WIDTH, _LEAST_DESCRIPTION)),
    Word("Charset=", "charset", "The character set of listings, ISO-8859-1 unless it is said.", _text("charset")),
    Word("Type=", "media-type", "The media type of listings.", _text("type")),
    form="{name}{arguments}",
    any_case=True,
)  # fmt: skip
