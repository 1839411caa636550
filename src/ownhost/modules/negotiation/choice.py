"""The choice among variants: the qualities of each for a client, and which one is best.

Source: mod_negotiation's documentation ("Apache's negotiation algorithm"), and RFC 2296 for clients
that ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ownhost.modules.negotiation.accept import HTML, INCLUDED, Accepts, Range, parse_range
from ownhost.request.request import Request

PROGRAM = "application/x-httpd-cgi"  # the media type that stands for a program
_HARDLY = 0.0001  # the quality of what is sent only if there is nothing else
_LATIN = "iso-8859-1"  # the character set of texts that name none
_PREFIX = 0.001  # the quality of en for a client that wants en-GB
_ANY, _ANY_OF_TYPE = 0.01, 0.02  # the qualities of */* and type/*, if a client says none


@dataclass(slots=True)
class Variant:
    """A variant of a page. `file` is its name, as a link; `size` is in bytes, -1 if it is not known."""

    file: str
    type: str = ""
    source_quality: float = 1.0
    level: float = 0.0
    charset: str = ""
    languages: list[str] = field(default_factory=list)
    encoding: str = ""
    size: int = -1
    description: str = ""
    body: bytes | None = None  # in the map itself
    request: Request | None = None  # a look at its file
    # For one client:
    type_quality: float = 1.0
    language_quality: float = 1.0
    charset_quality: float = 1.0
    encoding_quality: float = 1.0
    language_place: int = -1  # in LanguagePriority
    definite: bool = True
    level_matched: float = 0.0
    stars: int = 0  # of the range that matches its type: 1 */*, 2 type/*, 3 the type itself

    def describe(self, content_type: str) -> None:
        """Take over what a media type with its parameters says."""
        found = parse_range(content_type)
        self.type, self.source_quality, self.level, self.charset = found.name, found.quality, found.level, found.charset


@dataclass(frozen=True, slots=True)
class Priority:
    """LanguagePriority, and what ForceLanguagePriority says it decides."""

    languages: tuple[str, ...] = ()
    prefer: bool = True
    fallback: bool = False


def best(
    variants: Sequence[Variant], accepts: Accepts, priority: Priority, env: Mapping[str, str]
) -> tuple[Variant | None, bool]:
    """The best variant, None if there is none, and whether it may be sent without a question."""
    has_languages = accepts.fiddles and any(one.languages for one in variants)
    default = _HARDLY if has_languages else 1.0
    preferred = env.get("prefer-language")
    if preferred is not None:
        found = _best([one for one in variants if preferred in one.languages], accepts, env, _prefer)
        if found[0] is not None and found[1]:
            return found
    return _best(variants, accepts, env, lambda one: _set_language(one, accepts, priority, default))


def _prefer(variant: Variant) -> None:
    variant.language_quality, variant.definite = 1.0, True


def _best(
    variants: Sequence[Variant], accepts: Accepts, env: Mapping[str, str], language: Callable[[Variant], None]
) -> tuple[Variant | None, bool]:
    found: Variant | None = None
    quality = 0.0
    for variant in variants:
        if _is_discarded(variant, env):
            continue
        _set_type(variant, accepts)
        language(variant)
        variant.encoding_quality = _encoding(variant.encoding, accepts)
        _set_charset(variant, accepts)
        if not accepts.chooses:
            continue
        value = _remote_quality(variant) if accepts.remotely else _own_quality(variant)
        tie = _is_better_encoded if accepts.remotely else _is_better
        better = value > quality or (value == quality > 0 and found is not None and tie(variant, found))
        if better:
            found, quality = variant, value
    if accepts.remotely:
        return found, found is not None and found.definite and quality > 0
    return found, quality > 0


def _is_discarded(variant: Variant, env: Mapping[str, str]) -> bool:
    """Whether variables forbid an encoded variant."""
    if _is_identity(variant.encoding) or variant.encoding == "identity":
        return False
    if "no-gzip" in env:
        return True
    return env.get("gzip-only-text/html") == "1" and not variant.type.startswith("text/html")


def _remote_quality(variant: Variant) -> float:
    if not variant.encoding_quality:
        return 0.0
    return variant.type_quality * variant.source_quality * variant.charset_quality * variant.language_quality


def _own_quality(variant: Variant) -> float:
    """The quality that counts first, 0 for what the client does not accept at all."""
    others = (variant.encoding_quality, variant.language_quality, variant.charset_quality)
    return variant.type_quality * variant.source_quality if all(others) else 0.0


def _is_better_encoded(one: Variant, other: Variant) -> bool:
    return one.encoding_quality > other.encoding_quality


def _is_better(one: Variant, other: Variant) -> bool:
    """Whether a variant is better than another whose type is as good."""
    if one.language_quality != other.language_quality:
        return one.language_quality > other.language_quality
    if one.language_place != other.language_place:
        return other.language_place == -1 or -1 < one.language_place < other.language_place
    level = _by_level(one, other)
    if level:
        return level > 0
    if one.charset_quality != other.charset_quality:
        return one.charset_quality > other.charset_quality
    if one.charset not in ("", _LATIN) and other.charset in ("", _LATIN):
        return True
    if one.encoding_quality != other.encoding_quality:
        return one.encoding_quality > other.encoding_quality
    return one.size < other.size


def _by_level(one: Variant, other: Variant) -> int:
    """1 if the level of a variant is better than that of another, -1 if it is worse, 0 if there is no difference."""
    if one.type in HTML:
        if other.type not in HTML:
            return 0
    elif one.type != other.type:
        return 0
    if one.level_matched != other.level_matched:
        return 1 if one.level_matched > other.level_matched else -1
    if one.level != other.level:
        return 1 if one.level < other.level else -1
    return 0


def _set_type(variant: Variant, accepts: Accepts) -> None:
    quality, definite = 0.0, True
    for one in accepts.types or ():
        before = variant.stars
        if not _matches_type(one, variant) or before == variant.stars:
            continue
        quality = one.quality
        if accepts.fiddles and not accepts.says_quality and variant.stars < 3:
            quality = (_ANY, _ANY_OF_TYPE)[variant.stars - 1]
        definite = variant.stars == 3
    variant.type_quality = quality
    variant.definite = variant.definite and definite


def _matches_type(one: Range, variant: Variant) -> bool:
    """Whether a range matches a variant's type. `stars` says how closely the closest one so far does."""
    if one.name.startswith("*"):
        variant.stars = max(variant.stars, 1)
        return True
    if one.name.endswith("*") and variant.type.startswith(one.name[:-2]):
        variant.stars = max(variant.stars, 2)
        return True
    same = one.name == variant.type or (one.name == "text/html" and variant.type in INCLUDED)
    if same and one.level >= variant.level:
        variant.level_matched, variant.stars = variant.level, 3
        return True
    return False


def _set_language(variant: Variant, accepts: Accepts, priority: Priority, default: float) -> None:
    if not variant.languages:
        if accepts.fiddles:
            variant.language_quality = default
        return
    if accepts.languages is None:
        variant.definite = False
    else:
        _set_from_ranges(variant, accepts.languages, fiddles=accepts.fiddles)
    wanted = (priority.prefer and variant.language_place < 0) or (priority.fallback and not variant.language_quality)
    places = [place for one in variant.languages if (place := _place(priority.languages, one)) >= 0]
    if not wanted or not places:
        return
    if variant.language_quality:
        if priority.prefer:
            variant.language_place = min(places)
    elif priority.fallback:
        variant.language_place, variant.language_quality, variant.definite = min(places), _HARDLY, False


def _place(languages: Sequence[str], language: str) -> int:
    return next((place for place, one in enumerate(languages) if language.startswith(one)), -1)


def _set_from_ranges(variant: Variant, ranges: Sequence[Range], *, fiddles: bool) -> None:
    """Set the quality of a variant's languages: that of the longest range that matches, for the best language."""
    star = next((one for one in ranges if one.name == "*"), None)
    named = [one for one in ranges if one.name != "*"]
    found: Range | None = None
    little, by_star = 0.0, False
    for language in variant.languages:
        matching = [one for one in named if language == one.name or language.startswith(f"{one.name}-")]
        closest = max(matching, key=lambda one: len(one.name), default=None)
        if closest is None:
            by_star = by_star or star is not None
            if fiddles and any("-" in one.name and language.startswith(one.name.partition("-")[0]) for one in named):
                little = _PREFIX
        elif found is None or closest.quality > found.quality:
            found = closest
    if by_star and star is not None and (found is None or star.quality > found.quality):
        found, variant.definite = star, False
    variant.language_quality = little if found is None else found.quality


def _set_charset(variant: Variant, accepts: Accepts) -> None:
    charset = variant.charset
    if accepts.charsets is None:
        variant.definite = variant.definite and not charset
        return
    if not charset:
        if not variant.type.startswith("text/") or not accepts.fiddles:
            return
        charset = _LATIN
    named = {one.name: one for one in reversed(accepts.charsets)}
    if charset in named:
        variant.charset_quality = named[charset].quality
    elif "*" in named:
        variant.charset_quality, variant.definite = named["*"].quality, False
    else:
        variant.charset_quality = float(charset == _LATIN)


def _is_identity(encoding: str) -> bool:
    return encoding in ("", "7bit", "8bit", "binary")


def _encoding(encoding: str, accepts: Accepts) -> float:
    """The quality of an encoding."""
    if accepts.encodings is None:
        return 1.0 if _is_identity(encoding) else 0.5
    name, otherwise = ("identity", _HARDLY) if _is_identity(encoding) else (encoding.removeprefix("x-"), 0.0)
    star: Range | None = None
    for one in accepts.encodings:
        if one.name.removeprefix("x-") == name:
            return one.quality
        star = one if one.name == "*" else star
    return otherwise if star is None else star.quality
