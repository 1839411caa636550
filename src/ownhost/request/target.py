"""A request target's path: percent-decoded, without dot segments and doubled slashes (RFC 3986, 5.2.4)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from ownhost.config.arguments import flag, keyword
from ownhost.config.directive import SERVERS, Directive, Setting, declare
from ownhost.http.level import Level
from ownhost.http.message import HTTPError

ALLOW_ENCODED_SLASHES: Setting[str] = Setting("AllowEncodedSlashes", "Off")
MERGE_SLASHES: Setting[bool] = Setting("MergeSlashes", True)

declare(
    Directive(
        name="AllowEncodedSlashes",
        module="core",
        syntax="On|Off|NoDecode",
        where=SERVERS,
        default="Off",
        help=("Whether a path may contain %2F: Off answers 404, On decodes it, NoDecode leaves it encoded."),
        parse=keyword("On", "Off", "NoDecode"),
        setting=ALLOW_ENCODED_SLASHES,
    )
)
declare(
    Directive(
        name="MergeSlashes",
        module="core",
        syntax="On|Off",
        where=SERVERS,
        default="On",
        help="Whether several slashes in a path count as one.",
        parse=flag(),
        setting=MERGE_SLASHES,
    )
)

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODED_SLASH = re.compile(r"%2[Ff]")
_SLASHES = re.compile(r"/{2,}")
_UNRESERVED = re.compile(r"%(2[DdEe]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])")  # letters, digits, -._~
_PLAIN = re.compile(r"/|(?:/[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)+/?")


def clean_path(raw: str, *, encoded_slashes: str = "Off", merge_slashes: bool = True) -> str:
    """The path that a raw one (as sent, "/..." or "*") means. Undecodable bytes become surrogate escapes.

    Raises HTTPError: 400 for a bad escape or a path that climbs above the root, 404 for %00, and
    for %2F if AllowEncodedSlashes is Off.
    """
    if _PLAIN.fullmatch(raw):
        return raw  # nothing to decode, nothing to resolve
    if raw == "*":
        return raw
    if _BAD_ESCAPE.search(raw):
        raise _invalid(raw)
    if _ENCODED_SLASH.search(raw):
        if encoded_slashes == "Off":
            raise HTTPError(404, f"AH00026: found %2f (encoded '/') in URI path ({raw}), returning 404")
        if encoded_slashes == "NoDecode":
            raw = _ENCODED_SLASH.sub("%252F", raw)
    decoded = unquote_to_bytes(raw.encode("latin-1"))
    if b"\0" in decoded:
        raise HTTPError(404, f"AH00026: found %00 in URI path ({raw}), returning 404")
    path = decoded.decode("utf-8", "surrogateescape")
    if merge_slashes:
        path = _SLASHES.sub("/", path)
    return _without_dots(path, raw)


def normalized_path(raw: str, *, merge_slashes: bool = True) -> str:
    """A raw path without dot segments and doubled slashes, with only the necessary escapes (RFC 3986, 6.2.2).

    Raises HTTPError 400.
    """
    if _PLAIN.fullmatch(raw) or raw == "*":
        return raw
    if _BAD_ESCAPE.search(raw):
        raise _invalid(raw)
    path = _UNRESERVED.sub(lambda escape: chr(int(escape[1], 16)), raw)
    if merge_slashes:
        path = _SLASHES.sub("/", path)
    return _without_dots(path, raw)


def _invalid(raw: str) -> HTTPError:
    return HTTPError(400, f"AH10244: invalid URI path ({raw})", level=Level.ERROR)


def _without_dots(path: str, raw: str) -> str:
    """Resolve . and .. segments. Raises HTTPError 400 above the root; `raw` is the path as sent."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if not kept:
                raise _invalid(raw)
            kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", "..") and (not kept or kept[-1]):
        kept.append("")
    return "/" + "/".join(kept)
