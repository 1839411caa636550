"""A configuration after reading: servers, virtual hosts, sections. Plain data that pickles.

`read` (in `reader`) makes a `Config` from text. It merges main server and virtual host, once.
Sections are merged per request (`request.merge`), and the result is remembered per set of sections
that matched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ownhost.config.directive import Problem, Setting, Settings, Source
from ownhost.config.expression import Condition
from ownhost.config.loading import Modules
from ownhost.config.macros import Macro
from ownhost.config.regex import Pattern


class SectionKind(StrEnum):
    """The sections that limit directives to some requests, in the order in which Apache merges them."""

    DIRECTORY = "Directory"
    HTACCESS = ".htaccess"  # a file in a folder: after the folder's own sections, before those of folders in it
    DIRECTORY_MATCH = "DirectoryMatch"
    PROXY = "Proxy"  # instead of those two, if another server answers
    PROXY_MATCH = "ProxyMatch"
    FILES = "Files"  # Files and FilesMatch merge in order of appearance, as one group
    FILES_MATCH = "FilesMatch"
    LOCATION = "Location"  # Location and LocationMatch too
    LOCATION_MATCH = "LocationMatch"
    IF = "If"
    ELSE_IF = "ElseIf"
    ELSE = "Else"
    LIMIT = "Limit"  # these two make no `Section`: they are for access rules, which keep their methods
    LIMIT_EXCEPT = "LimitExcept"


@dataclass(slots=True)
class Section:
    """One <Directory>, <Files>, <Location>, <If>... and its settings.

    `pattern` is the argument as written (a path, a glob, an expression). `regex` is set if matching
    needs one: the Match forms, `~` forms and globs. A literal path has none. Named groups of a
    Match section become MATCH_NAME variables. An <ElseIf> or <Else> follows its <If> in the same
    list; `condition` belongs to the first two.
    """

    kind: SectionKind
    pattern: str
    source: Source
    regex: Pattern | None = None
    settings: Settings = field(default_factory=Settings)
    origins: dict[str, Source] = field(default_factory=dict)  # setting name -> where it was set (last)
    sections: list[Section] = field(default_factory=list)  # nested, in order of appearance
    condition: Condition | None = None

    def says(self, *wanted: Setting[Any]) -> bool:
        """Whether it, or a section in it, has one of some settings."""
        return _says(self.settings, self.sections, wanted)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """What a Listen line, or an argument of <VirtualHost>, names.

    `host` is a numeric address without brackets, or "" for any address ("*", "_default_"). `port` 0 is any port
    (only in <VirtualHost>).
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"{host}:{self.port or '*'}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A Listen line."""

    address: ListenAddress
    source: Source
    protocol: str = "http"


@dataclass(frozen=True, slots=True)
class Fault:
    """An error in a virtual host. The virtual host is then answered with 500; others are not affected.

    `spoiled` are the names of settings that it has in an unreadable form. `unknown`: it has lines
    that could be anything (a file that cannot be read, an unknown directive). `placeless`: it has
    no valid address, so it has its names at every address, after all others.
    """

    problems: tuple[Problem, ...]
    spoiled: frozenset[str] = frozenset()
    unknown: bool = False
    placeless: bool = False

    def __str__(self) -> str:
        first, *more = self.problems
        return f"{first} (and {len(more)} more)" if more else str(first)


@dataclass(slots=True)
class Surroundings:
    """What .htaccess files find defined. Only what stands outside of virtual hosts is for everybody."""

    server_root: str
    modules: Modules
    defines: frozenset[str] = frozenset()
    variables: dict[str, str] = field(default_factory=dict)  # lower-case name to value
    macros: dict[str, Macro] = field(default_factory=dict)


@dataclass(slots=True)
class VirtualHost:
    """A server that answers requests: the main server (id 0) or a <VirtualHost>.

    In a finished `Config` it contains the settings and sections of the main server: `sections` has
    the main server's first, then the virtual host's own. `hosts` has the host part of each address
    in <VirtualHost>, in lower case without brackets: a name of last resort.
    """

    id: int
    source: Source
    addresses: tuple[ListenAddress, ...] = ()
    settings: Settings = field(default_factory=Settings)
    origins: dict[str, Source] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    hosts: tuple[str, ...] = ()
    loaded: frozenset[str] | None = None  # the modules of LoadModule lines; None if there is no such line
    fault: Fault | None = None  # why it is answered with 500
    surroundings: Surroundings | None = None  # of its .htaccess files; None if it reads none

    def says(self, *wanted: Setting[Any]) -> bool:
        """Whether it, or a section in it, has one of some settings."""
        return _says(self.settings, self.sections, wanted)


def _says(settings: Settings, sections: list[Section], wanted: tuple[Setting[Any], ...]) -> bool:
    return any(one in settings for one in wanted) or any(section.says(*wanted) for section in sections)


@dataclass(slots=True)
class Config:
    """A configuration without errors, except those within single virtual hosts."""

    server_root: str
    main: VirtualHost
    virtual_hosts: list[VirtualHost]
    listeners: list[Listener]
    notes: list[Problem] = field(default_factory=list)
    without_effect: list[Problem] = field(default_factory=list)  # each use of a directive without effect
    files: list[str] = field(default_factory=list)  # every file read

    @property
    def servers(self) -> list[VirtualHost]:
        """The main server and all virtual hosts; `servers[n].id == n`."""
        return [self.main, *self.virtual_hosts]

    @property
    def faults(self) -> list[Problem]:
        """The errors within virtual hosts."""
        return [problem for server in self.virtual_hosts if server.fault for problem in server.fault.problems]
