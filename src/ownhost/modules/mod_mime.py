"""mod_mime: what a file's name says about it: type, language, character set, encoding, handler."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ownhost.config.arguments import path, single, words
from ownhost.config.directive import (
    ANYWHERE,
    SERVERS,
    Answer,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Settings,
    Where,
    declare,
)
from ownhost.config.expression import StringExpression
from ownhost.config.expression_parser import parse_string
from ownhost.http.message import HTTPError, Response
from ownhost.modules.media_types import default_types, parse_types
from ownhost.request import expressions
from ownhost.request.module import Module, register
from ownhost.request.request import Request

_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:\s*;.*)?")
Table = dict[str, str]  # an extension in lower case, without a dot; "" if Remove... removed it


@dataclass(frozen=True, slots=True)
class Extensions:
    """What extensions stand for, by kind."""

    types: Table = field(default_factory=dict)
    languages: Table = field(default_factory=dict)
    charsets: Table = field(default_factory=dict)
    encodings: Table = field(default_factory=dict)
    handlers: Table = field(default_factory=dict)


KINDS = ("types", "languages", "charsets", "encodings", "handlers")


def _merge(outer: Extensions, inner: Extensions) -> Extensions:
    return Extensions(*({**getattr(outer, kind), **getattr(inner, kind)} for kind in KINDS))


def _fold(before: Extensions | None, more: Extensions) -> Extensions:
    return more if before is None else _merge(before, more)


EXTENSIONS = Setting("AddType", Extensions(), _merge)
TYPES_CONFIG: Setting[Table | None] = Setting("TypesConfig", None)  # None: see media_types
FORCE_TYPE = Setting("ForceType", "")
SET_HANDLER: Setting[str | StringExpression] = Setting("SetHandler", "")
DEFAULT_LANGUAGE = Setting("DefaultLanguage", "")


def _add(kind: str) -> Callable[[Call], Extensions]:
    def parse(call: Call) -> Extensions:
        value, *extensions = words(2)(call)
        if kind == "types" and not _TYPE.fullmatch(value):
            raise ArgumentError(f"expected a media type such as text/html, not {value!r}")
        if kind in ("languages", "encodings", "handlers", "charsets"):
            value = value.lower()
        return replace(Extensions(), **{kind: dict.fromkeys(map(_extension, extensions), value)})

    return parse


def _remove(kind: str) -> Callable[[Call], Extensions]:
    def parse(call: Call) -> Extensions:
        return replace(Extensions(), **{kind: dict.fromkeys(map(_extension, words(1)(call)), "")})

    return parse


def _extension(word: str) -> str:
    return word.removeprefix(".").lower()


def parse_types_config(call: Call) -> Table:
    """A file of media types and their extensions, read once, with the configuration."""
    name = path()(call)
    try:
        with open(name, encoding="utf-8", errors="surrogateescape") as file:
            return parse_types(file.read())
    except OSError as error:
        raise ArgumentError(f"cannot read {name}: {error.strerror}") from None


def parse_default_type(call: Call) -> None:
    """DefaultType. 2.4 knows only "none"."""
    if single(call).lower() != "none":
        raise ArgumentError(f"expected none, not {call.args[0]!r}: use ForceType for a folder or Files section")


def parse_force_type(call: Call) -> str:
    """A media type, or none."""
    word = single(call)
    if word.lower() == "none":
        return ""
    if not _TYPE.fullmatch(word):
        raise ArgumentError(f"expected a media type such as text/html, or none, not {word!r}")
    return word


def parse_handler(call: Call) -> str | StringExpression:
    """A handler's name, expr= and an expression that gives one, or none. Whether it exists is checked per request."""
    word = single(call)
    if word.lower().startswith("expr="):
        return parse_string(word[5:])
    return _handler_name(word)


def _handler_name(word: str) -> str:
    """A handler's name in lower case, except a socket's path; "" for none."""
    name = word if word.startswith("proxy:unix:") else word.lower()
    return "" if name == "none" else name


for _verb, _noun, _kind, _what in (
    ("Type", "media-type", "types", "a media type"),
    ("Language", "language", "languages", "a language"),
    ("Charset", "charset", "charsets", "a character set"),
    ("Encoding", "encoding", "encodings", "an encoding, such as gzip"),
    ("Handler", "handler", "handlers", "a handler"),
):
    declare(
        Directive(
            name=f"Add{_verb}",
            module="mod_mime",
            syntax=f"{_noun} extension...",
            where=ANYWHERE,
            override=Override.FILE_INFO,
            help=f"Files with these extensions have {_what}.",
            parse=_add(_kind),
            setting=EXTENSIONS,
            fold=_fold,
        )
    )
    declare(
        Directive(
            name=f"Remove{_verb}",
            module="mod_mime",
            syntax="extension...",
            where=ANYWHERE,
            override=Override.FILE_INFO,
            help=f"Undoes Add{_verb} for these extensions.",
            parse=_remove(_kind),
            setting=EXTENSIONS,
            fold=_fold,
        )
    )

for _directive in (
    Directive(
        "TypesConfig",
        "mod_mime",
        "file",
        SERVERS,
        "A file of media types and their extensions.",
        parse_types_config,
        setting=TYPES_CONFIG,
        default="/etc/mime.types, and where that is missing, the types of the web",
    ),
    Directive(
        "ForceType",
        "core",
        "media-type|None",
        ANYWHERE,
        "The media type of every file here, whatever its name.",
        parse_force_type,
        setting=FORCE_TYPE,
        override=Override.FILE_INFO,
    ),
    Directive(
        "SetHandler",
        "core",
        "handler|expr=expression|None",
        ANYWHERE,
        "The handler of every file here, whatever its name.",
        parse_handler,
        setting=SET_HANDLER,
        override=Override.FILE_INFO,
    ),
    Directive(
        "DefaultType",
        "core",
        "None",
        ANYWHERE,
        "Does nothing since Apache 2.4; None is accepted.",
        parse_default_type,
        answer=Answer.NO_EFFECT,
        override=Override.FILE_INFO,
    ),
    Directive(
        "DefaultLanguage",
        "mod_mime",
        "language",
        ANYWHERE,
        "The language of files whose extensions set none.",
        single,
        setting=DEFAULT_LANGUAGE,
        override=Override.FILE_INFO,
    ),
    Directive(
        "ModMimeUsePathInfo",
        "mod_mime",
        "On|Off",
        Where.DIRECTORY,
        "Whether extensions in the part of the path after the file's name count.",
        single,
        answer=Answer.UNSUPPORTED,
    ),
):
    declare(_directive)


@dataclass(slots=True)
class Facts:
    """What a file's name says about it."""

    type: str = ""
    charset: str = ""
    encodings: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    handler: str = ""


def facts_of(name: str, extensions: Extensions, types: Table) -> Facts:
    """The combined values of a file name's extensions: index.html.de.gz has three."""
    facts = Facts()
    for part in name.lstrip(".").split(".")[1:]:
        extension = part.lower()
        type_ = extensions.types.get(extension)
        if type_ is None:
            type_ = types.get(extension)
        facts.type = type_ or facts.type
        facts.charset = extensions.charsets.get(extension) or facts.charset
        facts.handler = extensions.handlers.get(extension) or facts.handler
        if encoding := extensions.encodings.get(extension):
            facts.encodings.append(encoding)
        if language := extensions.languages.get(extension):
            facts.languages.append(language)
    return facts


def not_understood(name: str, extensions: Extensions, types: Table) -> list[str] | None:
    """The parts of a file name that say nothing about its content, with its first one; None if no part says anything.

    A handler says nothing: a client that means a program names it whole (MultiviewsMatch NegotiatedOnly).
    """
    dots = len(name) - len(name.lstrip("."))
    first, *rest = name[dots:].split(".")
    found, parts = [name[:dots] + first], [part for part in rest if part]
    for part in parts:
        extension = part.lower()
        type_ = extensions.types.get(extension)
        says = types.get(extension) if type_ is None else type_
        tables = (extensions.languages, extensions.charsets, extensions.encodings)
        if not says and not any(table.get(extension) for table in tables):
            found.append(part)
    return None if len(found) == 1 + len(parts) else found


def types_of(settings: Settings) -> Table:
    """The media types of extensions: TypesConfig, or else the system's."""
    types = settings[TYPES_CONFIG]
    return default_types() if types is None else types


def fixup(request: Request) -> Response | None:
    """Find type, language, encoding and handler of the file."""
    if request.is_proxied:
        return None
    settings = request.settings
    handler = settings[SET_HANDLER]
    if isinstance(handler, StringExpression):
        computed = expressions.computed(handler, request)
        if computed is None:
            raise HTTPError(500, "SetHandler's expression has no value")
        handler = _handler_name(computed)
    if request.is_folder:
        request.handler = handler or request.alias
        return None
    facts = facts_of(request.filename.rpartition("/")[2], settings[EXTENSIONS], types_of(settings))
    request.content_type = settings[FORCE_TYPE] or facts.type
    request.handler = handler or request.alias or facts.handler
    if facts.charset and not settings[FORCE_TYPE]:
        request.content_type = with_charset(request.content_type, facts.charset)
    request.encodings = facts.encodings
    default = settings[DEFAULT_LANGUAGE]
    request.languages = facts.languages or ([default] if default else [])
    return None


def with_charset(content_type: str, charset: str) -> str:
    """A media type with its character set, unless it says one itself."""
    if not content_type or "charset=" in content_type.lower():
        return content_type
    return f"{content_type}; charset={charset}"


# First: types are known before any other fixup, as Apache has a phase for them.
register(Module(name="mod_mime", identifier="mime_module", order=0, fixup=fixup))
