"""A request on its way through the phases, and what its connection knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from stat import S_ISDIR
from typing import Any, NamedTuple, Protocol

from ownhost.config.directive import Settings
from ownhost.config.model import VirtualHost
from ownhost.http.level import Level as Level
from ownhost.http.message import Head, Response
from ownhost.http.tls import TLSFacts
from ownhost.http.wire import unwire
from ownhost.identity.identity import Assignment
from ownhost.request.given_files import GivenFiles
from ownhost.request.programs import Launcher
from ownhost.request.proxied import PROXIED
from ownhost.request.sections import Sections
from ownhost.request.target import ALLOW_ENCODED_SLASHES, MERGE_SLASHES, clean_path, normalized_path


class Phase(IntEnum):
    """The phases of a request, in their order. `phases.PHASES` says what is done in each."""

    RECEIVE = 0  # what needs neither a file nor a module: TRACE, OPTIONS *
    TRANSLATE = 1  # from the URI to a file name, or to another server
    WALK = 2  # what the file name leads to, and which settings hold there
    ACCESS = 3  # may this client see it
    FIXUPS = 4  # types, environment, redirects that need the file
    HANDLER = 5  # make the response
    FINISH = 6  # add to the response: its fields


class Elsewhere(Exception):
    """A request turned out to be another identity's: it moves on, untouched."""

    def __init__(self, assignment: Assignment) -> None:
        super().__init__(f"to be served as {assignment}")
        self.assignment = assignment


@dataclass(slots=True)
class Endpoints:
    """Both ends of the client's connection, as the kernel gave them. Addresses are numeric, without brackets.

    Where a front proxy that is believed speaks for the client, `peer` is that proxy: who has the connection.
    """

    client: str
    client_port: int
    local: str
    local_port: int
    secure: bool = False  # whether it is encrypted
    peer: str = ""  # "" is the client
    peer_port: int = 0
    known: TLSFacts | Callable[[], TLSFacts] | None = None  # of that: see `tls`

    @property
    def tls(self) -> TLSFacts | None:
        """What is known of the encryption. OpenSSL is asked for it once somebody wants to know, which few do."""
        if callable(self.known):
            self.known = self.known()
        return self.known


class Place(NamedTuple):
    """Where a URI leads: a file name (not checked yet), and the handler asked for with it ("" for none)."""

    filename: str
    handler: str = ""


Hook = Callable[["Request"], "Response | None"]
Handler = Callable[["Request"], Response]
Locate = Callable[["Request"], "Place | Response | None"]


class Leg(NamedTuple):
    """The steps of one phase. `until_found`: as in Apache, the rest is left out once there is a file name."""

    hooks: tuple[Hook, ...]
    until_found: bool
    next: Phase


Road = tuple[Leg, ...]  # by phase


class Memory(Protocol):
    """The answers that are remembered (memory.Memory)."""

    def recall(self, request: Request, /) -> Response | None:
        """The answer to a request, if it is remembered and still true."""

    def remember(self, request: Request, response: Response, /) -> None:
        """Remember an answer, where the next request like this one will get it, too."""


class Ways(Protocol):
    """The ways that are remembered to what programs answer (ways.Ways)."""

    def recall(self, request: Request, /) -> Handler | None:
        """Bring a request to where its way ends, if that is remembered and still true: the handler there."""

    def remember(self, request: Request, head: Head, /) -> None:
        """Remember the way that a request has come, whose head was this one."""


class SiteFacts:
    """What a request and its phases know of the virtual host (site.Site, which makes it)."""

    virtual_host: VirtualHost
    settings: Settings
    is_mine: Callable[[Assignment], bool]  # whether an assignment comes to this process's identity
    fixed: bool  # whether all requests have one identity
    sections: Sections
    follows_links: bool  # whether there is no link that may not be followed
    locates: bool  # whether sections have a say before it is known where a URI leads
    road: Road
    arrivals: Sequence[Callable[[Request], None]]
    earlies: Sequence[Callable[[Request], None]]
    pretranslates: Sequence[Hook]
    locators: Sequence[Locate]
    finishes: Sequence[Callable[[Request, Response], None]]
    handlers: dict[str, Handler]
    programs: Mapping[tuple[str, ...], Callable[[str], str | None]]  # by command: RewriteMap prg:
    opened: GivenFiles  # files that its settings name, whoever may read them
    launcher: Launcher | None  # of a process that may have programs run
    traces_rewrite: bool  # whether rewriting is to say each of its steps
    memory: Memory
    ways: Ways

    def clean(self, raw: str) -> str:
        """A path as sent, decoded and cleaned. Raises HTTPError."""
        encoded = self.settings[ALLOW_ENCODED_SLASHES]
        return clean_path(raw, encoded_slashes=encoded, merge_slashes=self.settings[MERGE_SLASHES])

    def normalize(self, raw: str) -> str:
        """A path as sent, encoded yet, cleaned. Raises HTTPError."""
        return unwire(normalized_path(raw, merge_slashes=self.settings[MERGE_SLASHES]))


_NOTHING_SAID = Settings()


@dataclass(slots=True)
class Request:
    """One request. Phases fill it in, in the order of the fields."""

    head: Head
    endpoints: Endpoints
    site: SiteFacts  # the virtual host
    time: float  # when the head was complete, seconds since the epoch
    log: Callable[[Level, str, str], None]  # level, module ("core", "dir"), message

    phase: Phase = Phase.RECEIVE  # the next one
    outcome: Response | Exception | None = None  # what a look at the first phases has found already: it holds
    # translate
    uri: str = ""  # the path, percent-decoded and cleaned
    query: str | None = None
    filename: str = ""  # "" until translated
    alias: str = ""  # the handler that a ScriptAlias asked for
    document_root: str = ""  # "" is DocumentRoot
    context_prefix: str = ""  # the part of the path that an Alias stands for, and where it leads
    context_document_root: str = ""  # "" is the document root
    # walk
    path_info: str = ""
    stat: os.stat_result | None = None  # of `filename`, where it exists
    settings: Settings = field(default_factory=lambda: _NOTHING_SAID)
    assignment: Assignment | None = None  # who serves, where the virtual host lets requests choose
    permitted: bool = False  # somebody has let the client in, whatever other rules say (Satisfy Any)
    # fixups
    handler: str = ""  # "" is the default handler: files
    content_type: str = ""
    encodings: list[str] = field(default_factory=list)  # Content-Encoding
    languages: list[str] = field(default_factory=list)  # Content-Language
    env: dict[str, str] = field(default_factory=dict)  # subprocess_env
    notes: dict[str, str] = field(default_factory=dict)
    vary: list[str] = field(default_factory=list)  # fields of the request that the response depends on (Vary)
    fields: list[tuple[str, str]] = field(default_factory=list)  # of the response, whatever it comes to be
    # internal redirects (ErrorDocument, DirectoryIndex): the request this one stands in for
    previous: Request | None = None
    is_subrequest: bool = False  # a look at another URI in the same breath: its variables are the request's own
    answered_by: Request | None = None  # the request for an ErrorDocument, where one answers in this one's stead
    status: int = 200  # of the response, as far as it is known
    error_status: int = 0  # the status that an ErrorDocument is served for
    pure: bool = True  # so far, everything decided follows from virtual host, path and file system alone
    handled_by: Callable[[Request], Response] | None = None  # the handler, where all that led to it is pure
    known: dict[str, Any] | None = None  # for handlers: what follows from its way, where that is remembered

    @property
    def method(self) -> str:
        """The method, in capitals as sent."""
        return self.head.method

    @property
    def virtual_host(self) -> VirtualHost:
        """The virtual host that answers."""
        return self.site.virtual_host

    def become(self, other: Request) -> None:
        """Take over what was found for another request, to go on as that one: an index in its folder's stead."""
        for name in _FOUND:
            setattr(self, name, getattr(other, name))
        self.vary += [field for field in other.vary if field not in self.vary]
        if other.fields is not self.fields:
            self.fields += other.fields

    @property
    def is_proxied(self) -> bool:
        """Whether another server is to answer, and there is no file."""
        return self.filename.startswith(PROXIED)

    @property
    def is_folder(self) -> bool:
        """Whether the file name leads to a folder."""
        return self.stat is not None and S_ISDIR(self.stat.st_mode)


# What the phases find. Endpoints and what came before stay a request's own.
_FOUND = (
    "phase",
    "head",
    "uri",
    "query",
    "filename",
    "alias",
    "document_root",
    "context_prefix",
    "context_document_root",
    "path_info",
    "stat",
    "settings",
    "handler",
    "content_type",
    "encodings",
    "languages",
    "env",
    "notes",
    "pure",
)
