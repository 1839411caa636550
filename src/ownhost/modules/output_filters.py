"""Filters for responses: which ones are configured. None exists yet.

DEFLATE and BROTLI_COMPRESS can simply be left out. INCLUDES cannot: `mod_include`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ownhost.config.arguments import words
from ownhost.config.directive import ANYWHERE, Answer, ArgumentError, Call, Directive, Override, Setting, declare

Names = tuple[str, ...]  # in capitals
Table = Mapping[str, Names]  # by extension or media type, in lower case; () if Remove... removed it

KNOWN = ("DEFLATE", "BROTLI_COMPRESS", "INCLUDES")


def parse_names(word: str) -> Names:
    """filter;filter, or None. Raises `ArgumentError`."""
    names = tuple(name.upper() for name in word.split(";"))
    for name in names:
        if name not in (*KNOWN, "NONE"):
            raise ArgumentError(f"the filter {name} is not supported yet; expected one of {', '.join(KNOWN)}")
    return tuple(name for name in names if name != "NONE")


def parse_set(call: Call) -> Names:
    """The filters for all files here."""
    return parse_names(words(1)(call)[0])


def parse_by_extension(call: Call) -> Table:
    """Filters, and the extensions of files that have them."""
    names, *extensions = words(2)(call)
    return dict.fromkeys(map(_extension, extensions), parse_names(names))


def parse_by_type(call: Call) -> Table:
    """Filters, and the media types that have them."""
    names, *types = words(2)(call)
    return dict.fromkeys(map(str.lower, types), parse_names(names))


def parse_remove(call: Call) -> Table:
    """Extensions without filters from now on."""
    return dict.fromkeys(map(_extension, words(1)(call)), ())


def _extension(word: str) -> str:
    return word.removeprefix(".").lower()


def _replaced(before: Table | None, after: Table) -> Table:
    return {**(before or {}), **after}


def _added(before: Table | None, after: Table) -> Table:
    before = before or {}
    return {**before, **{key: (*before.get(key, ()), *names) for key, names in after.items()}}


SET: Setting[Names] = Setting("SetOutputFilter", ())
BY_EXTENSION: Setting[Table] = Setting("AddOutputFilter", {}, _replaced)
BY_TYPE: Setting[Table] = Setting("AddOutputFilterByType", {}, _added)

_NOT_COMPRESSED = "has no effect: nothing is compressed yet"

for _directive in (
    Directive(
        "SetOutputFilter",
        "core",
        "filter[;filter...]|None",
        ANYWHERE,
        ("Filters for responses. DEFLATE does nothing yet; files that INCLUDES would parse are refused."),
        parse_set,
        setting=SET,
        answer=Answer.NO_EFFECT,
        note=_NOT_COMPRESSED,
        override=Override.FILE_INFO,
    ),
    Directive(
        "AddOutputFilterByType",
        "mod_filter",
        "filter[;filter...] media-type...",
        ANYWHERE,
        (
            "Filters for responses of a media type. DEFLATE does nothing yet; files that INCLUDES "
            "would parse are refused."
        ),
        parse_by_type,
        setting=BY_TYPE,
        fold=_added,
        answer=Answer.NO_EFFECT,
        note=_NOT_COMPRESSED,
        override=Override.FILE_INFO,
    ),
    Directive(
        "AddOutputFilter",
        "mod_mime",
        "filter[;filter...] extension...",
        ANYWHERE,
        "Filters for files with an extension. DEFLATE does nothing yet; files that INCLUDES would parse are refused.",
        parse_by_extension,
        setting=BY_EXTENSION,
        fold=_replaced,
        answer=Answer.NO_EFFECT,
        note=_NOT_COMPRESSED,
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
        answer=Answer.NO_EFFECT,
        override=Override.FILE_INFO,
    ),
):
    declare(_directive)


def of_extensions(name: str, table: Table) -> Iterable[str]:
    """The filters of the extensions of a file's name."""
    return (filter_ for part in name.lstrip(".").split(".")[1:] for filter_ in table.get(part.lower(), ()))
