"""Which sections apply to a request, and their merged settings: in Apache's order (sections.html,
"How the sections are merged").

Directory, shortest path first, and after those for a folder its .htaccess file; DirectoryMatch,
fewest slashes first; Files and FilesMatch; Location and LocationMatch; If. Within a group, the
order is the configuration's, the main server's before the virtual host's. Sections inside of a
Directory, .htaccess file, Files or Location belong to their own kind's group, after those outside;
an If within an If comes after all that are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ownhost.config.directive import Settings
from ownhost.config.expression import Condition
from ownhost.config.model import Section, SectionKind
from ownhost.config.overrides import ALLOW_OVERRIDE, ALLOW_OVERRIDE_LIST, Allowed, allowed
from ownhost.request.proxied import PROXIED

K = SectionKind
_FILES = (K.FILES, K.FILES_MATCH)
_PROXY = (K.PROXY, K.PROXY_MATCH)
_LOCATION = (K.LOCATION, K.LOCATION_MATCH)
_IF = (K.IF, K.ELSE_IF, K.ELSE)
BY_URI = frozenset((*_LOCATION, *_IF))  # the sections that apply before the requested file is known
_SLASHES = re.compile("/{2,}")
MAX_REMEMBERED = 4_096  # merges

# Reads the .htaccess file of a folder, whose name ends with "/"; None if there is none.
ReadFolder = Callable[[str, Allowed], "Section | None"]


@dataclass(frozen=True, slots=True)
class Target:
    """The properties of a request that sections look at.

    `folders` are those in the file's path, each with "/" at its end, outermost first; the last one
    may be the file itself; there are none if another server answers. `name` is the last component
    of `filename`; "" if that ends with "/". `holds` evaluates an <If>.
    """

    uri: str
    filename: str
    folders: Sequence[str]
    name: str
    holds: Callable[[Condition], bool]


@dataclass(slots=True)
class Match:
    """The sections that apply, in the order of merging, and the MATCH_ variables of named groups."""

    sections: list[Section] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


def target_of(uri: str, filename: str, holds: Callable[[Condition], bool], *, whole: bool) -> Target:
    """The target for a file name. `whole`: Directory sections may match all of it, and not only folders above."""
    if filename.startswith(PROXIED):
        return Target(uri, filename, (), "", holds)
    folder, _, name = filename.rpartition("/")
    folders = ["/"]
    for part in folder.split("/")[1:]:
        folders.append(f"{folders[-1]}{part}/")
    if folder == "":
        folders = ["/"]
    if whole and name:
        folders.append(f"{filename}/")
    return Target(uri, filename, folders, name, holds)


class Sections:
    """The sections of one server, sorted by kind, and the results of earlier merges."""

    def __init__(self, server: Settings, sections: Sequence[Section]) -> None:
        self.server = server
        # The sections are kept, as their ids are the keys.
        self.merges: dict[tuple[int, ...], tuple[list[Section], Settings]] = {}
        self.directories: dict[str, list[tuple[int, Section]]] = {}  # literal paths
        self.directory_globs: list[tuple[int, Section]] = []
        self.directory_matches: list[Section] = []
        for place, section in enumerate(sections):
            if section.kind is K.DIRECTORY:
                if section.regex is None:
                    self.directories.setdefault(section.pattern, []).append((place, section))
                else:
                    self.directory_globs.append((place, section))
            elif section.kind is K.DIRECTORY_MATCH:
                self.directory_matches.append(section)
        self.directory_matches.sort(key=lambda section: section.pattern.count("/"))
        self.files = [section for section in sections if section.kind in _FILES]
        self.proxies = [section for section in sections if section.kind in _PROXY]
        self.locations = [section for section in sections if section.kind in _LOCATION]
        self.ifs = [section for section in sections if section.kind in _IF]
        self.empty = not sections

    def match(self, target: Target, read: ReadFolder | None = None) -> Match:
        """The sections that apply to a target. `read` reads .htaccess files."""
        found = Match()
        if self.empty:
            return found
        for _, sections in self._by_folder(target.folders, read):
            found.sections += sections
        if target.filename.startswith(PROXIED):
            found.sections += self._proxies(found, target.filename.removeprefix(PROXIED))
        else:
            found.sections += self._matching(found, self.directory_matches, target.filename)
        self._add_files(found, [*self.files, *_inside(found.sections, _FILES)], target)
        found.sections += self._locations(found, target)
        self._add_ifs(found, target)
        return found

    def match_uri(self, target: Target) -> Match:
        """The sections that apply by the URI alone, before it leads to a file."""
        found = Match()
        found.sections += self._locations(found, target)
        self._add_ifs(found, target)
        return found

    def merge(self, match: Match) -> Settings:
        """The server's settings, overridden by those of the sections; remembered for the next request."""
        if not match.sections:
            return self.server
        key = tuple(map(id, match.sections))
        known = self.merges.get(key)
        if known is not None:
            return known[1]
        merged = self.server
        for section in match.sections:
            merged = merged.merged(section.settings)
        if len(self.merges) >= MAX_REMEMBERED:
            self.merges.clear()
        self.merges[key] = match.sections, merged
        return merged

    def folder_settings(self, folders: Sequence[str], read: ReadFolder | None = None) -> Iterable[tuple[str, Settings]]:
        """Each folder, with its settings from Directory sections and .htaccess alone: for the rules on links."""
        merged = self.server
        for folder, sections in self._by_folder(folders, read):
            for section in sections:
                merged = merged.merged(section.settings)
            yield folder, merged

    # Groups

    def _by_folder(self, folders: Sequence[str], read: ReadFolder | None) -> Iterator[tuple[str, Sequence[Section]]]:
        """Each folder with the sections for exactly that one, and last its .htaccess, if it may have any."""
        if read is None:
            for folder in folders:
                yield folder, self._at(folder)
            return
        permitted = allowed(self.server)
        said = self.server
        for folder in folders:
            sections = self._at(folder)
            for section in sections:
                if ALLOW_OVERRIDE in section.settings or ALLOW_OVERRIDE_LIST in section.settings:
                    said = said.merged(section.settings)
                    permitted = allowed(said)
            inner = read(folder, permitted) if permitted else None
            yield folder, sections if inner is None else [*sections, inner]

    def _at(self, folder: str) -> Sequence[Section]:
        """The Directory sections for exactly this folder."""
        literal = self.directories.get(folder, ())
        if not self.directory_globs:
            return [section for _, section in literal]
        globs = (item for item in self.directory_globs if item[1].regex and item[1].regex.search(folder))
        return [section for _, section in sorted((*literal, *globs), key=lambda item: item[0])]

    def _matching(self, found: Match, sections: Iterable[Section], text: str) -> Iterable[Section]:
        """Those whose regular expression matches; their named groups become variables."""
        for section in sections:
            assert section.regex is not None
            named = section.regex.named(text)
            if named is not None:
                found.variables |= {f"MATCH_{name.upper()}": value for name, value in named.items()}
                yield section

    def _add_files(self, found: Match, sections: Iterable[Section], target: Target) -> None:
        for section in sections:
            if section.kind is K.FILES_MATCH:
                applies = any(True for _ in self._matching(found, (section,), target.name))
            elif section.regex is not None:
                applies = section.regex.search(target.name) != ()
            else:
                applies = section.pattern == target.name
            if applies:
                found.sections.append(section)
                self._add_files(found, _inside([section], _FILES), target)

    def _proxies(self, found: Match, url: str) -> Iterable[Section]:
        """If another server answers: a literal URL matches all that begin with it, as in Apache.

        A Unix socket's path before the URL may be named, or not.
        """
        urls = [url, url.partition("|")[2]] if url.startswith("unix:") else [url]
        for section in self.proxies:
            if section.kind is K.PROXY_MATCH:
                matching = next((one for one in urls if section.regex and section.regex.search(one)), url)
                yield from self._matching(found, (section,), matching)
            elif any(section.regex.search(one) if section.regex else one.startswith(section.pattern) for one in urls):
                yield section

    def _locations(self, found: Match, target: Target) -> Iterable[Section]:
        path = _SLASHES.sub("/", target.uri)
        for section in self.locations:
            if section.kind is K.LOCATION_MATCH:
                yield from self._matching(found, (section,), target.uri)
            elif section.regex is not None:
                if section.regex.search(path):
                    yield section
            elif _is_below(path, section.pattern):
                yield section

    def _add_ifs(self, found: Match, target: Target) -> None:
        """Level by level: inner ones come after all outer ones."""
        level = [*self.ifs, *_inside(found.sections, _IF)]
        while level:
            before = len(found.sections)
            self._add_chosen(found, level, target)
            level = _inside(found.sections[before:], _IF)

    def _add_chosen(self, found: Match, sections: Iterable[Section], target: Target) -> None:
        decided = False  # whether an <If> of the chain was true
        for section in sections:
            if section.kind is K.IF:
                decided = False
            applies = not decided and (section.condition is None or target.holds(section.condition))
            decided = decided or applies
            if applies:
                found.sections.append(section)
                self._add_files(found, _inside([section], _FILES), target)


def _inside(sections: Iterable[Section], kinds: tuple[SectionKind, ...]) -> list[Section]:
    """The sections of some kinds that are directly in others."""
    return [inner for outer in sections for inner in outer.sections if inner.kind in kinds]


def _is_below(path: str, prefix: str) -> bool:
    """Whether a literal <Location> applies: whole components only."""
    if not path.startswith(prefix):
        return False
    return len(path) == len(prefix) or prefix.endswith("/") or path[len(prefix)] == "/"
