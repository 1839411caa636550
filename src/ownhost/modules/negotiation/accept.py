"""What a client accepts: Accept, Accept-Language, Accept-Charset, Accept-Encoding and Negotiate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MOST = 200  # entries of a field that are looked at
INCLUDED = ("text/x-server-parsed-html", "text/x-server-parsed-html3")
HTML = ("text/html", *INCLUDED)
_LEVELS = {"text/html": 2.0, INCLUDED[0]: 2.0, INCLUDED[1]: 3.0}  # of types that name none


@dataclass(slots=True)
class Range:
    """One entry of such a field: a type, language, character set or encoding in lower case."""

    name: str
    quality: float = 1.0
    level: float = 0.0
    charset: str = ""


@dataclass(slots=True)
class Accepts:
    """What a client accepts; None for a field that it did not send.

    `fiddles`: wildcards without a quality, and ranges that are more special than a variant, count
    for little instead of much and nothing.
    """

    types: list[Range] | None
    languages: list[Range] | None
    charsets: list[Range] | None
    encodings: list[Range] | None
    says_quality: bool = False
    fiddles: bool = True
    chooses: bool = True  # whether the server may choose for it
    remotely: bool = False  # by the algorithm of RFC 2296
    transparent: bool = False  # it knows transparent negotiation (RFC 2295)


def parse_range(text: str) -> Range:
    """One entry."""
    name, *parameters = text.split(";")
    found = Range(name.strip().lower())
    found.level = _LEVELS.get(found.name, 0.0)
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        key, value = key.strip().lower(), value.strip().strip('"').lower()
        if not equals:
            continue
        if key in ("q", "qs"):
            found.quality = _quality(value)
        elif key == "level":
            digits = re.match("[0-9]{1,4}", value)
            found.level = float(digits[0]) if digits else 0.0
        elif key == "charset":
            found.charset = value
    return found


def _quality(value: str) -> float:
    """A quality; 1 for what is none."""
    if not value.startswith(("0", ".")):
        return 1.0
    digits = re.match(r"0?\.([0-9]{1,3})", value)
    return int(digits[1].ljust(3, "0")) / 1000 if digits else 0.0


def parse_ranges(value: str | None) -> list[Range] | None:
    """All entries of a field; None without one."""
    if value is None:
        return None
    return [parse_range(text) for text in value.split(",", _MOST)[:_MOST] if text.strip()]


def accepted(values: Mapping[str, str]) -> Accepts:
    """What the fields of a request say. `values` are by names in lower case."""
    types = parse_ranges(values.get("accept"))
    return Accepts(
        types,
        parse_ranges(values.get("accept-language")),
        parse_ranges(values.get("accept-charset")),
        parse_ranges(values.get("accept-encoding")),
        any(one.quality < 1 for one in types or ()),
    )


def negotiate(accepts: Accepts, values: Mapping[str, str]) -> None:
    """Add what Negotiate says, for a page whose variants may be told (RFC 2295, 8.4)."""
    value = values.get("negotiate")
    if value is None or (value == "trans" and values.get("user-agent", "").startswith("Lynx")):
        return
    accepts.chooses = False
    for word in (one.strip().lower() for one in value.split(",")):
        if word in ("trans", "vlist", "guess-small", "*") or word[:1].isdigit():
            accepts.transparent = True
        if word == "1.0":
            accepts.chooses, accepts.remotely, accepts.fiddles = True, True, False
        elif word == "*":
            accepts.chooses, accepts.fiddles = True, False
