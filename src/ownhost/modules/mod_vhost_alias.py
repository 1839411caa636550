"""mod_vhost_alias: mass virtual hosting. The folder follows from the name, or the address, that a request is for.

template = *( text | "%%" | "%p" | "%" part [ "." part ] )
part     = [ "-" ] DIGIT [ "+" ]    ; no "." behind it but one that begins the second part

The first part counts the name's labels, the second the characters of what the first one gave: from 1, or with "-" from
the end; "+" is that one and all beyond. 0 is the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ownhost.config.arguments import single
from ownhost.config.directive import SERVERS, ArgumentError, Call, Directive, Setting, declare
from ownhost.http.message import HTTPError
from ownhost.request.module import Module, register
from ownhost.request.names import server_name
from ownhost.request.request import Place, Request

CGI_PREFIX = "/cgi-bin"
CGI = "cgi-script"
MISSING = "_"  # replaces a label or a character that does not exist

_FORMAT = re.compile(r"%(?:([%p])|(-?)([0-9])(\+?)(?:\.(-?)([0-9])(\+?)|(?!\.)))|[^%]+")


@dataclass(frozen=True, slots=True)
class Part:
    """Which of several: the `number`th from the start or the end, perhaps with all beyond; 0 is all of them."""

    number: int
    from_end: bool = False
    beyond: bool = False

    def of(self, items: Sequence[str]) -> Sequence[str]:
        """The chosen items; none if there are too few."""
        if self.number == 0:
            return items
        if self.number > len(items):
            return ()
        place = len(items) - self.number if self.from_end else self.number - 1
        if not self.beyond:
            return items[place : place + 1]
        return items[: place + 1] if self.from_end else items[place:]


@dataclass(frozen=True, slots=True)
class Name:
    """A piece of the name: some of its labels, or some characters of those."""

    labels: Part
    characters: Part = Part(0)

    def of(self, name: str) -> str:
        """The piece of this name."""
        labels = ".".join(self.labels.of(name.split(".")))
        return "".join(self.characters.of(labels)) or MISSING if labels else MISSING


@dataclass(frozen=True, slots=True)
class Port:
    """The server's port."""


@dataclass(frozen=True, slots=True)
class Template:
    """How a folder is computed from a name, or from the local address of a connection."""

    pieces: tuple[str | Name | Port, ...]
    by_address: bool

    def folder(self, name: str, port: int) -> str:
        """The folder for a name. Raises HTTPError for a name that would lead out of it."""
        texts = [_text(piece, name, port) for piece in self.pieces]
        folder = "".join(texts).removesuffix("/")
        components = folder.split("/")
        if ".." in components:
            raise HTTPError(400, f"the name {name!r} leads to {folder}", module="vhost_alias")
        return "/".join(component for component in components if component != ".")


def _text(piece: str | Name | Port, name: str, port: int) -> str:
    if isinstance(piece, str):
        return piece
    return str(port) if isinstance(piece, Port) else piece.of(name)


def parse_template(text: str, *, by_address: bool) -> Template | None:
    """A folder with % in it; "none" is None. Raises ArgumentError."""
    if text.lower() == "none":
        return None
    if not text.startswith("/"):
        raise ArgumentError(f"expected an absolute path or none, not {text!r}")
    if ".." in text.split("/"):
        raise ArgumentError(f"expected a path without .. in it, not {text!r}")
    pieces: list[str | Name | Port] = []
    position = 0
    while position < len(text):
        match = _FORMAT.match(text, position)
        if match is None:
            expected = "%%, %p, or a number from 0 to 9 as in %0, %-1, %2+ or %1.1"
            raise ArgumentError(f"expected {expected}, not {text[position:]!r}")
        pieces.append(_piece(match))
        position = match.end()
    return Template(tuple(pieces), by_address)


def _piece(match: re.Match[str]) -> str | Name | Port:
    if match[3]:
        characters = Part(int(match[6]), match[5] == "-", match[7] == "+") if match[6] else Part(0)
        return Name(Part(int(match[3]), match[2] == "-", match[4] == "+"), characters)
    if match[1] == "p":
        return Port()
    return match[1] or match[0]


VIRTUAL_DOCUMENT_ROOT: Setting[Template | None] = Setting("VirtualDocumentRoot", None)
VIRTUAL_SCRIPT_ALIAS: Setting[Template | None] = Setting("VirtualScriptAlias", None)


def _parser(*, by_address: bool) -> Callable[[Call], Template | None]:
    return lambda call: parse_template(single(call), by_address=by_address)


for _setting, _help in (
    (VIRTUAL_DOCUMENT_ROOT, "The folder that files are served from, computed from the"),
    (VIRTUAL_SCRIPT_ALIAS, f"The folder of programs below {CGI_PREFIX}/, computed from the"),
):
    for _suffix, _what in (("", "host's name."), ("IP", "address at which the connection arrived.")):
        declare(
            Directive(
                f"{_setting.name}{_suffix}",
                "mod_vhost_alias",
                "template|none",
                SERVERS,
                f"{_help} {_what}",
                _parser(by_address=bool(_suffix)),
                setting=_setting,
                default="none",
            )
        )


def locate(request: Request) -> Place | None:
    """The file in the folder that the name leads to."""
    settings = request.site.settings
    programs = settings[VIRTUAL_SCRIPT_ALIAS]
    if programs is not None and request.uri.startswith(f"{CGI_PREFIX}/"):
        folder = _folder(request, programs)
        request.context_prefix = CGI_PREFIX
        return Place(folder + request.uri.removeprefix(CGI_PREFIX), CGI)
    documents = settings[VIRTUAL_DOCUMENT_ROOT]
    return None if documents is None else Place(_folder(request, documents) + request.uri)


def _folder(request: Request, template: Template) -> str:
    """The folder, which is the request's document root, too."""
    request.pure = False
    name, port = server_name(request)
    folder = template.folder(request.endpoints.local if template.by_address else name, port)
    request.document_root = request.context_document_root = folder or "/"
    return folder


# After mod_alias and mod_userdir, which handle single paths.
register(
    Module(
        name="mod_vhost_alias",
        identifier="vhost_alias_module",
        order=30,
        uses=lambda server: server.says(VIRTUAL_DOCUMENT_ROOT, VIRTUAL_SCRIPT_ALIAS),
        locate=locate,
    )
)
