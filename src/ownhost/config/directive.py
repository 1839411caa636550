"""How a directive is declared: once, beside the code that obeys it.

A `Directive` says how its arguments are written, where it may stand and what it sets. The parser,
its error messages, `ownhost directives` and the reference page all use the declaration. A `Setting`
is what a request sees: a typed key into `Settings`, with a default and a merge rule.

Several directives may write one setting (SetEnv and UnsetEnv; Alias and AliasMatch). `fold` adds a
directive's value to what the same scope already has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, Flag, StrEnum, auto
from typing import Any, Generic, TypeVar

from ownhost.config.methods import EVERY, Methods
from ownhost.config.words import Words

T = TypeVar("T")


class Where(Flag):
    """Where a directive may stand, in the words of Apache's manual ("Context")."""

    SERVER = auto()
    VIRTUAL_HOST = auto()
    DIRECTORY = auto()  # Directory, Files, Location, If and their Match forms
    HTACCESS = auto()
    PROXY = auto()  # Proxy and ProxyMatch, in which all of DIRECTORY may stand, too


SERVER_ONLY = Where.SERVER
SERVERS = Where.SERVER | Where.VIRTUAL_HOST
PROXY_SECTIONS = SERVERS | Where.PROXY
SECTIONS = SERVERS | Where.DIRECTORY
ANYWHERE = SECTIONS | Where.HTACCESS


_PLACES = {
    Where.SERVER: ("the server configuration",),
    Where.VIRTUAL_HOST: ("<VirtualHost>",),
    Where.DIRECTORY: ("<Directory>", "<Files>", "<Location>", "<If>"),
    Where.HTACCESS: (".htaccess",),
    Where.PROXY: ("<Proxy>",),
}


def places(where: Where) -> list[str]:
    """Where a directive may stand, as error messages say it."""
    return [name for place, names in _PLACES.items() if place & where for name in names]


class Block(Enum):
    """What a section is for; this says who reads its lines, and how."""

    VIRTUAL_HOST = auto()
    REQUESTS = auto()  # for some requests alone: Directory, Files, Location, If
    METHODS = auto()  # for requests with some methods: Limit
    SETTING = auto()  # its content has its setting, combined: RequireAll
    CONDITION = auto()  # counts or is skipped, while files are read: IfModule
    MACRO = auto()  # is put where its name is used


class Override(Flag):
    """The AllowOverride classes. Any one of a directive's classes allows it in .htaccess."""

    NONE = 0
    AUTH_CONFIG = auto()
    FILE_INFO = auto()
    INDEXES = auto()
    LIMIT = auto()
    OPTIONS = auto()
    ALL = AUTH_CONFIG | FILE_INFO | INDEXES | LIMIT | OPTIONS

    def __str__(self) -> str:
        """As Apache's manual writes it: AuthConfig, or "AuthConfig or Limit"."""
        if self in (Override.NONE, Override.ALL):
            return "All" if self else "None"
        words = (member.name or "" for member in self)
        return " or ".join(word.title().replace("_", "") for word in words)


class Answer(StrEnum):
    """The four answers for a directive's name. A name that is not declared at all is `unknown`."""

    OBEYED = "obeyed"
    NO_EFFECT = "accepted without effect"
    UNSUPPORTED = "known but unsupported"


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A place in the configuration. Line 0 stands for what is in no file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class ArgumentError(ValueError):
    """A directive has wrong arguments. The message says what was expected, without file and line."""


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a directive: the argument of `Directive.parse`."""

    name: str  # as declared, not as typed
    args: tuple[str, ...]  # words, unquoted, variables expanded
    raw: str  # the rest of the line as written, variables expanded
    source: Source
    where: Where
    server_root: str
    defines: frozenset[str] = frozenset()
    section: str = ""  # the argument of the section around it: a folder, a path, a pattern; "" in a server
    section_kind: str = ""  # "Location"; "" in a server
    notes: list[str] = field(default_factory=list)  # remarks of `parse`, shown at start
    methods: Methods = EVERY  # of the <Limit> around it: for access rules; others count for every method
    outer: str = ""  # the module's section around it
    inside: Any = None  # for a module's section: its folded content; None if that is empty
    options: frozenset[str] | None = None  # words that Options may have in .htaccess, in lower case; None for all

    def path(self, argument: str) -> str:
        """`argument` as an absolute file name. Relative ones start at ServerRoot."""
        if argument.startswith("/"):
            return argument
        return f"{self.server_root.rstrip('/')}/{argument}"


def replace(_outer: T, inner: T) -> T:
    """The common merge rule: the inner scope's value replaces the outer's."""
    return inner


def last(_before: Any, value: Any) -> Any:
    """The common fold rule: the last use in a scope counts."""
    return value


def append(before: tuple[Any, ...] | None, value: Any) -> tuple[Any, ...]:
    """A fold rule: each use adds one element to a tuple."""
    return (*(before or ()), value)


def extend(before: tuple[Any, ...] | None, value: tuple[Any, ...]) -> tuple[Any, ...]:
    """A fold rule: each use adds all its elements to a tuple."""
    return (*(before or ()), *value)


def outer_then_inner(outer: tuple[Any, ...], inner: tuple[Any, ...]) -> tuple[Any, ...]:
    """A merge rule for lists: the outer scope's elements, then the inner's."""
    return (*outer, *inner)


def inner_then_outer(outer: tuple[Any, ...], inner: tuple[Any, ...]) -> tuple[Any, ...]:
    """A merge rule for lists searched first to last: the inner scope's elements win."""
    return (*inner, *outer)


@dataclass(frozen=True, slots=True, eq=False)
class Setting(Generic[T]):
    """A typed key into `Settings`.

    `merge(outer, inner)` gives the value if both an inner scope (a virtual host, a section) and the
    scope around it set it. `inherited`, if present, gives the value of a virtual host that does not
    set it, from the main server's. `readable` gives what still holds of a wrong line's words.
    """

    name: str
    default: T
    merge: Callable[[T, T], T] = replace
    inherited: Callable[[T], T] | None = None
    readable: Callable[[tuple[str, ...]], T] | None = None

    def __post_init__(self) -> None:
        if self.name in SETTINGS:
            raise ValueError(f"setting {self.name} is declared twice")
        SETTINGS[self.name] = self


SETTINGS: dict[str, Setting[Any]] = {}


class Settings:
    """The settings of one scope, or of several after merging: names to values. Read-only once built."""

    __slots__ = ("values",)

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = {} if values is None else values

    def __getitem__(self, setting: Setting[T]) -> T:
        value: T = self.values.get(setting.name, setting.default)
        return value

    def __contains__(self, setting: Setting[Any]) -> bool:
        return setting.name in self.values

    def __bool__(self) -> bool:
        return bool(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and other.values == self.values

    __hash__ = None  # type: ignore[assignment]

    def merged(self, inner: Settings) -> Settings:
        """These settings, overridden by those of an inner scope."""
        if not inner.values:
            return self
        result = dict(self.values)
        for name, value in inner.values.items():
            result[name] = SETTINGS[name].merge(result[name], value) if name in result else value
        return Settings(result)

    def inherited(self, inner: Settings) -> Settings:
        """These settings of the main server, overridden by those of a virtual host."""
        result = self.merged(inner)
        for name, value in self.values.items():
            inherit = SETTINGS[name].inherited
            if inherit is not None and name not in inner.values:
                result = Settings({**result.values, name: inherit(value)})
        return result


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive's declaration. `declare` makes one and puts it into `REGISTRY`."""

    name: str
    module: str  # Apache's name for the module: "core", "mod_dir", "mpm_itk"
    syntax: str  # the arguments as the manual writes them: "user group"
    where: Where
    help: str
    parse: Callable[[Call], Any]
    setting: Setting[Any] | None = None
    fold: Callable[[Any, Any], Any] = last
    override: Override = Override.NONE
    answer: Answer = Answer.OBEYED
    default: str = ""  # as the manual writes it
    block: Block | None = None  # of a section, which is written <Name ...> ... </Name>
    opens: Where = Where.DIRECTORY  # of a section: the place that its content is in
    rest: str = ""  # of a section: the directive that says in it what follows its first argument
    steers: Callable[..., None] | None = None  # obeys it while files are read: a method of `tree.TreeReader`
    note: str = ""  # a note for each use of the directive
    differs: str = ""  # how it differs from Apache, for the reference page
    words: tuple[Words[Any], ...] = ()  # the words that its arguments are made of

    @property
    def section(self) -> bool:
        """Whether it is a section."""
        return self.block is not None


REGISTRY: dict[str, Directive] = {}  # lower-case name to declaration


def declare(directive: Directive) -> Directive:
    """Put a declaration into the registry. A name declared twice is a programming error."""
    key = directive.name.lower()
    if key in REGISTRY:
        raise ValueError(f"directive {directive.name} is declared twice")
    REGISTRY[key] = directive
    return directive


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in the configuration: what `ownhost check` prints as FILE:LINE: message."""

    source: Source
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.message}"


class ConfigError(Exception):
    """The configuration has errors. `problems` has all of them, in order of appearance."""

    def __init__(self, problems: list[Problem], notes: list[Problem] | None = None) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
        self.notes = notes or []


@dataclass(slots=True)
class Notes:
    """Remarks on a valid configuration: shown at start, never a reason to stop."""

    lines: list[Problem] = field(default_factory=list)

    def add(self, source: Source, message: str) -> None:
        self.lines.append(Problem(source, message))
