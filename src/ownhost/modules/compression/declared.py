"""Directives that each coding has under a name of its own: what becomes of ETag, and notes for logs."""

from __future__ import annotations

from collections.abc import Mapping

from ownhost.config.arguments import choice_of, keyword, words
from ownhost.config.directive import SERVERS, Call, Directive, Setting, declare

ADD_SUFFIX, NO_CHANGE, REMOVE = "AddSuffix", "NoChange", "Remove"
_SHORTEST_TAG = 3  # characters, quotes included
INPUT, OUTPUT, RATIO = "Input", "Output", "Ratio"
_of_kind = choice_of({kind: kind for kind in (INPUT, OUTPUT, RATIO)})


def declare_etag(name: str, module: str, filter_: str, token: str) -> Setting[str]:
    """What becomes of the ETag of a compressed response."""
    setting = Setting(name, ADD_SUFFIX)
    declare(
        Directive(
            name,
            module,
            "AddSuffix|NoChange|Remove",
            SERVERS,
            f"The ETag of what {filter_} compresses: with -{token} at its end, unchanged, or none.",
            keyword(ADD_SUFFIX, NO_CHANGE, REMOVE),
            setting=setting,
            default=ADD_SUFFIX,
        )
    )
    return setting


def declare_notes(name: str, module: str, filter_: str) -> Setting[Mapping[str, str]]:
    """Notes about a compressed response, for LogFormat's %{name}n."""
    setting: Setting[Mapping[str, str]] = Setting(name, {}, lambda outer, inner: {**outer, **inner})
    declare(
        Directive(
            name,
            module,
            "[Input|Output|Ratio] note",
            SERVERS,
            f"A note for logs, %{{note}}n: the bytes before {filter_}, after it, or after it of 100 before.",
            parse_note,
            setting=setting,
            fold=lambda before, after: {**(before or {}), **after},
        )
    )
    return setting


def parse_note(call: Call) -> Mapping[str, str]:
    """A note's name, after what it is to have."""
    *kind, note = words(1, 2)(call)
    return {_of_kind(kind[0]) if kind else RATIO: note}


def altered_tag(etag: str, what: str, token: str) -> str | None:
    """The ETag of a compressed response, from that of the plain one; None for none."""
    if what == REMOVE:
        return None
    if what == NO_CHANGE or len(etag) < _SHORTEST_TAG or not etag.endswith('"'):
        return etag
    return f'{etag[:-1]}-{token}"'
