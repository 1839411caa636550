"""mod_autoindex: listings of folders that have no index.

A listing is made in pieces, between which other clients are served, as a folder may have many
entries. Each entry is asked for by a subrequest: what the client may not see is left out. So a
listing depends on more than the folder, and is never remembered.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from itertools import islice
from stat import S_ISDIR, S_ISREG
from typing import TypeVar

from ownhost.config.arguments import choice_of, flag, one_word, words
from ownhost.config.directive import (
    ANYWHERE,
    Call,
    Directive,
    Override,
    Setting,
    declare,
    extend,
    inner_then_outer,
)
from ownhost.http.dates import format_date
from ownhost.http.message import HTTPError, Response, let_go
from ownhost.http.wire import wire
from ownhost.modules.core_files import entity_tag, send_file
from ownhost.modules.listings import files, options, page
from ownhost.modules.listings.entries import Entry, merged, sorted_chunks
from ownhost.modules.listings.labels import (
    BLANK,
    FOLDER,
    PARENT,
    By,
    Description,
    Ignored,
    Labelling,
    Labels,
    and_more,
    ignored,
    ignored_more,
    inner_first,
    parse_alt,
    parse_description,
    parse_icon,
    parse_ignored,
)
from ownhost.modules.listings.options import IndexOptions, Look
from ownhost.modules.listings.view import KEYS, asked
from ownhost.modules.mod_dir import DIRECTORY, DIRECTORY_INDEX
from ownhost.request.links import OPTIONS, Option
from ownhost.request.module import Module, register
from ownhost.request.names import signature
from ownhost.request.redirects import subrequest
from ownhost.request.request import Level, Phase, Request
from ownhost.request.road import advance

MOST_ENTRIES = 200_000  # of a folder: the rest is left out, as a page with more is of no use
PIECE = 32  # entries that are looked at before other clients are served
_ROWS = 500  # the same, of HTML
_CHARSET = "ISO-8859-1"  # Apache's, unless an option says another
_RULE = "<hr>\n"  # before a signature elsewhere

INDEX_OPTIONS: Setting[IndexOptions] = Setting("IndexOptions", IndexOptions(), options.merge)
ORDER: Setting[tuple[str, bool]] = Setting("IndexOrderDefault", ("N", False))
LABELS: Setting[Labels] = Setting("AddIcon", Labels(), inner_first)
DESCRIPTIONS: Setting[tuple[Description, ...]] = Setting("AddDescription", (), inner_then_outer)
IGNORED: Setting[Ignored] = Setting("IndexIgnore", Ignored(), ignored)
DEFAULT_ICON = Setting("DefaultIcon", "")
STYLE_SHEET = Setting("IndexStyleSheet", "")
HEAD_INSERT = Setting("IndexHeadInsert", "")
HEADER_NAME = Setting("HeaderName", "")
README_NAME = Setting("ReadmeName", "")


def parse_order(call: Call) -> tuple[str, bool]:
    """A direction and a column: the column's key, and whether the largest comes first."""
    direction, column = words(2, 2)(call)
    descending = choice_of({"Ascending": False, "Descending": True})(direction)
    return choice_of(KEYS)(column), descending


def parse_reset(call: Call) -> Ignored:
    """On or Off."""
    return Ignored(alone=flag()(call))


_WHAT = {By.NAME: "names", By.TYPE: "media types", By.ENCODING: "encodings"}
for _by, _suffix in ((By.NAME, ""), (By.TYPE, "ByType"), (By.ENCODING, "ByEncoding")):
    declare(
        Directive(
            f"AddIcon{_suffix}",
            "mod_autoindex",
            f"URL|(text,URL) {_WHAT[_by].split()[-1][:-1]}...",
            ANYWHERE,
            f"The icon of entries of listings, by {_WHAT[_by]}, and a text in its place.",
            parse_icon(_by),
            setting=LABELS,
            fold=and_more,
            override=Override.INDEXES,
        )
    )
    declare(
        Directive(
            f"AddAlt{_suffix}",
            "mod_autoindex",
            f"text {_WHAT[_by].split()[-1][:-1]}...",
            ANYWHERE,
            f"The text in place of the icon of entries of listings, by {_WHAT[_by]}.",
            parse_alt(_by),
            setting=LABELS,
            fold=and_more,
            override=Override.INDEXES,
        )
    )

for _directive in (
    Directive(
        "IndexOptions",
        "mod_autoindex",
        "[+|-]option...",
        ANYWHERE,
        "How listings look.",
        options.parse_options,
        setting=INDEX_OPTIONS,
        fold=options.fold,
        words=(options.OPTIONS,),
    ),
    Directive(
        "IndexOrderDefault",
        "mod_autoindex",
        "Ascending|Descending Name|Date|Size|Description",
        ANYWHERE,
        "The order of listings, unless a client asks for another.",
        parse_order,
        setting=ORDER,
        default="Ascending Name",
    ),
    Directive(
        "IndexIgnore",
        "mod_autoindex",
        "name...",
        ANYWHERE,
        "The names that listings leave out; * and ? stand for any characters.",
        parse_ignored,
        setting=IGNORED,
        fold=ignored_more,
    ),
    Directive(
        "IndexIgnoreReset",
        "mod_autoindex",
        "On|Off",
        ANYWHERE,
        "Whether only the IndexIgnore of this scope counts, not that of scopes around.",
        parse_reset,
        setting=IGNORED,
        fold=ignored_more,
        default="Off",
    ),
    Directive(
        "AddDescription",
        "mod_autoindex",
        "text name...",
        ANYWHERE,
        "What listings say about files, as HTML, by parts of their names or by patterns.",
        parse_description,
        setting=DESCRIPTIONS,
        fold=extend,
    ),
    Directive(
        "HeaderName",
        "mod_autoindex",
        "name",
        ANYWHERE,
        "The file above listings: HTML or text.",
        one_word(),
        setting=HEADER_NAME,
    ),
    Directive(
        "ReadmeName",
        "mod_autoindex",
        "name",
        ANYWHERE,
        "The file below listings: HTML or text.",
        one_word(),
        setting=README_NAME,
    ),
    Directive(
        "DefaultIcon",
        "mod_autoindex",
        "URL",
        ANYWHERE,
        "The icon of all entries of listings that have no other.",
        one_word(),
        setting=DEFAULT_ICON,
    ),
    Directive(
        "IndexStyleSheet",
        "mod_autoindex",
        "URL",
        ANYWHERE,
        "The style sheet of listings. Their elements have classes then.",
        one_word(),
        setting=STYLE_SHEET,
    ),
    Directive(
        "IndexHeadInsert",
        "mod_autoindex",
        "HTML",
        ANYWHERE,
        "What is put into the head of listings, as HTML.",
        one_word(),
        setting=HEAD_INSERT,
    ),
):
    declare(replace(_directive, override=Override.INDEXES))


def list_folder(request: Request) -> Response:
    """The handler of folders. Raises HTTPError: 403 unless Options Indexes is on, and what files answer."""
    if request.method not in ("GET", "HEAD"):
        return send_file(request)
    settings = request.settings
    if Option.INDEXES not in settings[OPTIONS]:
        index: tuple[str, ...] = settings[DIRECTORY_INDEX]
        names = ",".join(index) or "none"
        why = f"No matching DirectoryIndex ({names}) found, and server-generated directory index forbidden"
        reason = f"AH01276: Cannot serve directory {request.filename}: {why} by Options directive"
        raise HTTPError(403, reason, module="autoindex")
    request.pure = False
    return Response(200, deferred=lambda _: _Listing(request).response())


T = TypeVar("T")


async def _in_pieces(items: Iterable[T], size: int) -> AsyncIterator[T]:
    """Items, and a turn for other clients after so many."""
    for count, item in enumerate(items, 1):
        yield item
        if count % size == 0:
            await asyncio.sleep(0)


class _Listing:
    """One listing, while it is made."""

    def __init__(self, request: Request) -> None:
        settings = request.settings
        self.request = request
        self.options = settings[INDEX_OPTIONS]
        self.view = asked(request.query, self.options.look, settings[ORDER])
        self.folder = request.filename.rstrip("/") + "/"
        self.uri = request.uri.rstrip("/") + "/"
        descriptions: tuple[Description, ...] = settings[DESCRIPTIONS]
        self.labelling = Labelling(self.folder, settings[LABELS], settings[IGNORED], descriptions)
        self.has_columns = bool(self.view.look & (Look.FANCY | Look.TABLE))

    async def response(self) -> Response:
        """The page. Raises HTTPError 403 if the folder cannot be read."""
        entries = [entry async for entry in self._entries()]
        parts = [part async for part in self._parts(entries)]
        charset = _CHARSET if self.options.charset is None else self.options.charset
        media_type = self.options.type or "text/html"
        self.request.content_type = f"{media_type};charset={charset}" if charset else media_type
        fields = [("Content-Type", self.request.content_type)]
        stat = self.request.stat
        if Look.TRACK_MODIFIED in self.view.look and stat is not None:
            fields.append(("Last-Modified", format_date(min(stat.st_mtime, self.request.time))))
            etag = entity_tag(self.request, stat)
            fields += [("ETag", etag)] if etag is not None else []
        return Response(200, fields, "".join(parts).encode("latin-1"))

    async def _parts(self, entries: list[Entry]) -> AsyncIterator[str]:
        """The page, from its head to its end."""
        settings, look = self.request.settings, self.view.look
        style = page.Style(
            self.options,
            wire(settings[STYLE_SHEET]),
            wire(settings[HEAD_INSERT]),
            wire(settings[DEFAULT_ICON]),
            self.labelling.icons.by_name(BLANK),
        )
        title = page.html(wire(self.request.uri)).rstrip("/") or "/"
        header = await self._file(settings[HEADER_NAME])
        if header is None or not (header.is_html and Look.NO_PREAMBLE in look):
            yield page.head(style, look, title)
        yield page.heading(style, title) if header is None else header.content
        chunks = [chunk async for chunk in _in_pieces(sorted_chunks(entries, self.view), 1)]
        rows = page.Page(style, self.view, [entry async for entry in _in_pieces(merged(chunks, self.view), _ROWS)])
        async for row in _in_pieces(rows.rows(), _ROWS):
            yield row
        readme = await self._file(settings[README_NAME])
        yield wire(signature(self.request).removeprefix(_RULE)) if readme is None else readme.content
        if readme is None or not (readme.is_html and Look.NO_PREAMBLE in look):
            yield page.END

    async def _file(self, name: str) -> files.Part | None:
        """The file above or below the listing; None if there is none."""
        inner = files.found(self.request, name) if name else None
        return None if inner is None else await files.content(inner)

    async def _entries(self) -> AsyncIterator[Entry]:
        """The entries, in no order. Raises HTTPError 403."""
        parent = self._parent()
        if parent is not None:
            yield parent
        try:
            with os.scandir(self.folder) as scan:
                async for found in _in_pieces(islice(scan, MOST_ENTRIES), PIECE):
                    entry = self._entry(found)
                    if entry is not None:
                        yield entry
                if next(scan, None) is not None:
                    what = f"{self.folder} has more than {MOST_ENTRIES} entries: the rest is not listed"
                    self.request.log(Level.ERROR, "autoindex", what)
        except OSError as error:
            reason = f"AH01275: Can't open directory for index: {self.folder}: {error.strerror}"
            raise HTTPError(403, reason, module="autoindex") from None

    def _parent(self) -> Entry | None:
        if self.uri == "/" or self.labelling.leaves_out(PARENT):
            return None
        entry = Entry(wire(self.uri.rstrip("/").rpartition("/")[0] + "/"), is_parent=True)
        if Look.FANCY in self.view.look:
            path = f"{wire(self.folder)}{PARENT}"
            icons, alts = self.labelling.icons, self.labelling.alts
            entry.icon = icons.by_name(path) or icons.by_name(FOLDER)
            entry.alt = alts.by_name(path) or alts.by_name(FOLDER) or "PARENTDIR"
            entry.description = self.labelling.description(path)
        return entry

    def _entry(self, found: os.DirEntry[str]) -> Entry | None:
        """The entry of a name; None if it is left out."""
        name = wire(found.name)
        if (self.view.shows and not self.view.shows(name)) or self.labelling.leaves_out(name):
            return None
        slash = "/" if _leads_to_folder(found) else ""
        inner = subrequest(self.request, f"{self.uri}{found.name}{slash}", filename=f"{self.folder}{found.name}{slash}")
        if not self._is_shown(inner) or inner.stat is None:
            return None
        entry = Entry(name + slash, is_folder=bool(slash))
        if self.has_columns:
            self._describe(entry, inner, inner.stat)
        return entry

    def _is_shown(self, inner: Request) -> bool:
        """Whether the client may see a file or folder."""
        try:
            response = advance(inner, Phase.FIXUPS)
            status = 200 if response is None else response.status
            if response is not None:
                let_go(response.body)
        except HTTPError as error:
            status = error.status
        if inner.stat is None or not (S_ISREG(inner.stat.st_mode) or S_ISDIR(inner.stat.st_mode)):
            return False
        return status < 400 or (status in (401, 403) and Look.SHOW_FORBIDDEN in self.view.look)

    def _describe(self, entry: Entry, inner: Request, stat: os.stat_result) -> None:
        """Fill the columns of an entry."""
        icons, alts = self.labelling.icons, self.labelling.alts
        path = f"{wire(self.folder)}{entry.name.rstrip('/')}"
        entry.modified = stat.st_mtime
        if entry.is_folder:
            entry.icon = icons.by_name(path) or icons.by_name(FOLDER)
            entry.alt = alts.by_name(path) or alts.by_name(FOLDER) or "DIR"
        else:
            about = (path, files.media_type(inner), ", ".join(inner.encodings))
            entry.icon, entry.alt, entry.size = icons.of_file(*about), alts.of_file(*about), stat.st_size
        entry.description = self.labelling.description(path)
        if entry.description is None and Look.SCAN_TITLES in self.view.look:
            entry.description = files.title_of(inner)


def _leads_to_folder(found: os.DirEntry[str]) -> bool:
    try:
        return found.is_dir()
    except OSError:
        return False


register(Module(name="mod_autoindex", identifier="autoindex_module", handlers={DIRECTORY: list_folder}))
