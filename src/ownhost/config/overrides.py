"""AllowOverride, AllowOverrideList and AccessFileName: which .htaccess files are read, and what they may say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ownhost.config.arguments import known_word
from ownhost.config.directive import (
    REGISTRY,
    SERVERS,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Settings,
    Where,
    declare,
)
from ownhost.config.model import Section, SectionKind, VirtualHost
from ownhost.config.words import Word, Words

_RARE = frozenset(("multiviews", "symlinksifownermatch"))  # AllowOverride Options leaves these out, as in Apache
_COMMON = frozenset(("all", "none", "indexes", "includes", "includesnoexec", "followsymlinks", "execcgi"))
EVERY_OPTION = _COMMON | _RARE
_IMPLIED = {"includes": ("includesnoexec",), "all": tuple(_COMMON), "none": ()}


@dataclass(frozen=True, slots=True)
class Allowed:
    """What .htaccess files may say: AllowOverride, and the names that AllowOverrideList adds.

    `options` are the words that Options may have, in lower case. What is neither allowed nor listed
    is an error, unless `passes_forbidden`; so is an unknown name, unless `passes_unknown`.
    """

    classes: Override = Override.NONE
    options: frozenset[str] = EVERY_OPTION
    passes_forbidden: bool = False
    passes_unknown: bool = False
    listed: frozenset[str] = frozenset()  # names in lower case; a section's begins with "<"

    def __bool__(self) -> bool:
        """Whether there is any reason to read a file."""
        return bool(self.classes or self.listed or self.passes_forbidden or self.passes_unknown)

    def permits(self, directive: Directive) -> bool:
        """Whether a directive or section may stand in a file."""
        written = f"<{directive.name}" if directive.section else directive.name
        return bool(self.classes & directive.override) or written.lower() in self.listed


def _classes(classes: Override) -> Callable[[Allowed, str], Allowed]:
    return lambda before, _: replace(before, classes=before.classes | classes)


def _options(before: Allowed, value: str) -> Allowed:
    """Options, or Options=a,b: those alone."""
    names = [name.lower() for name in value.split(",")] if value else ["all"]
    for name in names:
        if name not in EVERY_OPTION:
            raise ArgumentError(f"expected names of options after Options=, not {name!r}")
    implied = [one for name in names for one in _IMPLIED.get(name, ())]
    return replace(before, classes=before.classes | Override.OPTIONS, options=frozenset(("none", *names, *implied)))


def _nonfatal(before: Allowed, value: str) -> Allowed:
    word = value.lower()
    return replace(
        before,
        passes_forbidden=before.passes_forbidden or word in ("override", "all"),
        passes_unknown=before.passes_unknown or word in ("unknown", "all"),
    )


def _all(_before: Allowed, _value: str) -> Allowed:
    return Allowed(Override.ALL)


WORDS: Words[Callable[[Allowed, str], Allowed]] = Words(
    "Classes of AllowOverride",
    "class",
    Word("All", "", "All directives that may stand in .htaccess at all.", _all),
    Word("None", "", "No directive: alone, it says that no file is read.", _classes(Override.NONE)),
    Word("AuthConfig", "", "Who may see what: Require, SSLRequireSSL.", _classes(Override.AUTH_CONFIG)),
    Word("FileInfo", "", "Types, handlers, fields, errors, rewriting.", _classes(Override.FILE_INFO)),
    Word("Indexes", "", "The index of a folder.", _classes(Override.INDEXES)),
    Word("Limit", "", "Order, Allow and Deny.", _classes(Override.LIMIT)),
    Word("Options", "=option,...", "Options: these, or all but MultiViews and SymLinksIfOwnerMatch.", _options),
    Word("Nonfatal", "=Override|Unknown|All", "What is not allowed, or unknown, is passed over.", _nonfatal),
    form="{name}{arguments}",
    any_case=True,
)


def parse_allow_override(call: Call) -> Allowed:
    """Classes, Options=option,... and Nonfatal=what. Without any, nothing is allowed."""
    said = Allowed()
    for argument in call.args:
        name, _, value = argument.partition("=")
        said = known_word(WORDS, name).means(said, value)
        if name.lower() == "nonfatal" and value.lower() not in ("override", "unknown", "all"):
            call.notes.append(f"expected Nonfatal=Override, Nonfatal=Unknown or Nonfatal=All; {argument} has no effect")
    _note_place(call)
    return said


def parse_list(call: Call) -> frozenset[str]:
    """Names of directives, a section's with "<" before it, or None."""
    if not call.args:
        raise ArgumentError("expected names of directives, or None")
    names = [argument.lower() for argument in call.args]
    if "none" in names:
        if len(names) > 1:
            raise ArgumentError("'None' not allowed with other directives in AllowOverrideList")
        return frozenset()
    _note_place(call)
    return frozenset(name for name in names if _may_be_listed(name, call))


def _may_be_listed(name: str, call: Call) -> bool:
    directive = REGISTRY.get(name.removeprefix("<"))
    if directive is None or directive.section != name.startswith("<"):
        call.notes.append(f"{name} is not the name of a directive that is known here, and is left out")
        return False
    if Where.HTACCESS not in directive.where:
        call.notes.append(f"{directive.name} cannot stand in .htaccess, and is left out")
        return False
    return True


def _note_place(call: Call) -> None:
    if call.section_kind != SectionKind.DIRECTORY:
        call.notes.append(f"Useless use of {call.name}: expected in <Directory>, without a regular expression")


def parse_names(call: Call) -> tuple[str, ...]:
    """Names of files; the first one that exists in a folder counts."""
    return call.args


ALLOW_OVERRIDE: Setting[Allowed] = Setting("AllowOverride", Allowed())
ALLOW_OVERRIDE_LIST: Setting[frozenset[str]] = Setting("AllowOverrideList", frozenset())
ACCESS_FILE_NAME: Setting[tuple[str, ...]] = Setting("AccessFileName", (".htaccess",))

for _directive in (
    Directive(
        "AllowOverride",
        "core",
        "All|None|class...",
        Where.DIRECTORY,
        "What .htaccess files in a folder and below it may say.",
        parse_allow_override,
        setting=ALLOW_OVERRIDE,
        default="None",
        words=(WORDS,),
    ),
    Directive(
        "AllowOverrideList",
        "core",
        "None|directive...",
        Where.DIRECTORY,
        "Directives that .htaccess files may have, whatever AllowOverride says. A section is written <Name.",
        parse_list,
        setting=ALLOW_OVERRIDE_LIST,
        default="None",
    ),
    Directive(
        "AccessFileName",
        "core",
        "name...",
        SERVERS,
        "The names of .htaccess files. In each folder, the first one that exists is read.",
        parse_names,
        setting=ACCESS_FILE_NAME,
        default=".htaccess",
    ),
):
    declare(_directive)


def allowed(settings: Settings) -> Allowed:
    """What a folder's settings allow .htaccess files to say there."""
    said, listed = settings[ALLOW_OVERRIDE], settings[ALLOW_OVERRIDE_LIST]
    return replace(said, listed=listed) if listed else said


def reads_htaccess(server: VirtualHost) -> bool:
    """Whether a virtual host reads .htaccess files in any folder."""
    return bool(server.settings[ACCESS_FILE_NAME]) and any(map(allowed, _folders(server)))


def may_override(server: VirtualHost, name: str) -> bool:
    """Whether a directive may stand in a .htaccess file in any folder of a virtual host."""
    directive = REGISTRY[name.lower()]
    return bool(server.settings[ACCESS_FILE_NAME]) and any(
        allowed(settings).permits(directive) for settings in _folders(server)
    )


def _folders(server: VirtualHost) -> Iterator[Settings]:
    """The settings of sections for folders. What they do not say themselves they have from those around them."""
    sections: list[Section] = [section for section in server.sections if section.kind is SectionKind.DIRECTORY]
    listed = frozenset(name for section in sections for name in section.settings[ALLOW_OVERRIDE_LIST])
    for section in sections:
        yield Settings({**section.settings.values, ALLOW_OVERRIDE_LIST.name: listed}) if listed else section.settings
