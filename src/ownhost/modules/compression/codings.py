"""Content codings (RFC 9110, 8.4.1): what a module offers, and which one a response gets. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ownhost.config.directive import Setting, Settings

# Not codings, though they stand in Content-Encoding: such a content may be compressed, as in Apache.
_NO_CODINGS = frozenset(("identity", "7bit", "8bit", "binary"))


class Compressor(Protocol):
    """Compresses one body."""

    def compress(self, data: bytes, /) -> bytes:
        """Take some bytes. Returns what is ready, which may be nothing."""

    def flush(self) -> bytes:
        """Everything that was taken, so that the client can read it now."""

    def finish(self) -> bytes:
        """The rest, and the end."""


@dataclass(frozen=True, slots=True)
class Coding:
    """A coding, as an output filter.

    Variables of the request have their names here: `refused_by` switches it off, `forced_by`
    applies it whatever the client accepts, `only_html_by` switches it off for other types.
    `shortest`: bytes of a body that is worth it. `most_at_once`: bodies that one process compresses
    while they are sent, as each takes memory until its client has all of it.
    """

    filter: str  # "DEFLATE"
    token: str  # in Accept-Encoding and Content-Encoding: "gzip"
    compressor: Callable[[Settings], Compressor]
    etag: Setting[str]  # AddSuffix, NoChange or Remove
    notes: Setting[Mapping[str, str]]  # names of the notes for Input, Output and Ratio
    piece: Callable[[Settings], int]  # bytes of a large file's that are sent at a time
    refused_by: str
    forced_by: str = ""
    only_html_by: str = ""
    shortest: int = 0
    most_at_once: int = 64


CODINGS: dict[str, Coding] = {}  # by filter


def offer(coding: Coding) -> Coding:
    """Add a coding. Called once, by its module."""
    CODINGS[coding.filter] = coding
    return coding


class Content(NamedTuple):
    """What is sent: Content-Type, Content-Encoding ("" for none), bytes (None if that is not known)."""

    type: str
    encodings: str
    size: int | None


class Choice(NamedTuple):
    """What becomes of a response. `asked`: Accept-Encoding counts for it, so other clients may get another one."""

    asked: bool
    coding: Coding | None


def choose(
    filters: Iterable[str],
    content: Content,
    variables: Mapping[str, str],
    accept: str | None,
) -> Choice:
    """The coding for a response with these filters, in their order. `accept` is a request's Accept-Encoding."""
    if any(encoding not in _NO_CODINGS for encoding in _members(content.encodings)):
        return Choice(asked=False, coding=None)
    asked = False
    for name in filters:
        coding = CODINGS.get(name)
        if coding is None or coding.refused_by in variables:
            continue
        if content.size is not None and content.size < coding.shortest:
            continue
        if variables.get(coding.only_html_by) == "1" and not content.type.startswith("text/html"):
            continue
        asked = True
        is_forced = bool(coding.forced_by) and coding.forced_by in variables
        if is_forced or (accept is not None and coding.token in accepted(accept)):
            return Choice(asked, coding)
    return Choice(asked, None)


@functools.lru_cache(maxsize=256)
def accepted(value: str) -> frozenset[str]:
    """The codings offered here that an Accept-Encoding names, without those with q=0."""
    tokens = {coding.token for coding in CODINGS.values()}
    found = set()
    for member in value.lower().split(","):
        token, *parameters = (part.strip() for part in member.split(";"))
        if token in tokens and not any(_is_zero(parameter) for parameter in parameters):
            found.add(token)
    return frozenset(found)


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and not value.strip().strip("0.")


def _members(value: str) -> list[str]:
    return [member.strip() for member in value.lower().split(",") if member.strip()]
