"""A request on its way through the phases, and the facts about its connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from math import inf
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
from ownhost.request.sections import ReadFolder, Sections
from ownhost.request.target import ALLOW_ENCODED_SLASHES, MERGE_SLASHES, clean_path, normalized_path


class Phase(IntEnum):
    """The phases of a request, in their order. `phases.PHASES` says what is done in each."""

    RECEIVE = 0  # requests that need neither a file nor a module: TRACE, OPTIONS *
    TRANSLATE = 1  # from the URI to a file name, or to another server
    WALK = 2  # the target of the file name, and the settings that apply there
    ACCESS = 3  # may this client see it
    FIXUPS = 4  # types, environment, redirects that need the file
    HANDLER = 5  # make the response
    FINISH = 6  # add to the response: its fields


class OtherIdentity(Exception):
    """The request turned out to be another identity's: it goes there, unchanged."""

    def __init__(self, assignment: Assignment) -> None:
        super().__init__(f"to be served as {assignment}")
        self.assignment = assignment


@dataclass(slots=True)
class Endpoints:
    """Both ends of the client's connection, as the kernel reports them. Addresses are numeric, without brackets.

    If a trusted front proxy speaks for the client, `peer` is that proxy: it has the connection.
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
        """The facts about the encryption. OpenSSL is asked on first use, which few requests need."""
        if callable(self.known):
            self.known = self.known()
        return self.known


class Place(NamedTuple):
    """The target of a URI: a file name (not checked yet), and its handler ("" for none)."""

    filename: str
    handler: str = ""


Levels = dict[bytes, "os.stat_result | None"]  # .htaccess files and their statuses; None for one that does not exist
Hook = Callable[["Request"], "Response | None"]
Handler = Callable[["Request"], Response]
Locate = Callable[["Request"], "Place | Response | None"]


class Leg(NamedTuple):
    """The steps of one phase. `until_found`: as in Apache, the rest is skipped once there is a file name."""

    hooks: tuple[Hook, ...]
    until_found: bool
    next: Phase


Road = tuple[Leg, ...]  # by phase


class Memory(Protocol):
    """The remembered responses (memory.Memory)."""

    def recall(self, request: Request, /) -> Response | None:
        """The response to a request, if it is remembered and still valid."""

    def remember(self, request: Request, response: Response, /) -> None:
        """Remember a response, if the next request like this one gets the same."""


class Htaccess(Protocol):
    """The .htaccess files of a virtual host (htaccess.Htaccess)."""

    def reader(self, request: Request, /) -> ReadFolder:
        """What reads the file of each folder that a request passes."""


class Routes(Protocol):
    """The remembered routes to programs (routes.Routes)."""

    def recall(self, request: Request, /) -> Handler | None:
        """Bring a request to the end of its route, if that is remembered and still valid. Returns the handler."""

    def remember(self, request: Request, head: Head, /) -> None:
        """Remember the route of a request, whose head was this one."""


class SiteFacts:
    """What a request and its phases know about the virtual host (site.Site makes it)."""

    virtual_host: VirtualHost
    settings: Settings
    is_mine: Callable[[Assignment], bool]  # whether an assignment means this process's identity
    fixed: bool  # whether all requests have one identity
    sections: Sections
    htaccess: Htaccess | None  # of a virtual host that reads any
    follows_links: bool  # whether all links may be followed
    locates: bool  # whether sections apply before a URI's target is known
    road: Road
    arrivals: Sequence[Callable[[Request], None]]
    earlies: Sequence[Callable[[Request], None]]
    pretranslates: Sequence[Hook]
    locators: Sequence[Locate]
    finishes: Sequence[Callable[[Request, Response], None]]
    handlers: dict[str, Handler]
    programs: Mapping[tuple[str, ...], Callable[[str], str | None]]  # by command: RewriteMap prg:
    opened: GivenFiles  # files in its settings, opened by a process that may
    launcher: Launcher | None  # of a process that may run programs
    traces_rewrite: bool  # whether rewriting logs each of its steps
    memory: Memory
    routes: Routes

    def clean(self, raw: str) -> str:
        """A path as sent, decoded and cleaned. Raises HTTPError."""
        encoded = self.settings[ALLOW_ENCODED_SLASHES]
        return clean_path(raw, encoded_slashes=encoded, merge_slashes=self.settings[MERGE_SLASHES])

    def normalize(self, raw: str) -> str:
        """A path as sent, still encoded, cleaned. Raises HTTPError."""
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
    outcome: Response | Exception | None = None  # the result of an earlier look at the first phases: it stays valid
    # translate
    uri: str = ""  # the path, percent-decoded and cleaned
    query: str | None = None
    filename: str = ""  # "" until translated
    alias: str = ""  # the handler of a ScriptAlias
    document_root: str = ""  # "" is DocumentRoot
    context_prefix: str = ""  # the part of the path that an Alias replaces, and its target
    context_document_root: str = ""  # "" is the document root
    # walk
    path_info: str = ""
    stat: os.stat_result | None = None  # of `filename`, if it exists
    settings: Settings = field(default_factory=lambda: _NOTHING_SAID)
    assignment: Assignment | None = None  # who serves, if the virtual host lets requests choose
    # access
    permitted: bool = False  # a module has let the client in, whatever other rules say (Satisfy Any)
    user: str | None = None  # the client's name for itself; in a 401, nobody has verified it
    auth_type: str = ""  # how the client proved who it is: "Basic"
    # fixups
    handler: str = ""  # "" is the default handler: files
    content_type: str = ""
    encodings: list[str] = field(default_factory=list)  # Content-Encoding
    languages: list[str] = field(default_factory=list)  # Content-Language
    env: dict[str, str] = field(default_factory=dict)  # subprocess_env
    notes: dict[str, str] = field(default_factory=dict)
    vary: list[str] = field(default_factory=list)  # fields of the request that the response depends on (Vary)
    fields: list[tuple[str, str]] = field(default_factory=list)  # of the response, whatever it will be
    # internal redirects (ErrorDocument, DirectoryIndex): the request before this one
    previous: Request | None = None
    is_subrequest: bool = False  # a look at another URI: it shares the request's own variables
    answered_by: Request | None = None  # the request for an ErrorDocument, if one answers instead of this one
    status: int = 200  # of the response, as far as it is known
    error_status: int = 0  # the status that an ErrorDocument is served for
    levels: Levels | None = None  # .htaccess files that were looked for; the requests that it leads to add to it
    pure: bool = True  # so far, everything decided follows from virtual host, path and file system alone
    same_until: float = inf  # seconds since the epoch: until then, such a request gets the same fields
    handled_by: Callable[[Request], Response] | None = None  # the handler, if all decisions before it are pure
    known: dict[str, Any] | None = None  # for handlers: values that follow from a remembered route

    @property
    def method(self) -> str:
        """The method, in capitals as sent."""
        return self.head.method

    @property
    def virtual_host(self) -> VirtualHost:
        """The virtual host that answers."""
        return self.site.virtual_host

    def become(self, other: Request) -> None:
        """Take over the results of another request, to go on as that one: an index instead of its folder."""
        for name in _FOUND:
            setattr(self, name, getattr(other, name))
        self.vary += [field for field in other.vary if field not in self.vary]
        if other.fields is not self.fields:
            self.fields += other.fields

    @property
    def is_proxied(self) -> bool:
        """Whether another server answers, so that there is no file."""
        return self.filename.startswith(PROXIED)

    @property
    def is_folder(self) -> bool:
        """Whether the file name leads to a folder."""
        return self.stat is not None and S_ISDIR(self.stat.st_mode)


# Results of the phases. Endpoints and earlier fields stay a request's own.
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
    "user",
    "auth_type",
    "handler",
    "content_type",
    "encodings",
    "languages",
    "env",
    "notes",
    "pure",
)
