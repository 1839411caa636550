"""mod_expires: how long clients may keep a response, as Expires and Cache-Control: max-age.

Source: Apache's mod_expires.c. A response that has an Expires already keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from ownhost.config.arguments import flag, known_word, single, words
from ownhost.config.directive import ANYWHERE, ArgumentError, Call, Directive, Override, Setting, declare
from ownhost.config.words import Word, Words
from ownhost.http.dates import format_date
from ownhost.http.message import Response
from ownhost.request.module import Module, register
from ownhost.request.request import Request

DAY = 86_400
MOST = 2**31 - 1  # seconds: more fit into no client's max-age
T = TypeVar("T")
_SHORT = re.compile(r"([AM])\s*([+-]?[0-9]+)")


class Lifetime(NamedTuple):
    """How long a response lives: seconds after a time."""

    since_change: bool  # after the last change of its file; else after the request
    seconds: int


UNITS: Words[int] = Words(
    "Units of ExpiresDefault and ExpiresByType",
    "unit",
    Word("years", "", "365 days. As with all of these words, its first letters are enough.", 365 * DAY, ("y",)),
    Word("months", "", "30 days.", 30 * DAY, ("mo",)),
    Word("weeks", "", "7 days.", 7 * DAY, ("w",)),
    Word("days", "", "24 hours.", DAY, ("d",)),
    Word("hours", "", "3600 seconds.", 3_600, ("h",)),
    Word("minutes", "", "60 seconds.", 60, ("mi",)),
    Word("seconds", "", "One second.", 1, ("s",)),
    any_case=True,
)
BASES: Words[bool] = Words(
    "Beginnings of ExpiresDefault and ExpiresByType",
    "beginning",
    Word("access", "", "Counts from the request.", False, ("a",)),
    Word("now", "", "The same.", False, ("n",)),
    Word("modification", "", "Counts from the last change of the file.", True, ("m",)),
    any_case=True,
)


def _by_first_letters(words: Words[T], text: str) -> T:
    """The meaning of a word, of which Apache looks at the first letters alone. Raises ArgumentError."""
    for word in words:
        if text.isalpha() and text.lower().startswith(word.aliases):
            return word.means
    return known_word(words, text).means


def parse_lifetime(text: str) -> Lifetime:
    """A60, M60, or "access plus 1 month 2 days". Raises ArgumentError."""
    short = _SHORT.fullmatch(text)
    if short is not None:
        return Lifetime(short[1] == "M", _bounded(int(short[2])))
    base, *rest = text.split() or [""]
    since_change = _by_first_letters(BASES, base)
    if rest and rest[0].lower().startswith("p"):
        del rest[0]
    if len(rest) % 2:
        raise ArgumentError(f'expected a number and a unit each, as in "access plus 1 month 2 days", not {text!r}')
    seconds = 0
    for number, unit in zip(rest[::2], rest[1::2], strict=True):
        if not re.fullmatch("[0-9]{1,10}", number):
            raise ArgumentError(f"expected a number before {unit!r}, not {number!r}")
        seconds += int(number) * _by_first_letters(UNITS, unit)
    return Lifetime(since_change, _bounded(seconds))


def _bounded(seconds: int) -> int:
    return max(-MOST, min(MOST, seconds))


def parse_default(call: Call) -> Lifetime:
    """A lifetime, in one argument."""
    return parse_lifetime(single(call))


def parse_by_type(call: Call) -> Mapping[str, Lifetime]:
    """A media type, or major/*, and a lifetime."""
    media_type, text = words(2, 2)(call)
    if "/" not in media_type:
        raise ArgumentError(f"expected a media type such as text/html or image/*, not {media_type!r}")
    return {media_type.lower(): parse_lifetime(text)}


def _both(before: Mapping[str, Lifetime] | None, after: Mapping[str, Lifetime]) -> Mapping[str, Lifetime]:
    return {**(before or {}), **after}


ACTIVE = Setting("ExpiresActive", False)
BY_TYPE: Setting[Mapping[str, Lifetime]] = Setting("ExpiresByType", {}, _both)
DEFAULT: Setting[Lifetime | None] = Setting("ExpiresDefault", None)
_DIFFERS = 'A capital letter makes no difference. Apache takes "Access plus 1 day" for A0.'

for _directive in (
    Directive(
        "ExpiresActive",
        "mod_expires",
        "On|Off",
        ANYWHERE,
        "Whether responses say how long they may be kept.",
        flag(),
        setting=ACTIVE,
        default="Off",
        override=Override.INDEXES,
    ),
    Directive(
        "ExpiresByType",
        "mod_expires",
        "media-type lifetime",
        ANYWHERE,
        "How long responses of a media type, or of all types of text/*, may be kept.",
        parse_by_type,
        setting=BY_TYPE,
        fold=_both,
        override=Override.INDEXES,
        differs=_DIFFERS,
        words=(BASES, UNITS),
    ),
    Directive(
        "ExpiresDefault",
        "mod_expires",
        "lifetime",
        ANYWHERE,
        'How long all other responses may be kept: A3600, M3600, or "access plus 1 month 2 days".',
        parse_default,
        setting=DEFAULT,
        override=Override.INDEXES,
        differs=_DIFFERS,
        words=(BASES, UNITS),
    ),
):
    declare(_directive)


def finish(request: Request, response: Response) -> None:
    """Add the fields, except to errors and to what says its own Expires."""
    settings = request.settings or request.site.settings
    if not settings[ACTIVE] or response.status >= 400 or response.as_sent:
        return
    if any(name.lower() == "expires" for name, _ in (*request.fields, *response.headers)):
        return
    lifetime = _of_type(settings[BY_TYPE], response.header("content-type") or request.content_type, settings[DEFAULT])
    if lifetime is None:
        return
    now = int(request.time)
    begin = now
    if lifetime.since_change:
        if request.stat is None:
            return
        begin = int(request.stat.st_mtime)
    end = max(now, begin + lifetime.seconds)
    said = [value for name, value in response.headers if name.lower() == "cache-control"]
    response.headers = [field for field in response.headers if field[0].lower() != "cache-control"]
    response.headers.append(("Cache-Control", ", ".join((*said, f"max-age={end - now}"))))
    response.headers.append(("Expires", format_date(end)))
    request.same_until = min(request.same_until, now + 1)  # then the next response has other fields


def _of_type(table: Mapping[str, Lifetime], content_type: str, default: Lifetime | None) -> Lifetime | None:
    """The lifetime of a media type: its own, that of its major type, the default."""
    media_type = content_type.partition(";")[0].strip().lower()
    own = table.get(media_type) or table.get(f"{media_type.partition('/')[0]}/*")
    return own or default


# Before compression and mod_headers, which see these fields.
register(
    Module(
        name="mod_expires",
        identifier="expires_module",
        order=93,
        uses=lambda server: server.says(ACTIVE),
        finish=finish,
    )
)
