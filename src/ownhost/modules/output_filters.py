"""Filters for responses: which ones are configured, and whether a response is compressed by one.

`mod_filter` compresses. INCLUDES does not exist: `mod_include`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ownhost.config.arguments import either, words
from ownhost.config.directive import (
    ANYWHERE,
    ArgumentError,
    Call,
    Directive,
    Override,
    Setting,
    Settings,
    declare,
)
from ownhost.modules.compression.codings import CODINGS, Choice, Content, choose
from ownhost.modules.compression.declared import altered_tag
from ownhost.request.request import Request

Names = tuple[str, ...]  # in capitals
Table = Mapping[str, Names]  # by extension, in lower case; () if Remove... removed it
Types = Mapping[str, frozenset[str]]  # the media types of a filter; the filters in their order


def parse_names(word: str) -> Names:
    """filter;filter, or None. Raises `ArgumentError`."""
    names = tuple(name.upper() for name in word.split(";"))
    for name in names:
        if name not in CODINGS and name not in ("INCLUDES", "NONE"):
            known = either([*CODINGS, "INCLUDES"])
            raise ArgumentError(f"the filter {name} is not supported yet; expected {known}")
    return tuple(name for name in names if name != "NONE")


def parse_set(call: Call) -> Names:
    """The filters for all files here."""
    return parse_names(words(1)(call)[0])


def parse_by_extension(call: Call) -> Table:
    """Filters, and the extensions of files that have them."""
    names, *extensions = words(2)(call)
    return dict.fromkeys(map(_extension, extensions), parse_names(names))


def parse_by_type(call: Call) -> Types:
    """Filters, and the media types that have them."""
    names, *types = words(2)(call)
    return dict.fromkeys(parse_names(names), frozenset(types))


def parse_remove(call: Call) -> Table:
    """Extensions without filters from now on."""
    return dict.fromkeys(map(_extension, words(1)(call)), ())


def _extension(word: str) -> str:
    return word.removeprefix(".").lower()


def _replaced(before: Table | None, after: Table) -> Table:
    return {**(before or {}), **after}


def _added(before: Types | None, after: Types) -> Types:
    before = before or {}
    return {**before, **{name: before.get(name, frozenset()) | types for name, types in after.items()}}


def _inner(outer: Types, inner: Types) -> Types:
    """As in Apache, an inner scope replaces the types of a filter, which stays in its place."""
    return {**outer, **inner}


SET: Setting[Names] = Setting("SetOutputFilter", ())
BY_EXTENSION: Setting[Table] = Setting("AddOutputFilter", {}, _replaced)
BY_TYPE: Setting[Types] = Setting("AddOutputFilterByType", {}, _inner)

for _directive in (
    Directive(
        "SetOutputFilter",
        "core",
        "filter[;filter...]|None",
        ANYWHERE,
        "Filters for responses: DEFLATE compresses them. Files that INCLUDES would parse are refused.",
        parse_set,
        setting=SET,
        override=Override.FILE_INFO,
    ),
    Directive(
        "AddOutputFilterByType",
        "mod_filter",
        "filter[;filter...] media-type...",
        ANYWHERE,
        "Filters for responses of these media types: DEFLATE compresses them. An inner scope's types replace those "
        "that the filter has around it. Files that INCLUDES would parse are refused.",
        parse_by_type,
        setting=BY_TYPE,
        fold=_added,
        override=Override.FILE_INFO,
    ),
    Directive(
        "AddOutputFilter",
        "mod_mime",
        "filter[;filter...] extension...",
        ANYWHERE,
        "Filters for files with an extension: DEFLATE compresses them. Files that INCLUDES would parse are refused.",
        parse_by_extension,
        setting=BY_EXTENSION,
        fold=_replaced,
        override=Override.FILE_INFO,
    ),
    Directive(
        "RemoveOutputFilter",
        "mod_mime",
        "extension...",
        ANYWHERE,
        "Undoes AddOutputFilter for these extensions.",
        parse_remove,
        setting=BY_EXTENSION,
        fold=_replaced,
        override=Override.FILE_INFO,
    ),
):
    declare(_directive)


def of_extensions(name: str, table: Table) -> Iterable[str]:
    """The filters of the extensions of a file's name."""
    return (filter_ for part in name.lstrip(".").split(".")[1:] for filter_ in table.get(part.lower(), ()))


def names_of(settings: Settings, filename: str, content_type: str) -> Names:
    """The filters of a response, in their order; `filename` is "" without a file."""
    media_type = content_type.partition(";")[0].strip()
    return (
        *of_extensions(filename.rpartition("/")[2], settings[BY_EXTENSION]),
        *settings[SET],
        *(name for name, types in settings[BY_TYPE].items() if media_type in types),
    )


def coding_for(request: Request, content: Content) -> Choice:
    """How the response to a request will be compressed."""
    settings = request.settings or request.site.settings
    names = names_of(settings, "" if request.is_proxied else request.filename, content.type)
    return choose(names, content, request.env, request.head.values.get("accept-encoding"))


def coded_tag(request: Request, content: Content, etag: str | None) -> str | None:
    """The tag that the response to a request will have, if it will be compressed and has one."""
    values = request.head.values
    if etag is None or ("if-none-match" not in values and "if-match" not in values):
        return None
    coding = coding_for(request, content).coding
    return None if coding is None else altered_tag(etag, request.site.settings[coding.etag], coding.token)
