"""Listings as HTML, byte for byte as Apache writes them. Texts are in the form of a head: a character for each byte.

Names, icons and alternative texts are escaped. Descriptions are the owner's HTML, as in Apache.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from ownhost.http.wire import unwire
from ownhost.modules.listings.entries import Entry
from ownhost.modules.listings.options import DESCRIPTION_WIDTH, NAME_WIDTH, Column, IndexOptions, Look
from ownhost.modules.listings.view import View
from ownhost.request import expression_functions

_HTML = '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">\n<html>\n'
_XHTML = (
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"\n'
    '"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n<html xmlns="http://www.w3.org/1999/xhtml">\n'
)
END = "</body></html>\n"
_PARENT = "Parent Directory"
_CUT = 3  # characters of ..>
_UNITS = "KMGTPE"
_COLUMNS = (
    ("N", "Name", "indexcolname", Look.PLAIN),
    ("M", "Last modified", "indexcollastmod", Look.NO_MODIFIED),
    ("S", "Size", "indexcolsize", Look.NO_SIZE),
    ("D", "Description", "indexcoldesc", Look.NO_DESCRIPTION),
)
_DESCRIBED = re.compile(r"<[^>]*>|&[^;]*;|[^<&]|<[^>]*\Z|&[^;]*\Z", re.DOTALL)
_FREED = ((Look.NO_ICON, 6), (Look.NO_MODIFIED, 19), (Look.NO_SIZE, 7))  # bytes for descriptions, if nothing is said


def html(text: str) -> str:
    """A text as HTML (ap_escape_html)."""
    return escape(text, quote=False).replace('"', "&quot;")


def link(name: str) -> str:
    """A name as a link in an attribute: what a path cannot contain is encoded, so that no name is a scheme."""
    encoded = expression_functions.escape(unwire(name))
    colon = ":" in encoded.partition("/")[0]
    return html(f"./{encoded}" if colon else encoded)


def shown_size(size: int) -> str:
    """A number of bytes in four characters (apr_strfsize)."""
    if size < 0:
        return "  - "
    if size < 973:
        return f"{size:3d} "
    for unit in _UNITS:
        size, rest = divmod(size, 1024)
        if size >= 973:
            continue
        if size < 9 or (size == 9 and rest < 973):
            tenths = (rest * 5 + 256) // 512
            return f"{size + tenths // 10}.{tenths % 10}{unit}"
        return f"{size + (rest >= 512):3d}{unit}"
    return "****"


def shortened(text: str, width: int) -> str:
    """A description of which so many characters are shown; tags and entities count as HTML does."""
    place = 0
    for match in _DESCRIBED.finditer(text):
        part = match[0]
        if part[0] == "<" and part[-1] != ">":
            return text  # a tag that does not end
        if width <= 0 and part[0] != "<":
            break
        width -= part[0] != "<"
        place = match.end()
    return text if place >= len(text) else f"{text[: place - 1]}>"


@dataclass(frozen=True, slots=True)
class Style:
    """How pages look: settings of the folder. Texts are in the form of a head."""

    options: IndexOptions
    sheet: str = ""
    head: str = ""
    default_icon: str = ""
    blank_icon: str | None = None


class Page:
    """The parts of one listing."""

    def __init__(self, style: Style, view: View, entries: list[Entry]) -> None:
        self.style = style
        self.view = view
        self.look = view.look
        self.entries = entries
        self.slash = " /" if Look.XHTML in self.look else ""
        options = style.options
        self.name = options.name or Column(NAME_WIDTH)
        self.description = options.description or Column(DESCRIPTION_WIDTH)
        self.name_width, self.description_width = self.name.width, self.description.width
        self.date = "%d-%b-%Y %H:%M" if Look.OLD_DATES in self.look else "%Y-%m-%d %H:%M"
        if Look.TABLE not in self.look:
            if self.name.fits:
                self.name_width = max((self.name_width, *(len(entry.name) for entry in entries)))
            if self.description.fits:
                texts = (len(entry.description or "") for entry in entries)
                self.description_width = max((self.description_width, *texts))
        if options.description is None:
            self.description_width += sum(freed for look, freed in _FREED if look in self.look)

    def rows(self) -> Iterator[str]:
        """The listing, an entry at a time."""
        if Look.TABLE in self.look:
            return self._table()
        return self._columns() if Look.FANCY in self.look else self._names()

    def _names(self) -> Iterator[str]:
        yield "<ul>"
        for entry in self.entries:
            shown = _PARENT if entry.is_parent else entry.name
            yield f'<li><a href="{link(entry.name)}"> {html(shown)}</a></li>\n'
        yield "</ul>\n"

    def _columns(self) -> Iterator[str]:
        rule = "" if Look.NO_RULES in self.look else f"<hr{self.slash}>"
        blank, start = self.style.blank_icon, "      "
        if Look.NO_ICON in self.look:
            start = ""
        elif blank is not None:
            start = f'<img src="{html(blank)}" alt="Icon "{self._sizes()}{self.slash}> '
        gaps = {"N": " " * (self.name_width - 3), "M": "      ", "S": "  ", "D": ""}
        heads = [f"{self._sorts(key, name)}{gaps[key]}" for key, name, _, look in self._shown()]
        yield f"<pre>{start}{''.join(heads)}{rule or chr(10)}"
        for entry in self.entries:
            yield f"{self._icon(entry, '     ', ' ')}{''.join(self._cells(entry))}\n"
        yield f"{rule}</pre>\n"

    def _cells(self, entry: Entry) -> Iterator[str]:
        shown, gap = self._name(entry)
        yield f'<a href="{link(entry.name)}">{shown}</a>{gap} '
        if Look.NO_MODIFIED not in self.look:
            yield " " * 19 if entry.modified is None else f"{self._date(entry.modified)}  "
        if Look.NO_SIZE not in self.look:
            yield f"{shown_size(entry.size)}  "
        if Look.NO_DESCRIPTION not in self.look and entry.description is not None:
            yield shortened(entry.description, self.description_width)

    def _table(self) -> Iterator[str]:
        styled = bool(self.style.sheet)
        blank, shown = self.style.blank_icon, list(self._shown())
        heads = [f"<th{self._class(name)}>{self._sorts(key, text)}</th>" for key, text, name, _ in shown]
        if Look.NO_ICON not in self.look:
            icon = "&nbsp;"
            if blank is not None:
                icon = f'<img src="{html(blank)}" alt="[ICO]"{self._sizes()}{self.slash}>'
            heads.insert(0, f"<th{self._class('indexcolicon', ' valign=' + chr(34) + 'top' + chr(34))}>{icon}</th>")
        rule = f'   <tr{self._class("indexbreakrow")}><th colspan="{len(heads)}"><hr{self.slash}></th></tr>\n'
        rule = "" if Look.NO_RULES in self.look else rule
        table = '  <table id="indexlist">\n   <tr class="indexhead">' if styled else "  <table>\n   <tr>"
        yield f"{table}{''.join(heads)}</tr>\n{rule}"
        for place, entry in enumerate(self.entries):
            yield f"{self._row(place, entry)}{''.join(self._table_cells(entry))}</tr>\n"
        yield f"{rule}</table>\n"

    def _row(self, place: int, entry: Entry) -> str:
        if not self.style.sheet:
            return "<tr>"
        name = "odd" if place % 2 else "even"
        if Look.ALT_CLASS in self.look and entry.alt is not None:
            name = f"{name}-{html(entry.alt.lower())}"
        return f'   <tr class="{name}">'

    def _table_cells(self, entry: Entry) -> Iterator[str]:
        if Look.NO_ICON not in self.look:
            yield f"<td{self._class('indexcolicon', _TOP)}>{self._icon(entry, '&nbsp;', '')}</td>"
        shown, gap = (html(_PARENT if entry.is_parent else entry.name), "") if self.name.fits else self._name(entry)
        yield f'<td{self._class("indexcolname")}><a href="{link(entry.name)}">{shown}</a>{gap}</td>'
        if Look.NO_MODIFIED not in self.look:
            if entry.modified is None:
                yield f"<td{self._class('indexcollastmod')}>&nbsp;</td>"
            else:
                yield f"<td{self._class('indexcollastmod', _RIGHT)}>{self._date(entry.modified)}  </td>"
        if Look.NO_SIZE not in self.look:
            yield f"<td{self._class('indexcolsize', _RIGHT)}>{shown_size(entry.size)}</td>"
        if Look.NO_DESCRIPTION not in self.look:
            text = "&nbsp;" if entry.description is None else entry.description
            if entry.description is not None and not self.description.fits:
                text = shortened(text, self.description_width)
            yield f"<td{self._class('indexcoldesc')}>{text}</td>"

    def _shown(self) -> Iterator[tuple[str, str, str, Look]]:
        return (column for column in _COLUMNS if not column[3] & self.look)

    def _class(self, name: str, plain: str = "") -> str:
        return f' class="{name}"' if self.style.sheet else plain

    def _sizes(self) -> str:
        width, height = self.style.options.icon_width, self.style.options.icon_height
        return (f' width="{width}"' if width else "") + (f' height="{height}"' if height else "")

    def _sorts(self, key: str, text: str) -> str:
        """The name of a column: a link that sorts by it, or the other way round if it is sorted so."""
        if Look.NO_SORTING in self.look:
            return text
        order = "D" if key == self.view.key and not self.view.descending else "A"
        return f'<a href="?C={key};O={order}{self.view.arguments}">{text}</a>'

    def _icon(self, entry: Entry, none: str, gap: str) -> str:
        if Look.NO_ICON in self.look:
            return ""
        url = entry.icon or self.style.default_icon
        shown = none
        if url:
            alt = "   " if entry.alt is None else html(entry.alt)
            shown = f'<img src="{html(url)}" alt="[{alt}]"{self._sizes()}{self.slash}>'
        if Look.ICONS_ARE_LINKS in self.look:
            shown = f'<a href="{link(entry.name)}">{shown}</a>'
        return f"{shown}{gap}"

    def _name(self, entry: Entry) -> tuple[str, str]:
        """A name in its column, and the space after it."""
        shown = _PARENT if entry.is_parent else entry.name
        if len(shown) > self.name_width:
            shown = f"{shown[: self.name_width - _CUT]}..>"
        return html(shown), " " * (self.name_width - len(shown))

    def _date(self, modified: float) -> str:
        return time.strftime(self.date, time.localtime(modified))


_TOP = ' valign="top"'
_RIGHT = ' align="right"'


def head(style: Style, look: Look, title: str) -> str:
    """The beginning of a page, up to its body."""
    xhtml = Look.XHTML in look
    sheet = f'  <link rel="stylesheet" href="{html(style.sheet)}" type="text/css"{" /" if xhtml else ""}>\n'
    start = f"{_XHTML if xhtml else _HTML} <head>\n  <title>Index of {title}</title>\n"
    return f"{start}{sheet if style.sheet else ''}{style.head} </head>\n <body>\n"


def heading(style: Style, title: str) -> str:
    """The heading of a page without a header file."""
    return f'  <h1 id="indextitle">Index of {title}</h1>\n' if style.sheet else f"<h1>Index of {title}</h1>\n"


def preformatted(text: str) -> str:
    """A text file within a page."""
    return f"<pre>\n{escape(text, quote=False)}</pre>\n"
